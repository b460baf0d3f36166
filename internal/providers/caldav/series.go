package caldav

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// maxInstances is the most instances of one series in the window; more are a Problem.
const maxInstances = 2000

// changes lists what a resource says. onlyWindow leaves out single entries outside the window.
func (c *connection) changes(r *resource, window domain.Span, onlyWindow bool) ([]domain.Change, []provider.Problem) {
	if r.Repeats() {
		return c.seriesChanges(r, window)
	}
	span := domain.Span{}
	if r.Master.HasStart {
		span = r.Master.Span()
		if onlyWindow && !span.Overlaps(window) {
			return nil, nil
		}
	}
	ch := c.change(r, *r.Master, span, "")
	if err := ch.Validate(); err != nil {
		return nil, []provider.Problem{{ExternalID: r.path, Err: err}}
	}
	return []domain.Change{ch}, nil
}

func (c *connection) seriesChanges(r *resource, window domain.Span) ([]domain.Change, []provider.Problem) {
	found, err := r.Occurrences(window, maxInstances)
	if err != nil {
		return nil, []provider.Problem{{ExternalID: r.path, Err: err}}
	}
	var out []domain.Change
	var problems []provider.Problem
	for _, o := range found {
		ch := c.change(r, o.Event, o.Span, o.RecurrenceID)
		if err := ch.Validate(); err != nil {
			problems = append(problems, provider.Problem{ExternalID: ch.ExternalID, Err: err})
			continue
		}
		out = append(out, ch)
	}
	gone, err := r.Excluded(window)
	if err != nil {
		return nil, []provider.Problem{{ExternalID: r.path, Err: err}}
	}
	for _, wall := range gone {
		out = append(out, domain.Change{Op: domain.OpRemove, ExternalID: r.path + "#" + r.InstanceID(wall), Revision: r.etag})
	}
	return out, problems
}

// instance finds one instance of a series, wherever it lies; ok is false when the series does not have it.
func (c *connection) instance(r *resource, wall calendartime.Wall) (domain.Change, bool, error) {
	if !r.Repeats() {
		return domain.Change{}, false, nil
	}
	if e, own := r.Overrides[wall]; own {
		span := domain.Span{}
		if e.HasStart {
			span = e.Span()
		}
		return c.change(r, e, span, r.InstanceID(wall)), true, nil
	}
	if r.Master == nil || !r.Master.HasStart {
		return domain.Change{}, false, nil
	}
	at := r.Master.Start
	at.Wall = wall
	const reach = 60 * 24 * time.Hour // an override for this and future instances may have moved it
	var found []ical.Occurrence
	found, err := r.Occurrences(domain.Span{Start: at.Instant().Add(-reach), End: at.Instant().Add(reach)}, maxInstances)
	if err != nil {
		return domain.Change{}, false, err
	}
	for _, o := range found {
		if o.ID == wall {
			return c.change(r, o.Event, o.Span, o.RecurrenceID), true, nil
		}
	}
	return domain.Change{}, false, nil
}
