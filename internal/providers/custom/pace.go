package custom

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Bounds of limits.
const (
	maxLimit    = 10_000
	maxPerHours = 24 * 3600        // per_seconds
	longestTurn = 20 * time.Second // a turn that is further off is refused, so that a step of work stays short
)

// rates are those of the definition's limits, for the integration over all workers, and the usual ones of a host. Without limits,
// and with settings that cannot be read, all are the usual ones.
func rates(c provider.Connection) []provider.Limit {
	var s struct {
		Limits *Limits `json:"limits"`
	}
	if json.Unmarshal(c.Integration.Settings, &s) != nil || s.Limits == nil {
		return nil
	}
	if _, err := compileLimits(s.Limits); err != nil {
		return nil
	}
	return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: s.Limits.perSecond(), Burst: max(s.Limits.Burst, 1), AtOnce: s.Limits.Concurrent},
		{Scope: provider.PerHost}}
}

func (l *Limits) perSecond() float64 { return float64(l.Requests) / float64(max(l.PerSeconds, 1)) }

// pace keeps a connection within what its system allows where no gate of internal/outbound does it for all workers together, as for
// probes. A nil one lets everything through.
type pace struct {
	tokens *rate.Limiter
	slots  chan struct{} // nil = no bound
}

func compileLimits(l *Limits) (*pace, error) {
	if l == nil {
		return nil, nil
	}
	const part = "settings.limits."
	var faults []error
	for _, f := range []struct {
		name               string
		value, least, most int
	}{{"requests", l.Requests, 1, maxLimit}, {"per_seconds", l.PerSeconds, 0, maxPerHours}, {"burst", l.Burst, 0, maxLimit}, {"concurrent", l.Concurrent, 0, 100}} {
		if f.value < f.least || f.value > f.most {
			faults = append(faults, domain.Invalid(part+f.name, "must be %d to %d", f.least, f.most))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	p := &pace{tokens: rate.NewLimiter(rate.Limit(l.perSecond()), max(l.Burst, 1))}
	if l.Concurrent > 0 {
		p.slots = make(chan struct{}, l.Concurrent)
	}
	return p, nil
}

// enter waits for a turn. A turn that is too far off is refused at once as rate_limited, with the time to wait. done must
// be called once.
func (p *pace) enter(ctx context.Context) (done func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	turn := p.tokens.Reserve()
	delay := turn.Delay()
	atMost := longestTurn
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline))
	}
	if delay > atMost {
		turn.Cancel()
		return nil, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "the rate of settings.limits is used up"), delay)
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			turn.Cancel()
			return nil, domain.E(domain.KindUnavailable, "wait for a turn at the system: %w", ctx.Err())
		}
	}
	if p.slots == nil {
		return func() {}, nil
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, domain.E(domain.KindUnavailable, "wait for other requests to the system: %w", ctx.Err())
	}
}
