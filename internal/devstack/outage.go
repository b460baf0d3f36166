package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// KillPostgres takes a private PostgreSQL server away without a word, with SIGKILL, or with SIGQUIT (its "immediate" stop) when
// immediate is set. [Stack.Died] does not report it. It returns when the server has gone; [Stack.RestartPostgres] brings
// it back. The calls about outages and Stop must not run at the same time.
func (s *Stack) KillPostgres(immediate bool) error {
	if immediate {
		return takeAway(s.postgres, syscall.SIGQUIT, "PostgreSQL")
	}
	return takeAway(s.postgres, syscall.SIGKILL, "PostgreSQL")
}

// KillTemporal is [Stack.KillPostgres] for a private Temporal server, always with SIGKILL.
func (s *Stack) KillTemporal() error { return takeAway(s.temporal, syscall.SIGKILL, "Temporal") }

// outageGrace bounds how long a signalled server may take to go.
const outageGrace = 20 * time.Second

func takeAway(c *child, sig syscall.Signal, name string) error {
	if c == nil {
		return fmt.Errorf("kill %s: it is not a private server", name)
	}
	c.expected.Store(true)
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	timer := time.NewTimer(outageGrace)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("kill %s: it is still there after %v", name, outageGrace)
	}
}

// RestartPostgres starts the killed server again, on its data and its port, and returns when it has answered. What
// outlived the killed server may keep the new one from starting for a moment: that is tried again until ctx ends or the
// start time is over.
func (s *Stack) RestartPostgres(ctx context.Context) error {
	if s.cluster == nil {
		return errors.New("restart PostgreSQL: it is not a private server")
	}
	at, err := url.Parse(s.databaseURL)
	if err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	for deadline := time.Now().Add(s.options.StartTimeout); ; {
		server, _, err := s.cluster.startOn(ctx, port)
		if err == nil {
			s.postgres = server
			s.watch(server)
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// RestartTemporal starts the killed server again, on its data and its ports, and returns when it has answered.
func (s *Stack) RestartTemporal(ctx context.Context) error {
	if s.temporal == nil {
		return errors.New("restart Temporal: it is not a private server")
	}
	o := s.options
	var err error
	if o.TemporalPort, err = portOf(s.temporalAddress); err != nil {
		return fmt.Errorf("restart Temporal: %w", err)
	}
	at, err := url.Parse(s.temporalUI)
	if err != nil {
		return fmt.Errorf("restart Temporal: %w", err)
	}
	if o.UIPort, err = portOf(at.Host); err != nil {
		return fmt.Errorf("restart Temporal: %w", err)
	}
	d := &devServer{program: s.temporal.spec.path, log: s.temporal.spec.log, lock: s.lock, options: &o}
	server, _, _, err := d.start(ctx)
	if err != nil {
		return err
	}
	s.temporal = server
	s.watch(server)
	return nil
}

func portOf(address string) (int, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
