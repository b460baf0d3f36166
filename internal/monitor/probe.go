package monitor

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// Asked is what came of asking a connection.
type Asked struct {
	Result domain.ProbeResult
	// Silent means that the connection cannot be asked: its system has nothing for it. Result is empty then.
	Silent bool
	// Wait is how long the system wants to be left alone.
	Wait time.Duration
}

// Once asks one connection now, whatever its interval and state, and stores nothing: for a person who waits, or a check
// before a wedding. A failure is confirmed by a second try. It takes at most two timeouts and the wait between them.
func (p *Prober) Once(ctx context.Context, t store.ProbeTarget) Asked {
	return p.ask(ctx, t, time.Now(), health.Track{})
}

// ask makes a probe that was due at a time. What fails is tried again unless it failed the time before, or its whole platform
// does.
func (p *Prober) ask(ctx context.Context, t store.ProbeTarget, due time.Time, track health.Track) Asked {
	began := time.Now()
	r := domain.ProbeResult{At: due, Lag: max(began.Sub(due), 0)}
	opened, err := p.d.Open(ctx, t)
	if err != nil {
		// Settings that cannot be opened, or our own storage: it says nothing about the system.
		r.Outcome, r.Cause, r.Text = domain.ProbeBlind, domain.KindOf(err), textOf(err)
		return Asked{Result: r}
	}
	prober, ok := provider.As[provider.Prober](opened)
	if !ok {
		return Asked{Silent: true}
	}
	err = p.try(ctx, prober, &r)
	together := p.together(t.Provider, time.Now(), r.Outcome == domain.ProbeFailed)
	known := r.Outcome == domain.ProbeFailed && (together || track.Failures > 0) || r.Outcome == domain.ProbeRefused && track.Refusals > 0
	if (r.Outcome == domain.ProbeFailed || r.Outcome == domain.ProbeRefused) && !known {
		timer := time.NewTimer(p.o.Confirm)
		select {
		case <-timer.C:
			err = p.try(ctx, prober, &r)
		case <-ctx.Done():
			timer.Stop()
		}
	}
	failed := r.Outcome == domain.ProbeFailed
	blind := p.see.note(ctx, time.Now(), t.Provider, failed)
	switch {
	case ctx.Err() != nil && r.Outcome != domain.ProbeOK:
		r.Outcome = domain.ProbeLate // we stopped asking
	case (failed || r.Outcome == domain.ProbeRefused) && r.Lag > domain.MaxProbeLag:
		r.Outcome = domain.ProbeLate
	case failed && blind:
		r.Outcome = domain.ProbeBlind
	}
	return Asked{Result: r, Wait: domain.RetryAfter(err)}
}

// try makes one try and writes what came of it.
func (p *Prober) try(ctx context.Context, prober provider.Prober, r *domain.ProbeResult) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	began := time.Now()
	err := guarded(ctx, prober)
	r.Took = time.Since(began)
	r.Tries++
	r.Outcome, r.Cause, r.Text = domain.ProbeOK, "", ""
	if err != nil {
		r.Outcome, r.Cause, r.Text = outcomeOf(err), domain.KindOf(err), textOf(err)
	}
	return err
}

func outcomeOf(err error) domain.ProbeOutcome {
	switch domain.KindOf(err) {
	case domain.KindUnauthenticated:
		return domain.ProbeRefused
	case domain.KindRateLimited:
		return domain.ProbeLimited
	default:
		return domain.ProbeFailed
	}
}

// guarded keeps a panic of a provider from ending the process. Its value is left out: it may quote an answer.
func guarded(ctx context.Context, prober provider.Prober) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.E(domain.KindInternal, "the provider panicked (%T)", r)
		}
	}()
	return prober.Probe(ctx)
}

// textOf is what may be told of an error: domain errors hold no personal data, others may quote anything.
func textOf(err error) string {
	if domain.KindOf(err) == domain.KindInternal {
		return "an unexpected fault"
	}
	return err.Error()
}
