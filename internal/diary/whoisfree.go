package diary

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// DateAsk asks who is free on a date: who has room for a booking that begins on it.
type DateAsk struct {
	Date calendartime.Date
	Zone string // in which the date is meant; "" = the organisation's
	availability.Want
	Kind   domain.ResourceKind // "" = any
	Skills []string            // all of them
	Limit  int                 // resources shown
	After  domain.ResourceID   // Next of the page before
}

// Open is a resource with room on the date.
type Open struct {
	Resource domain.Resource
	Free     []domain.Span // where the booking may lie; its start is on the date
	Quiet    bool          // the resource has nothing at all on the date
	Since    time.Time     // since when the resource's sources are not all known; zero = it is free for sure
	Sources  []Source
}

// Found are the resources with room, in the order of their ids, and how many were looked at.
type Found struct {
	Zone    string // in which the date was meant
	Date    domain.Span
	Open    []Open
	Free    int               // of those looked at, with room, shown or not
	Taken   int               // without
	Next    domain.ResourceID // go on after this one; "" = all were looked at and shown
	Looked  int
	Partial bool // there are more than were looked at
}

// MaxShown is how many resources one answer shows.
const MaxShown = 200

// WhoIsFree looks through up to store.LookedThrough resources in one round trip and one more for the sources of those
// shown.
func WhoIsFree(ctx context.Context, tx *store.Tx, ask DateAsk) (Found, error) {
	if ask.Limit <= 0 || ask.Limit > MaxShown {
		return Found{}, domain.Invalid("limit", "must be 1 to %d, is %d", MaxShown, ask.Limit)
	}
	f := Found{Zone: ask.Zone, Open: []Open{}}
	if f.Zone == "" {
		var err error
		if f.Zone, err = tx.Zone(ctx); err != nil {
			return f, err
		}
	}
	loc, err := calendartime.LoadZone(f.Zone)
	if err != nil {
		return f, domain.Invalid("zone", "is no known IANA zone name")
	}
	f.Date = calendartime.AllDay(loc, ask.Date, ask.Date.AddDays(1))
	window := domain.Span{Start: f.Date.Start, End: f.Date.End.Add(ask.Duration)}
	var (
		resources []store.ShutResource
		near      []store.BusyAllocation
	)
	r := tx.Reads()
	r.Searched(store.ResourceAsk{After: ask.After, Kind: ask.Kind, Skills: ask.Skills}, reconcile.Reach(window), &resources, &near)
	if err := r.Do(ctx); err != nil {
		return f, err
	}
	busy, zones := byResource(near, ""), map[string]*time.Location{}
	for _, res := range resources {
		f.Looked++
		own := zones[res.Zone]
		if own == nil {
			if own, err = calendartime.LoadZone(res.Zone); err != nil {
				return f, domain.E(domain.KindInternal, "zone of a stored resource: %w", err)
			}
			zones[res.Zone] = own
		}
		spans, err := availability.Free(tx.Now, res.Resource, own, window, busy[res.ID], ask.Want)
		if err != nil {
			return f, err
		}
		spans = startingIn(spans, f.Date, ask.Duration)
		if len(spans) == 0 {
			f.Taken++
			continue
		}
		f.Free++
		if len(f.Open) == ask.Limit {
			if f.Next == "" {
				f.Next = f.Open[ask.Limit-1].Resource.ID
			}
			continue
		}
		o := Open{Free: spans, Quiet: true}
		for _, b := range busy[res.ID] {
			o.Quiet = o.Quiet && !b.Event.Overlaps(f.Date)
		}
		if o.Resource, err = tx.OpenName(res); err != nil {
			return f, err
		}
		f.Open = append(f.Open, o)
	}
	if f.Partial = len(resources) == store.LookedThrough; f.Partial && f.Next == "" {
		f.Next = resources[len(resources)-1].ID
	}
	return f, f.known(ctx, tx)
}

// startingIn keeps of each stretch what a booking that begins on the date can use.
func startingIn(spans []domain.Span, date domain.Span, length time.Duration) []domain.Span {
	out := []domain.Span{}
	for _, s := range spans {
		if !s.Start.Before(date.End) {
			continue
		}
		if last := date.End.Add(length); s.End.After(last) {
			s.End = last
		}
		out = append(out, s)
	}
	return out
}

// known adds how much is known of the sources of those shown.
func (f *Found) known(ctx context.Context, tx *store.Tx) error {
	if len(f.Open) == 0 {
		return nil
	}
	ids := make([]domain.ResourceID, len(f.Open))
	for i, o := range f.Open {
		ids[i] = o.Resource.ID
	}
	all, err := Sources(ctx, tx, ids...)
	if err != nil {
		return err
	}
	own := make(map[domain.ResourceID][]Source, len(ids))
	for _, s := range all {
		own[s.ResourceID] = append(own[s.ResourceID], s)
	}
	for i := range f.Open {
		f.Open[i].Sources = own[f.Open[i].Resource.ID]
		f.Open[i].Since = UnknownSince(f.Open[i].Sources)
	}
	return nil
}
