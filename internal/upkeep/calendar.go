package upkeep

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// stateAhead is how far the next change of open and closed is looked for.
	stateAhead = 60 * 24 * time.Hour
	// trafficSince is over how long traffic is averaged: four weeks, so that each hour of the week occurs four times.
	trafficSince = 4 * 7 * 24 * time.Hour
	// trafficOf bounds the connections whose traffic is counted for one question.
	trafficOf = 50
)

// calendar is what is closed in a stretch, and what the organisation wants.
type calendar struct {
	settings domain.MaintenanceSettings
	rules    maintenance.Calendar
	closed   []maintenance.Closure
}

func read(ctx context.Context, tx *store.Tx, span domain.Span) (c calendar, err error) {
	if c.settings, err = tx.MaintenanceSettings(ctx); err != nil {
		return c, err
	}
	zone, err := tx.Zone(ctx)
	if err != nil {
		return c, err
	}
	if c.rules, err = maintenance.CalendarOf(c.settings, zone); err != nil {
		return c, domain.E(domain.KindInternal, "read the calendar of maintenance: %w", err)
	}
	frozen, err := freezes(ctx, tx, span)
	if err != nil {
		return c, err
	}
	c.closed = maintenance.Closures(span, frozen, c.rules)
	return c, nil
}

// freezes are those of every wedding of the organisation that touch a stretch.
func freezes(ctx context.Context, tx *store.Tx, span domain.Span) ([]maintenance.Closure, error) {
	all, err := tx.Freezes(ctx, span.Start, span.End)
	if err != nil {
		return nil, err
	}
	var out []maintenance.Closure
	for _, f := range all {
		out = append(out, maintenance.Frozen(f.Booking, domain.Span{Start: f.From, End: f.Until}))
	}
	return maintenance.InTheWay(span, out), nil
}

// StateAt tells whether maintenance may be at a time, and when that changes, within 60 days.
func StateAt(ctx context.Context, tx *store.Tx, at time.Time) (maintenance.State, error) {
	// A closure that has begun is seen whole from a day before on; only its end and what touches it matter.
	span := domain.Span{Start: at.Add(-24 * time.Hour), End: at.Add(stateAhead)}
	c, err := read(ctx, tx, span)
	if err != nil {
		return maintenance.State{}, err
	}
	return maintenance.StateAt(at.UTC(), c.closed, span.End), nil
}

// Wish is a question for times.
type Wish struct {
	Scopes   []domain.Scope
	Search   domain.Span
	Duration time.Duration
	Limit    int // 0 = 5
}

// Propose ranks times in which the connections of some scopes may rest. See [maintenance.Propose].
func Propose(ctx context.Context, tx *store.Tx, w Wish) ([]maintenance.Proposal, error) {
	return propose(ctx, tx, w, "")
}

// propose leaves one window out of those that are in the way.
func propose(ctx context.Context, tx *store.Tx, w Wish, but domain.MaintenanceID) ([]maintenance.Proposal, error) {
	if !w.Search.Start.Before(w.Search.End) || w.Search.End.Sub(w.Search.Start) > maintenance.MaxSearch {
		return nil, domain.Invalid("until", "must be after from, by at most %d days", int(maintenance.MaxSearch.Hours()/24))
	}
	c, err := read(ctx, tx, w.Search)
	if err != nil {
		return nil, err
	}
	ids, err := covered(ctx, tx, domain.Maintenance{Scopes: w.Scopes})
	if err != nil {
		return nil, err
	}
	ask := maintenance.Ask{Now: tx.Now, Search: w.Search, Duration: w.Duration, Notice: c.settings.Notice(), Limit: w.Limit, Closures: c.closed, Zone: c.rules.Zone()}
	if ask.Taken, err = taken(ctx, tx, ids, w.Search, but); err != nil {
		return nil, err
	}
	providers := map[string]bool{}
	for _, id := range ids {
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return nil, err
		}
		providers[i.Provider] = true
	}
	announced, err := tx.ProviderWindows(ctx, w.Search.Start, w.Search.End)
	if err != nil {
		return nil, err
	}
	for _, a := range announced {
		if providers[a.Provider] {
			ask.Announced = append(ask.Announced, domain.Span{Start: a.StartsAt, End: a.EndsAt})
		}
	}
	traffic, err := tx.Traffic(ctx, ids[:min(len(ids), trafficOf)], tx.Now.Add(-trafficSince))
	if err != nil {
		return nil, err
	}
	for _, t := range traffic {
		ask.Traffic = ask.Traffic.Plus(maintenance.TrafficOf(t.Hours, t.From, tx.Now, ask.Zone))
	}
	return maintenance.Propose(ask)
}

// taken are the times of open windows but one that cover one of the connections.
func taken(ctx context.Context, tx *store.Tx, ids []domain.IntegrationID, span domain.Span, but domain.MaintenanceID) ([]domain.Span, error) {
	open, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return nil, err
	}
	var out []domain.Span
	for _, o := range open {
		if o.ID == but || !o.Span().Overlaps(span) {
			continue
		}
		shared, err := share(ctx, tx, ids, o)
		if err != nil {
			return nil, err
		}
		if shared {
			out = append(out, o.Span())
		}
	}
	return out, nil
}

// covered are the connections of a window. KindConflict when there are more than one window may have.
func covered(ctx context.Context, tx *store.Tx, m domain.Maintenance) ([]domain.IntegrationID, error) {
	ids, err := tx.MaintainedIntegrations(ctx, m, domain.MaxMaintained)
	if err == nil && len(ids) > domain.MaxMaintained {
		err = domain.E(domain.KindConflict, "one maintenance may cover at most %d connections; make several", domain.MaxMaintained)
	}
	return ids, err
}

// share reports whether a window covers one of the connections.
func share(ctx context.Context, tx *store.Tx, ids []domain.IntegrationID, o domain.Maintenance) (bool, error) {
	theirs, err := tx.MaintainedIntegrations(ctx, o, domain.MaxMaintained)
	if err != nil {
		return false, err
	}
	known := make(map[domain.IntegrationID]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	for _, id := range theirs {
		if known[id] {
			return true, nil
		}
	}
	return false, nil
}
