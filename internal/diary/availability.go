package diary

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/store"
)

// MaxResources is how many resources one question about availability may name.
const MaxResources = 50

// around is how far beside a window a booking may lie and still block a part of it: two days for whole-day rules and the
// longest buffers on both sides.
const around = 6 * 24 * time.Hour

// Calendar is when one resource is free, and why not at other times.
type Calendar struct {
	Resource domain.Resource
	Loc      *time.Location // of the resource
	// Free are the stretches in which a booking may lie anywhere. They are empty while a source is unknown: then Unknown has
	// them, which are free as far as is known.
	Free    []domain.Span
	Unknown []domain.Span
	Blocked []availability.Blocked
	Sources []Source
	Since   time.Time // since when the resource's sources are not all known; zero = they are
}

// Availability answers for resources, in the order in which they are named, each once.
func Availability(ctx context.Context, tx *store.Tx, ids []domain.ResourceID, window domain.Span, want availability.Want) ([]Calendar, error) {
	if len(ids) == 0 || len(ids) > MaxResources {
		return nil, domain.Invalid("resource", "1 to %d, got %d", MaxResources, len(ids))
	}
	if !window.End.After(window.Start) || window.Duration() > availability.MaxWindow {
		return nil, domain.Invalid("window", "must end after it starts and last at most %d days", int(availability.MaxWindow.Hours()/24))
	}
	var (
		resources []domain.Resource
		taken     []store.BusyAllocation
		rows      []store.SourceRow
		near      = make([]store.Near, len(ids))
	)
	for i, id := range ids {
		near[i] = store.Near{Resource: id, Span: window.Pad(around, around)}
	}
	r := tx.Reads()
	r.Resources(ids, &resources)
	r.AllocationsNear(near, &taken)
	r.Sources(ids, &rows)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	busy, sources := byResource(taken, ""), judge(tx.Now, rows)
	out := make([]Calendar, 0, len(ids))
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			continue
		}
		at := slices.IndexFunc(resources, func(r domain.Resource) bool { return r.ID == id })
		if at < 0 {
			return nil, domain.E(domain.KindNotFound, "no such resource")
		}
		c := Calendar{Resource: resources[at], Sources: ofResource(sources, id)}
		var err error
		if c.Loc, err = calendartime.LoadZone(c.Resource.Zone); err != nil {
			return nil, domain.E(domain.KindInternal, "zone of a stored resource: %w", err)
		}
		answer, err := availability.Windows(tx.Now, c.Resource, c.Loc, window, busy[id], want)
		if err != nil {
			return nil, err
		}
		c.Blocked = answer.Blocked
		if c.Since = UnknownSince(c.Sources); c.Since.IsZero() {
			c.Free = answer.Free
		} else {
			c.Unknown = answer.Free
		}
		out = append(out, c)
	}
	return out, nil
}
