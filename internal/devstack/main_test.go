package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperDir, when set, makes this test binary run a stack on that folder and
// wait to be killed, instead of testing.
const helperDir = "WEDSYNC_DEVSTACK_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		helper(dir)
	}
	// Tests as root must not write outside the temporary folder.
	home, err := os.MkdirTemp("", "devstack-outside-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Chmod(home, 0o711); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	outsideHome = home
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// needServers skips in -short and where a server program cannot be had.
func needServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: starts real servers")
	}
}

func begin(t *testing.T, o Options) *Stack {
	t.Helper()
	o.Private = true
	if o.Log == nil {
		o.Log = func(line string) { t.Log(line) }
	}
	s, err := Start(t.Context(), o)
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func (s *Stack) pids() []int {
	var pids []int
	for _, c := range []*child{s.postgres, s.temporal} {
		if c != nil {
			pids = append(pids, c.pid())
		}
	}
	return pids
}

// openDir is a temporary folder that the cluster's user can reach as well;
// t.TempDir is closed to others.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// awaitGone waits until none of the processes lives.
func awaitGone(t *testing.T, pids ...int) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		for _, pid := range pids {
			if processAlive(pid) {
				return fmt.Errorf("process %d still lives", pid)
			}
		}
		return nil
	})
}

func eventually(t *testing.T, limit time.Duration, ask func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", limit, err)
		}
		<-tick.C
	}
}

// wantUserError asserts one line that holds every part.
func wantUserError(t *testing.T, err error, parts ...string) {
	t.Helper()
	var user *UserError
	if !errors.As(err, &user) {
		t.Fatalf("err = %v (%T), want a *UserError", err, err)
	}
	if strings.Contains(user.Line, "\n") {
		t.Fatalf("more than one line: %q", user.Line)
	}
	for _, part := range parts {
		if !strings.Contains(user.Line, part) {
			t.Fatalf("line %q does not hold %q", user.Line, part)
		}
	}
}

func query[T any](t *testing.T, url, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var out T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&out); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func execSQL(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// lineLog collects lines and lets a test wait for one.
type lineLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *lineLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *lineLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// helper is what the process to be killed does: run a stack and tell the ids of
// its servers.
func helper(dir string) {
	s, err := Start(context.Background(), Options{DataDir: dir, Private: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var pids []string
	for _, pid := range s.pids() {
		pids = append(pids, fmt.Sprint(pid))
	}
	fmt.Println("ready", strings.Join(pids, " "))
	select {}
}

// startHelper runs a stack in another process and returns it and the process
// ids of its servers.
func startHelper(t *testing.T, dir string) (*exec.Cmd, []int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := os.Create(filepath.Join(t.TempDir(), "helper.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	var pids []int
	eventually(t, 2*time.Minute, func() error {
		raw, err := os.ReadFile(out.Name())
		if err != nil {
			return err
		}
		select {
		case <-ended:
			t.Fatalf("the helper ended: %s", raw)
		default:
		}
		for line := range bytes.Lines(raw) {
			if rest, found := strings.CutPrefix(string(line), "ready "); found && strings.HasSuffix(rest, "\n") {
				for _, f := range strings.Fields(rest) {
					var pid int
					if _, err := fmt.Sscan(f, &pid); err != nil {
						return err
					}
					pids = append(pids, pid)
				}
				return nil
			}
		}
		return errors.New("the helper is not ready")
	})
	return cmd, pids
}
