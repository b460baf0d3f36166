package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// instanceLock is an flock on a file that holds the owner's process id. The
// descriptor is shared with the shells that watch the children, so the lock of
// a killed instance stays held until its children are gone too.
type instanceLock struct{ file *os.File }

// orphanGrace is how long a start waits for the children of a killed instance.
const orphanGrace = 30 * time.Second

// lockFolder locks path for this process. A living owner is an error at once;
// a dead one whose children are still stopping is waited for.
func lockFolder(ctx context.Context, path, folder string, log func(string)) (*instanceLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, folderError(folder, err)
	}
	deadline := time.Now().Add(orphanGrace)
	told := false
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		pid := readPID(path)
		if pid != 0 && processAlive(pid) || time.Now().After(deadline) {
			file.Close()
			return nil, userErrorf(err, "another wedsync (process %d) is already running on %s; stop it or choose another folder with --data-dir", pid, folder)
		}
		if !told {
			told = true
			log("waiting for the servers of an earlier run to stop")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			file.Close()
			return nil, err
		}
	}
	if err := writePID(file, os.Getpid()); err != nil {
		file.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &instanceLock{file: file}, nil
}

// release unlocks at once, even while a watcher still shares the descriptor.
func (l *instanceLock) release() error {
	unlock := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(unlock, l.file.Close())
}

func writePID(file *os.File, pid int) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

// readPID returns the process id on the first line of a file, 0 if none.
func readPID(path string) int {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// pause waits for d or the end of ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func folderError(folder string, err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOSPC) {
		return userErrorf(err, "the data folder %s cannot be used: %v", folder, err)
	}
	return fmt.Errorf("prepare %s: %w", folder, err)
}
