package devstack

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scriptChild runs a shell script as a supervised child and waits until it has
// written its first line.
func scriptChild(t *testing.T, script string, end []syscall.Signal, wait time.Duration) (*child, *os.File) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	c, err := spawn(childSpec{name: "script", path: "/bin/sh", args: []string{"-c", script}, env: os.Environ(), log: log, end: end, wait: wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.stop(context.WithoutCancel(t.Context())) })
	eventually(t, 10*time.Second, func() error { return hasLine(log.Name()) })
	return c, log
}

func hasLine(path string) error {
	raw, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(raw), "\n") {
		return os.ErrNotExist
	}
	return err
}

func TestPoliteChildStopsOnItsSignal(t *testing.T) {
	t.Parallel()
	c, log := scriptChild(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`, []syscall.Signal{syscall.SIGTERM}, time.Minute)
	if err := c.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(log.Name())
	if err != nil || string(raw) != "up\nbye\n" {
		t.Fatalf("log %q, %v", raw, err)
	}
}

func TestStubbornChildIsKilledAndReported(t *testing.T) {
	t.Parallel()
	c, _ := scriptChild(t, `trap '' TERM; echo up; while :; do sleep 0.05; done`, []syscall.Signal{syscall.SIGTERM}, 50*time.Millisecond)
	if err := c.stop(t.Context()); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("err = %v, want that it was killed", err)
	}
	awaitGone(t, c.pid())
}

func TestClosedPipeEndsTheChildAndRemovesItsFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(filepath.Join(folder, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c, err := spawn(childSpec{name: "script", path: "/bin/sh", args: []string{"-c", `echo up; while :; do sleep 0.05; done`},
		env: os.Environ(), log: log, end: []syscall.Signal{syscall.SIGTERM}, remove: folder})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error { return hasLine(log.Name()) })
	// What the kernel does when this process is killed.
	if err := c.hold.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.done
	eventually(t, 10*time.Second, func() error {
		if _, err := os.Stat(folder); err == nil {
			return os.ErrExist
		}
		return nil
	})
}

func TestChildGetsNothingOfTheWatcher(t *testing.T) {
	t.Parallel()
	_, log := scriptChild(t, `env | grep -c ^WATCH_; (: <&3) 2>/dev/null && echo open3; (: <&4) 2>/dev/null && echo open4; while :; do sleep 0.05; done`,
		[]syscall.Signal{syscall.SIGTERM}, time.Second)
	raw, err := os.ReadFile(log.Name())
	if err != nil || strings.TrimSpace(string(raw)) != "0" {
		t.Fatalf("the child sees %q, %v; want no WATCH_ variable and no open descriptor", raw, err)
	}
}

func TestChildrenOfADeadOwnerAreWaitedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := lockFolder(t.Context(), dir, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockFolder(t.Context(), dir, func(string) {})
	wantUserError(t, err, "process "+strconv.Itoa(os.Getpid()), dir)

	if err := first.owner.Close(); err != nil {
		t.Fatal(err)
	}
	var log lineLog
	second, err := lockFolder(t.Context(), dir, func(line string) {
		log.add(line)
		_ = first.children.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.text(), "earlier run") {
		t.Errorf("log %q does not tell of the wait", log.text())
	}
	if err := second.release(); err != nil {
		t.Fatal(err)
	}
	if third, err := lockFolder(t.Context(), dir, func(string) {}); err != nil {
		t.Errorf("the folder is not free after the release: %v", err)
	} else if err := third.release(); err != nil {
		t.Error(err)
	}
}
