package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// shownMoves is how many of the newest moves are told with one integration.
const shownMoves = 50

type healthView struct {
	domain.Health
	State       domain.HealthState `json:"state" enum:"unknown,up,degraded,failing_over,polling,down,needs_reconnect,paused,maintenance"`
	ProbeMS     int64              `json:"probe_every_ms,omitempty" doc:"The usual interval of this integration in milliseconds, where it is not that of the installation"`
	BoostMS     int64              `json:"boost_every_ms,omitempty" doc:"The interval until boost_until"`
	LastProbe   *probeView         `json:"last_probe,omitempty" doc:"The newest result that is stored; good ones are stored every two minutes"`
	SinceMillis int64              `json:"for_ms" doc:"How long it has been in this state"`
}

type probeView struct {
	domain.ProbeResult
	Outcome string `json:"outcome" enum:"ok,failed,refused,limited,late,blind" doc:"Only ok and failed count: refused and limited are answers, late and blind our own fault"`
	TookMS  int64  `json:"took_ms" doc:"How long the answer took, in milliseconds"`
	LagMS   int64  `json:"lag_ms" doc:"How late it began"`
}

func viewHealth(now time.Time, h domain.Health) healthView {
	v := healthView{Health: h, State: h.State, ProbeMS: h.ProbeEvery.Milliseconds(), SinceMillis: max(now.Sub(h.Since), 0).Milliseconds()}
	if h.BoostUntil != nil {
		v.BoostMS = h.BoostEvery.Milliseconds()
	}
	if r := h.LastProbe; r != nil {
		v.LastProbe = &probeView{ProbeResult: *r, Outcome: r.Outcome.String(), TookMS: r.Took.Milliseconds(), LagMS: r.Lag.Milliseconds()}
	}
	return v
}

// healthFigures sums up hours.
type healthFigures struct {
	From          time.Time        `json:"from"`
	To            time.Time        `json:"to"`
	OK            int64            `json:"ok" doc:"Probes that were answered"`
	Failed        int64            `json:"failed" doc:"Probes that were not, twice"`
	Unknown       int64            `json:"unknown" doc:"Probes that say nothing of the system"`
	Availability  *float64         `json:"availability_percent,omitempty" doc:"Of the probes that count; absent when none did, which is neither 0 nor 100"`
	P50           int64            `json:"p50_ms" doc:"Half of the answers took at most this"`
	P95           int64            `json:"p95_ms"`
	P99           int64            `json:"p99_ms"`
	Max           int64            `json:"max_ms"`
	TrafficOK     int64            `json:"traffic_ok" doc:"Readings and writings that worked"`
	TrafficFailed int64            `json:"traffic_failed"`
	Seconds       map[string]int64 `json:"seconds" doc:"Time spent in each state"`
}

func figuresOf(from, to time.Time, r domain.HealthRollup) healthFigures {
	f := healthFigures{From: from, To: to, OK: r.OK, Failed: r.Failed, Unknown: r.Unknown, Max: r.TookMax.Milliseconds(), TrafficOK: r.TrafficOK,
		TrafficFailed: r.TrafficFailed, Seconds: map[string]int64{}}
	if share, ok := r.Availability(); ok {
		percent := 100 * share
		f.Availability = &percent
	}
	q := func(share float64) int64 { return r.Took.Quantile(domain.ProbeBounds, share).Milliseconds() }
	f.P50, f.P95, f.P99 = q(0.50), q(0.95), q(0.99)
	for state, n := range r.Seconds {
		f.Seconds[string(state)] = n
	}
	return f
}

type healthMove struct {
	domain.HealthChange
	LastedMS int64 `json:"lasted_ms" doc:"How long the state before it was"`
}

type integrationHealth struct {
	healthView
	Day   healthFigures `json:"day" doc:"The last 24 hours, by whole hours"`
	Moves []healthMove  `json:"moves" doc:"The newest moves, newest first, at most 50"`
}

type integrationHealthOutput struct{ Body integrationHealth }

func (s *Server) getIntegrationHealth(ctx context.Context, in *IDParam) (*integrationHealthOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	out := &integrationHealthOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		h, err := tx.Health(ctx, id)
		if err != nil {
			return err
		}
		out.Body = integrationHealth{healthView: viewHealth(tx.Now, h), Moves: []healthMove{}}
		to := tx.Now.Truncate(time.Hour).Add(time.Hour)
		from := to.Add(-24 * time.Hour)
		var day domain.HealthRollup
		if err := tx.EachRollup(ctx, store.RollupFilter{Integration: id, From: from, To: to}, func(r domain.HealthRollup) error {
			day = day.Merge(r)
			return nil
		}); err != nil {
			return err
		}
		out.Body.Day = figuresOf(from, to, day)
		moves, err := tx.HealthChanges(ctx, id, 0, shownMoves)
		for _, m := range moves {
			out.Body.Moves = append(out.Body.Moves, healthMove{m, m.Lasted.Milliseconds()})
		}
		return err
	})
}

func (s *Server) listHealth(ctx context.Context, in *PageParams) (*listOutput[healthView], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]healthView, string, error) {
		all, next, err := tx.Healths(ctx, in.page())
		return views(all, func(h domain.Health) healthView { return viewHealth(tx.Now, h) }), next, err
	})
}

// healthMark is how the dashboard shows health: a shape and a word, so that colour is never all.
type healthMark struct{ Class, Shape, Word, Why string }

func markOf(h domain.Health) healthMark {
	words := map[domain.HealthState]healthMark{
		domain.HealthUp: {Class: "good", Shape: "●", Word: "Up"}, domain.HealthPolling: {Class: "medium", Shape: "◐", Word: "Polling"},
		domain.HealthDegraded: {Class: "high", Shape: "◆", Word: "Degraded"}, domain.HealthFailingOver: {Class: "high", Shape: "◆", Word: "Failing over"},
		domain.HealthDown: {Class: "critical", Shape: "✕", Word: "Down"}, domain.HealthUnknown: {Class: "medium", Shape: "?", Word: "Health unknown"},
		domain.HealthMaintenance: {Class: "medium", Shape: "◔", Word: "Maintenance"},
	}
	m := words[h.State] // paused and needs reconnect are told by the integration's own state
	m.Why = h.Reason.Text
	return m
}
