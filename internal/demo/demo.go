// Package demo plays WedSync's main job as a story against a running stack, with a line per step. Every step asserts
// what it says against the running system, so the demo is also the shortest end-to-end test.
//
// The outside systems of the story are a calendar server (Radicale where it is installed, else the simulator built on
// go-webdav) and a simulated customer system. Both listen on loopback, so the stack must allow private addresses, which
// development stacks do. The story can be told again and again in one organisation; each telling has a resource and
// connections of its own.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/domain"
)

// Target is the stack that the story is told on.
type Target struct {
	HTTP       string // base URL of the API
	AdminToken string
	TemporalUI string // base URL; "" leaves the links out
	Namespace  string // "" = default
}

// Options say how the story is told.
type Options struct {
	Out io.Writer
	// Builtin takes the simulated calendar also where Radicale is installed.
	Builtin bool
	// Patience bounds each wait; 0 = 30 s.
	Patience time.Duration
}

// Story is a told story whose outside systems still run, so that a person can play on.
type Story struct {
	Passed, Total int
	s             *story
}

// Close ends the outside systems. The connections to them are paused first, so that nothing polls what is gone.
func (s *Story) Close(ctx context.Context) { s.s.close(ctx) }

// Err is nil when every step held.
func (s *Story) Err() error {
	if s.Passed == s.Total {
		return nil
	}
	return domain.E(domain.KindInternal, "demo: %d of %d steps held", s.Passed, s.Total)
}

// Run tells the story. It stops at the first step that does not hold. The last line printed is "demo: PASS n/n" or
// "demo: FAIL k/n". Close the story in any case.
func Run(ctx context.Context, t Target, o Options) *Story {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if t.Namespace == "" {
		t.Namespace = "default"
	}
	s := &story{target: t, o: o, api: apiclient.New(t.HTTP, t.AdminToken)}
	steps := s.steps()
	out := &Story{Total: len(steps), s: s}
	for i, st := range steps {
		began := time.Now()
		said, err := st(ctx)
		if err != nil {
			fmt.Fprintf(o.Out, "  FAIL %2d/%d  %s\n             %v\n", i+1, len(steps), said, err)
			break
		}
		out.Passed++
		fmt.Fprintf(o.Out, "  ok   %2d/%d  %s (%s)\n", i+1, len(steps), said, time.Since(began).Round(time.Millisecond))
	}
	s.links()
	verdict := "PASS"
	if out.Passed < out.Total {
		verdict = "FAIL"
	}
	fmt.Fprintf(o.Out, "demo: %s %d/%d\n", verdict, out.Passed, out.Total)
	return out
}

// eventually asks until check returns nil, and returns its last error when patience or ctx ends.
func (s *story) eventually(ctx context.Context, check func() error) error {
	deadline := time.NewTimer(s.o.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-deadline.C:
			return fmt.Errorf("after %s: %w", s.o.Patience, err)
		case <-tick.C:
		}
	}
}
