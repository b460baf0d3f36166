package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// instanceLock is a pair of flocks on a data folder. owner is held by the
// running instance alone and holds its process id. children is shared with the
// shells that watch the children, so it stays held after the instance was
// killed until its children are gone too.
type instanceLock struct{ owner, children *os.File }

const (
	ownerLock    = "lock"
	childrenLock = "children.lock"
	// ownerGrace lets a process that was killed just now disappear.
	ownerGrace = 500 * time.Millisecond
	// orphanGrace is how long a start waits for the children of a killed
	// instance, which have about ten seconds to stop politely.
	orphanGrace = 30 * time.Second
)

// lockFolder locks the data folder for this process. A living owner is an
// error; the children of a dead one are waited for.
func lockFolder(ctx context.Context, folder string, log func(string)) (*instanceLock, error) {
	owner, err := tryLock(ctx, filepath.Join(folder, ownerLock), ownerGrace, func() {})
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid := readPID(filepath.Join(folder, ownerLock))
		return nil, userErrorf(err, "another wedsync (process %d) is already running on %s; stop it or choose another folder with --data-dir", pid, folder)
	}
	if err != nil {
		return nil, folderError(folder, err)
	}
	if err := writePID(owner, os.Getpid()); err != nil {
		owner.Close()
		return nil, folderError(folder, err)
	}
	children, err := tryLock(ctx, filepath.Join(folder, childrenLock), orphanGrace, func() {
		log("waiting for the servers of an earlier run to stop")
	})
	if err == nil {
		return &instanceLock{owner: owner, children: children}, nil
	}
	owner.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, userErrorf(err, "the servers of an earlier run on %s do not stop; end the postgres and temporal processes that use this folder", folder)
	}
	return nil, folderError(folder, err)
}

// tryLock opens and locks a file, trying for the given time, 0 for no limit;
// waiting is called once if the lock is not free at once. The error is
// EWOULDBLOCK when the time is over.
func tryLock(ctx context.Context, path string, limit time.Duration, waiting func()) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(limit)
	for told := false; ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		busy := errors.Is(err, syscall.EWOULDBLOCK)
		if busy && !told {
			told = true
			waiting()
		}
		if busy && limit > 0 && time.Now().After(deadline) || !busy && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			file.Close()
			return nil, err
		}
	}
}

// release unlocks at once, even while a watcher still shares the descriptor.
func (l *instanceLock) release() error {
	return errors.Join(
		syscall.Flock(int(l.children.Fd()), syscall.LOCK_UN), l.children.Close(),
		syscall.Flock(int(l.owner.Fd()), syscall.LOCK_UN), l.owner.Close())
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

// processAlive reports whether a process runs; one that ended and waits to be
// reaped does not.
func processAlive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
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
