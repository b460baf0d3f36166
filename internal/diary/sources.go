package diary

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// SourceState says how much is known of a source.
type SourceState string

// The states of a source.
const (
	SourceFresh   SourceState = "fresh"   // all that happened there is known, within the target
	SourceUnknown SourceState = "unknown" // nothing is known for sure that happened there after Since
)

// Source is a connected system that brings bookings to a resource.
type Source struct {
	IntegrationID domain.IntegrationID `json:"integration_id"`
	ResourceID    domain.ResourceID    `json:"resource_id"`
	Provider      string               `json:"provider"`
	State         SourceState          `json:"state" enum:"fresh,unknown"`
	Since         *time.Time           `json:"since,omitempty" doc:"Of an unknown one: nothing that happened there later is known for sure"`
	ReadAt        *time.Time           `json:"read_at,omitempty" doc:"When it was last read to its end"`
	Reason        string               `json:"reason,omitempty" doc:"Why it is unknown"`
}

// SourceOf judges a source at a time. readable says whether its system can be listed; where nobody asked the provider it
// is told by what the connection has done so far.
func SourceOf(now time.Time, row store.SourceRow, readable bool) Source {
	s := Source{IntegrationID: row.ID, ResourceID: row.ResourceID, Provider: row.Provider, State: SourceFresh, ReadAt: row.LastSyncAt}
	m := freshness.Measured{Wanted: row.Wanted}
	if row.Watched {
		m.Watches = []domain.Watch{{State: domain.WatchActive}}
	}
	k := freshness.KnownOf(now, row.Integration, m, freshness.Link{Readable: readable, Tells: row.LastDeliveryAt != nil, Waiting: row.Waiting})
	if !k.Fresh {
		since := k.Since.UTC()
		s.State, s.Since, s.Reason = SourceUnknown, &since, k.Reason
	}
	return s
}

// seemsReadable tells from what a connection did whether its system can be listed.
func seemsReadable(row store.SourceRow) bool {
	return row.LastSyncAt != nil || row.PollEvery > 0 || row.Watched || row.Wanted != nil
}

// Sources judges the sources of resources as things stand, in the order of their ids.
func Sources(ctx context.Context, tx *store.Tx, resources ...domain.ResourceID) ([]Source, error) {
	var rows []store.SourceRow
	r := tx.Reads()
	r.Sources(resources, &rows)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	return judge(tx.Now, rows), nil
}

func judge(now time.Time, rows []store.SourceRow) []Source {
	out := make([]Source, len(rows))
	for i, row := range rows {
		out[i] = SourceOf(now, row, seemsReadable(row))
	}
	return out
}

// UnknownSince is the earliest time since which one of the sources is unknown; the zero time when all are fresh.
func UnknownSince(sources []Source) (since time.Time) {
	for _, s := range sources {
		if s.State == SourceUnknown && (since.IsZero() || s.Since.Before(since)) {
			since = *s.Since
		}
	}
	return since
}

// ofResource are the sources of one resource.
func ofResource(all []Source, id domain.ResourceID) []Source {
	out := []Source{}
	for _, s := range all {
		if s.ResourceID == id {
			out = append(out, s)
		}
	}
	return out
}

func candidate(a store.BusyAllocation) conflict.Candidate {
	return conflict.Candidate{BookingID: a.BookingID, Category: a.Category, Status: a.Status, Event: a.Event, Busy: a.Busy, Place: a.Place, CreatedAt: a.BookedAt}
}

// byResource sorts what is taken by resource, leaving a booking out.
func byResource(list []store.BusyAllocation, except domain.BookingID) map[domain.ResourceID][]conflict.Candidate {
	out := map[domain.ResourceID][]conflict.Candidate{}
	for _, a := range list {
		if a.BookingID != except || except == "" {
			out[a.ResourceID] = append(out[a.ResourceID], candidate(a))
		}
	}
	return out
}
