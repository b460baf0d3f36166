package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/weddings"
)

// Weddings looks after weddings.
type Weddings struct {
	Store *store.Store
	// Prober asks connections once; nil = nobody can be asked.
	Prober *monitor.Prober
	// FailOver has a connection read at once, without waiting for its news; nil = there is no way. It may be called twice.
	// KindConflict: that cannot be; its text is shown.
	FailOver func(ctx context.Context, org domain.OrgID, id domain.IntegrationID, reason string) error
}

// WeddingRef names a wedding.
type WeddingRef struct {
	Org     domain.OrgID     `json:"org"`
	Wedding domain.BookingID `json:"wedding"`
}

// LookAfterWeddingResult tells where the care for it stands, and what is to be done outside.
type LookAfterWeddingResult struct {
	Status      contract.WeddingStatus `json:"status"`
	Preflight   domain.PreflightKind   `json:"preflight,omitempty"` // is to be made now
	Connections []domain.IntegrationID `json:"connections,omitempty"`
	FailOver    []domain.IntegrationID `json:"fail_over,omitempty"`
	Done        bool                   `json:"done,omitempty"`
}

// LookAfterWedding moves the care for a wedding to where its booking and the time say it is, and tells what is due. Running it
// again changes nothing.
func (a *Weddings) LookAfterWedding(ctx context.Context, in WeddingRef) (LookAfterWeddingResult, error) {
	var out LookAfterWeddingResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		l, err := weddings.Look(ctx, tx, in.Wedding)
		c := l.Care
		out = LookAfterWeddingResult{Status: contract.WeddingStatus{State: c.State, Date: c.Date, Preflight: c.Preflight, FreezeAt: c.FreezeFrom, DayFrom: c.DayFrom,
			DayUntil: c.DayUntil, NextAt: c.NextAt}, Preflight: l.Preflight, Connections: l.Connections, FailOver: l.FailOver, Done: l.Done}
		return err
	})
	return out, fail(err)
}

// AskConnectionsInput names connections.
type AskConnectionsInput struct {
	Org         domain.OrgID           `json:"org"`
	Connections []domain.IntegrationID `json:"connections"`
}

// AskConnectionsResult is what each answered.
type AskConnectionsResult struct {
	Answers []Answer `json:"answers,omitempty"`
}

// Answer is what one connection answered.
type Answer struct {
	Integration domain.IntegrationID `json:"integration"`
	Silent      bool                 `json:"silent,omitempty"` // it cannot be asked
	Outcome     domain.ProbeOutcome  `json:"outcome,omitempty"`
	TookMS      int64                `json:"took_ms,omitempty"`
	Cause       domain.ErrorKind     `json:"cause,omitempty"`
}

// askAtOnce is how many connections of a wedding are asked at the same time.
const askAtOnce = 8

// AskConnections asks connections at once, whatever their interval and state. That one failed is a result and no error; one that is
// gone has no answer. Nothing is stored: the usual probes go on.
func (a *Weddings) AskConnections(ctx context.Context, in AskConnectionsInput) (AskConnectionsResult, error) {
	if a.Prober == nil {
		return AskConnectionsResult{}, nil
	}
	answers := make([]*Answer, len(in.Connections))
	errs := make([]error, len(in.Connections))
	var wait sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for n, id := range in.Connections {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[n], errs[n] = a.ask(ctx, in.Org, id)
		})
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	beat := time.NewTicker(10 * time.Second)
	defer beat.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-beat.C:
			activity.RecordHeartbeat(ctx)
		}
	}
	var out AskConnectionsResult
	for n := range answers {
		if errs[n] != nil {
			return AskConnectionsResult{}, fail(errs[n])
		}
		if answers[n] != nil {
			out.Answers = append(out.Answers, *answers[n])
		}
	}
	return out, nil
}

func (a *Weddings) ask(ctx context.Context, org domain.OrgID, id domain.IntegrationID) (*Answer, error) {
	t, err := a.Store.ProbeTarget(ctx, org, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	asked := a.Prober.Once(ctx, t)
	if ctx.Err() != nil {
		return nil, domain.E(domain.KindUnavailable, "ask a connection: %w", ctx.Err())
	}
	if asked.Silent {
		return &Answer{Integration: id, Silent: true}, nil
	}
	r := asked.Result
	return &Answer{Integration: id, Outcome: r.Outcome, TookMS: r.Took.Milliseconds(), Cause: r.Cause}, nil
}

// CheckWeddingInput names a wedding, why a preflight is made, and what its connections answered.
type CheckWeddingInput struct {
	Org     domain.OrgID         `json:"org"`
	Wedding domain.BookingID     `json:"wedding"`
	Kind    domain.PreflightKind `json:"kind"`
	Answers []Answer             `json:"answers,omitempty"`
}

// CheckWeddingResult tells what a preflight came to.
type CheckWeddingResult struct {
	Preflight domain.PreflightID `json:"preflight,omitempty"` // "" when the wedding is not looked after any more
	State     domain.CheckState  `json:"state,omitempty"`
}

// CheckWedding judges everything that a wedding rests on and stores a preflight. Running it again stores another one, which tells
// nobody of what the first one told.
func (a *Weddings) CheckWedding(ctx context.Context, in CheckWeddingInput) (CheckWeddingResult, error) {
	said := make(map[domain.IntegrationID]weddingcare.Said, len(in.Answers))
	for _, answer := range in.Answers {
		said[answer.Integration] = weddingcare.Said{Asked: true, Silent: answer.Silent, Outcome: answer.Outcome, TookMS: answer.TookMS, Cause: answer.Cause}
	}
	var out CheckWeddingResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		p, made, err := weddings.Check(ctx, tx, in.Wedding, in.Kind, said)
		if made {
			out = CheckWeddingResult{Preflight: p.ID, State: p.State}
		}
		return err
	})
	return out, fail(err)
}

// FailOverWeddingInput names connections that stopped telling of news on the day of a wedding.
type FailOverWeddingInput struct {
	Org         domain.OrgID           `json:"org"`
	Wedding     domain.BookingID       `json:"wedding"`
	Connections []domain.IntegrationID `json:"connections"`
}

// FailOverWeddingResult tells how many are polled now.
type FailOverWeddingResult struct {
	Polled int `json:"polled,omitempty"`
}

// FailOverWedding has connections polled at once, and notes what became of it. One that cannot be polled is noted as such. Running
// it again asks again, which changes nothing for one that is polled.
func (a *Weddings) FailOverWedding(ctx context.Context, in FailOverWeddingInput) (FailOverWeddingResult, error) {
	var out FailOverWeddingResult
	var outcomes []weddings.FailoverOutcome
	for _, id := range in.Connections {
		o := weddings.FailoverOutcome{Integration: id}
		switch {
		case a.FailOver == nil:
			o.Fault = "this installation has no way to read it"
		default:
			err := a.FailOver(ctx, in.Org, id, "it told of no news on the day of a wedding")
			if domain.KindOf(err) == domain.KindUnavailable && err != nil {
				return FailOverWeddingResult{}, fail(err)
			}
			if err != nil {
				o.Fault = textOf(err)
			} else {
				out.Polled++
			}
		}
		outcomes = append(outcomes, o)
	}
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		return weddings.FailedOver(ctx, tx, in.Wedding, outcomes)
	})
	return out, fail(err)
}
