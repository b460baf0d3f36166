package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// ephemeralPrefix begins the name of every throw-away data folder.
const ephemeralPrefix = "wedsync-tmp-"

// Stack is a running pair of servers.
type Stack struct {
	options  Options
	lock     *instanceLock
	logs     []*os.File
	cluster  *cluster
	postgres *child
	temporal *child

	databaseURL, temporalAddress, temporalUI string

	died     chan error
	stopping chan struct{}
	stopOnce sync.Once
	stopErr  error
}

// Start runs what o asks for and returns when every server answers. ctx bounds
// the start only; the stack lives until Stop or the end of this process. On an
// error nothing keeps running. Errors a user can act on are *UserError.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.prepareFolder(); err != nil {
		return nil, err
	}
	lock, err := lockFolder(ctx, o.DataDir, o.Log)
	if err != nil {
		return nil, err
	}
	s := &Stack{options: o, lock: lock, died: make(chan error, 2), stopping: make(chan struct{})}
	group, groupCtx := errgroup.WithContext(ctx)
	var mu sync.Mutex // guards the fields both starters write
	if !o.SkipPostgres {
		group.Go(func() error { return s.startPostgres(groupCtx, &mu) })
	}
	if !o.SkipTemporal {
		group.Go(func() error { return s.startTemporal(groupCtx, &mu) })
	}
	if err := group.Wait(); err != nil {
		_ = s.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	s.watch(s.postgres)
	s.watch(s.temporal)
	return s, nil
}

// prepareFolder makes the data folder, for an ephemeral stack a fresh one.
func (o *Options) prepareFolder() error {
	if o.DataDir != "" {
		if err := os.MkdirAll(o.DataDir, dataMode()); err != nil {
			return folderError(o.DataDir, err)
		}
		abs, err := filepath.Abs(o.DataDir)
		if err != nil {
			return folderError(o.DataDir, err)
		}
		o.DataDir = abs
	}
	if o.Ephemeral {
		parent := o.DataDir
		if parent == "" {
			parent = os.TempDir()
		}
		sweep(parent, time.Now())
		dir, err := os.MkdirTemp(parent, ephemeralPrefix)
		if err != nil {
			return folderError(parent, err)
		}
		o.DataDir = dir
		if err := os.Chmod(dir, dataMode()); err != nil {
			return folderError(dir, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(o.DataDir, "logs"), 0o755); err != nil {
		return folderError(o.DataDir, err)
	}
	return nil
}

// sweep removes the folders of ephemeral stacks whose process was killed. A
// folder is dead when its locks are free; one younger than a minute may not have
// taken its locks yet.
func sweep(parent string, now time.Time) {
	found, err := filepath.Glob(filepath.Join(parent, ephemeralPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < time.Minute ||
			os.Geteuid() != 0 && int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			continue
		}
		if free(filepath.Join(dir, ownerLock)) && free(filepath.Join(dir, childrenLock)) {
			_ = os.RemoveAll(dir)
		}
	}
}

// free reports whether a lock file is there and nobody holds it.
func free(path string) bool {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// openLog starts a new log; the one of the last run is kept as NAME.1.
func openLog(path string) (*os.File, error) {
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, folderError(filepath.Dir(path), err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, folderError(filepath.Dir(path), err)
	}
	return file, nil
}

func (s *Stack) openLog(name string, mu *sync.Mutex) (*os.File, error) {
	file, err := openLog(filepath.Join(s.options.DataDir, "logs", name))
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	s.logs = append(s.logs, file)
	return file, nil
}

func (s *Stack) startPostgres(ctx context.Context, mu *sync.Mutex) error {
	if address := os.Getenv("DATABASE_URL"); address != "" && !s.options.Private {
		if err := externalPostgres(ctx, address, s.options.StartTimeout); err != nil {
			return err
		}
		s.databaseURL = address
		return nil
	}
	log, err := s.openLog("postgres.log", mu)
	if err != nil {
		return err
	}
	c, err := openCluster(ctx, &s.options, s.lock, log)
	if err != nil {
		return err
	}
	s.cluster = c
	s.postgres, s.databaseURL, err = c.start(ctx)
	return err
}

func (s *Stack) startTemporal(ctx context.Context, mu *sync.Mutex) error {
	if address := os.Getenv("TEMPORAL_ADDRESS"); address != "" && !s.options.Private {
		if err := externalTemporal(ctx, address, s.options.StartTimeout); err != nil {
			return err
		}
		s.temporalAddress = address
		return nil
	}
	log, err := s.openLog("temporal.log", mu)
	if err != nil {
		return err
	}
	program, err := TemporalBinary(ctx, s.options)
	if err != nil {
		return err
	}
	d := &devServer{program: program, log: log, lock: s.lock, options: &s.options}
	s.temporal, s.temporalAddress, s.temporalUI, err = d.start(ctx)
	return err
}

// watch reports the end of a child that nobody asked to stop.
func (s *Stack) watch(c *child) {
	if c == nil {
		return
	}
	go func() {
		<-c.done
		if c.expected.Load() {
			return
		}
		select {
		case <-s.stopping:
		default:
			s.died <- userErrorf(c.err, "%s ended by itself (%s); see %s: %s", c.spec.name, c.exitText(), c.spec.log.Name(), lastLine(c.spec.log.Name()))
		}
	}()
}

// DatabaseURL is the address of the database, with its password: that of the
// superuser for a private cluster, else DATABASE_URL. Empty if skipped.
func (s *Stack) DatabaseURL() string { return s.databaseURL }

// TemporalAddress is host:port of the gRPC endpoint, empty if skipped.
func (s *Stack) TemporalAddress() string { return s.temporalAddress }

// TemporalUI is the URL of the UI, empty if Temporal is skipped or external.
func (s *Stack) TemporalUI() string { return s.temporalUI }

// Dir is the data folder, absolute; for an ephemeral stack the temporary one.
func (s *Stack) Dir() string { return s.options.DataDir }

// Died delivers one *UserError for each child that ends without Stop.
func (s *Stack) Died() <-chan error { return s.died }

// Stop ends Temporal and then PostgreSQL, waits for both, frees the data
// folder and removes an ephemeral one. The end of ctx turns polite waiting into
// force. The error names a child that had to be killed or a folder that could
// not be removed; everything is stopped all the same. Later calls return the
// first result.
func (s *Stack) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		var errs []error
		if s.temporal != nil {
			errs = append(errs, s.temporal.stop(ctx))
			_ = os.Remove(filepath.Join(s.options.DataDir, "temporal.pid"))
		}
		if s.postgres != nil {
			errs = append(errs, s.postgres.stop(ctx))
		}
		if s.options.Ephemeral {
			if s.cluster != nil {
				errs = append(errs, s.cluster.removeOutside())
			}
			if err := os.RemoveAll(s.options.DataDir); err != nil {
				errs = append(errs, fmt.Errorf("remove the temporary folder: %w", err))
			}
		}
		for _, log := range s.logs {
			_ = log.Close()
		}
		errs = append(errs, s.lock.release())
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}
