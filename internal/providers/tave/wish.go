package tave

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// maxName is the longest name of an event, in characters.
const maxName = 255

// wish is what the event of a copy should be, by member.
func (c *connection) wish(w provider.Write) map[string]any {
	out := c.times(w.When)
	out["name"] = titleOf(w)
	out["confirmed"] = w.Status == domain.StatusConfirmed
	out["location"], out["descriptionHtml"] = nil, nil
	if at := clean(w.Details.Location); at != "" {
		out["location"] = map[string]any{"address": map[string]any{"streetAddress": at}}
	}
	if notes := htmlText(w.Details.Notes); notes != "" {
		out["descriptionHtml"] = notes
	}
	return out
}

func titleOf(w provider.Write) string {
	title := clean(w.Details.Title)
	if title == "" {
		return "Busy"
	}
	for n, i := 0, 0; i < len(title); n++ {
		if n == maxName {
			return title[:i]
		}
		_, size := utf8.DecodeRuneInString(title[i:])
		i += size
	}
	return title
}

// minutes widens a span to whole minutes: seconds are ignored there.
func minutes(s domain.Span) domain.Span {
	end := s.End.Truncate(time.Minute)
	if end.Before(s.End) {
		end = end.Add(time.Minute)
	}
	return domain.Span{Start: s.Start.Truncate(time.Minute).UTC(), End: end.UTC()}
}

// times writes the times: dates if a reader in the studio's zone sees the same instants, otherwise clocks in that zone.
func (c *connection) times(w domain.When) map[string]any {
	out := map[string]any{"timezoneName": nil, "timezoneId": nil}
	if w.Kind == domain.TimeAllDay {
		if first, end, ok := calendartime.WholeDays(w.Span, c.zone); ok {
			out["allDay"], out["startDate"], out["endDate"] = true, first.String(), end.AddDays(-1).String()
			out["startTime"], out["endTime"] = nil, nil
			return out
		}
	}
	span, zone := minutes(w.Span), c.zone
	start, end := calendartime.WallOf(span.Start, zone), calendartime.WallOf(span.End, zone)
	if !unmistakable(span.Start, zone) || !unmistakable(span.End, zone) {
		// Which of two equal clocks at the end of summer time is meant can only be said in UTC.
		out["timezoneName"] = "UTC"
		start, end = calendartime.WallOf(span.Start, time.UTC), calendartime.WallOf(span.End, time.UTC)
	}
	out["allDay"] = false
	out["startDate"], out["startTime"] = start.Date().String(), start.String()[11:]
	out["endDate"], out["endTime"] = end.Date().String(), end.String()[11:]
	return out
}

// unmistakable reports whether the wall clock of an instant shows only then.
func unmistakable(t time.Time, zone *time.Location) bool {
	wall := calendartime.WallOf(t, zone)
	first := calendartime.Resolve(wall, zone)
	return first.Equal(t) && calendartime.WallOf(first.Add(30*time.Minute), zone) != wall && calendartime.WallOf(first.Add(time.Hour), zone) != wall
}

// same reports whether an event already is what the write wants.
func (c *connection) same(ctx context.Context, w provider.Write, e event) (bool, error) {
	t, err := c.typeOf(ctx, e.TypeID)
	if err != nil {
		return false, err
	}
	return c.sameTimes(w.When, e, t) && !e.Hidden && e.Name == titleOf(w) && e.Confirmed == (w.Status == domain.StatusConfirmed) &&
		e.Location.String() == clean(w.Details.Location) && plainText(e.Description) == clean(w.Details.Notes), nil
}

func (c *connection) sameTimes(want domain.When, e event, t eventType) bool {
	have, err := c.when(e, t)
	if err != nil {
		return false
	}
	allDay := c.times(want)["allDay"] == true
	span := want.Span
	if !allDay {
		span = minutes(want.Span)
	}
	return have.Start.Equal(span.Start) && have.End.Equal(span.End) && (have.Kind == domain.TimeAllDay) == allDay
}

// today is the studio's date.
func (c *connection) today() string { return calendartime.DateOf(c.now(), c.zone).String() }

// stageWish is what must change of a job that was made for a copy.
func (c *connection) stageWish(w provider.Write, f *family) map[string]any {
	out := map[string]any{}
	if f.Closed {
		out["closed"] = false
	}
	switch {
	case w.Status == domain.StatusConfirmed && !f.firm() && !f.booked:
		out["stage"], out["bookingDate"] = stageBooked, c.today()
	case w.Status == domain.StatusTentative && f.Stage == stageBooked:
		out["stage"] = stageLead
	}
	return out
}

// move changes the times and the status of an entry that is the studio's own.
func (c *connection) move(ctx context.Context, w provider.Write) (provider.Written, error) {
	if w.ExternalID == "" || w.Revision == "" {
		return provider.Written{}, domain.E(domain.KindConflict, "the source entry has not been read yet")
	}
	id, isEvent := strings.CutPrefix(w.ExternalID, eventPrefix)
	if !isEvent {
		return c.moveJob(ctx, w)
	}
	e, raw, err := c.event(ctx, id)
	if err != nil {
		return provider.Written{}, c.removed(ctx, err)
	}
	f, err := c.familyOf(ctx, e)
	if err != nil {
		return provider.Written{}, err
	}
	t, err := c.typeOf(ctx, e.TypeID)
	if err != nil {
		return provider.Written{}, err
	}
	wish := map[string]any{}
	if !c.sameTimes(w.When, e, t) {
		wish = c.times(w.When)
		if wish["timezoneName"] == nil && e.TimezoneName == "" && e.TimezoneID == "" {
			// It is in the studio's zone already. One with a zone of its own loses that: the studio's says the same instants.
			delete(wish, "timezoneName")
			delete(wish, "timezoneId")
		}
	}
	ofJob, err := c.steer(w.Status, e, f, t, wish)
	if err != nil {
		return provider.Written{}, err
	}
	knownEvent, knownJob, _ := strings.Cut(w.Revision, ".")
	haveEvent, haveJob, _ := strings.Cut(revision(e, f), ".")
	if len(wish) > 0 && knownEvent != haveEvent || len(ofJob) > 0 && knownJob != haveJob {
		return provider.Written{}, domain.E(domain.KindConflict, "the event was changed since it was read")
	}
	if len(wish) > 0 {
		if e.ReadOnly {
			return provider.Written{}, domain.E(domain.KindPermanent, "the studio lets nobody change this event")
		}
		if err := c.save(ctx, "/event/"+e.ID, raw, eventMembers, wish); err != nil {
			return provider.Written{}, err
		}
	}
	if len(ofJob) > 0 {
		if err := c.saveJob(ctx, f.ID, ofJob); err != nil {
			return provider.Written{}, err
		}
	}
	return c.written(ctx, w.ExternalID)
}

func (c *connection) removed(ctx context.Context, err error) error {
	if err = c.lost(ctx, err); domain.KindOf(err) == domain.KindNotFound {
		return domain.E(domain.KindConflict, "the entry was removed since it was read: %w", err)
	}
	return err
}

// steer finds what must change for a status: of the event, which is added to wish, and of its job. The only date of a job is
// steered by the job's stage, everything else by the event's own mark.
func (c *connection) steer(want domain.BookingStatus, e event, f *family, t eventType, wish map[string]any) (map[string]any, error) {
	if status(e, f) == want {
		return nil, nil
	}
	cannot := func(why string) (map[string]any, error) {
		return nil, domain.E(domain.KindPermanent, "the studio cannot be told this status: %s", why)
	}
	if e.Hidden {
		return cannot("the event is hidden, and only a person there can show it")
	}
	byJob := f != nil && c.settings.JobStatus != keepJobs && t.Kind != "call" && t.Kind != "meeting" && f.onlyDate(e.ID)
	closed := f != nil && f.Closed && f.Stage != stageCompleted
	switch {
	case byJob:
		ofJob, err := c.steerJob(want, f)
		if err == nil && want == domain.StatusTentative && e.Confirmed {
			wish["confirmed"] = false
		}
		return ofJob, err
	case want == domain.StatusCancelled:
		return cannot("a single event cannot be cancelled; remove it there")
	case closed:
		return cannot("its job is closed")
	case want == domain.StatusTentative && f != nil && (f.firm() || f.booked):
		return cannot("its job is booked")
	}
	wish["confirmed"] = want == domain.StatusConfirmed
	return nil, nil
}

// onlyDate reports whether an event is the only one with a date of its job.
func (f *family) onlyDate(id string) bool {
	for _, e := range *f.Events {
		if e.ID != id && e.StartDate != "" && !e.Hidden {
			return false
		}
	}
	return true
}

// steerJob finds what must change of a job for a status.
func (c *connection) steerJob(want domain.BookingStatus, f *family) (map[string]any, error) {
	out := map[string]any{}
	if f.Closed && want != domain.StatusCancelled {
		out["closed"], out["closedDate"], out["closedReasonId"] = false, nil, nil
	}
	switch want {
	case domain.StatusCancelled:
		if f.Stage == stageCompleted {
			return nil, domain.E(domain.KindPermanent, "the studio cannot be told this status: its job is completed")
		}
		out["closed"], out["closedDate"] = true, c.today()
	case domain.StatusConfirmed:
		if !f.firm() && !f.booked {
			out["stage"] = stageBooked
			if f.BookingDate == "" {
				out["bookingDate"] = c.today()
			}
		}
	case domain.StatusTentative:
		if f.booked || f.Stage == stageFulfilled || f.Stage == stageCompleted {
			return nil, domain.E(domain.KindPermanent, "the studio cannot be told this status: its job is further than booked")
		}
		if f.Stage != stageLead {
			out["stage"], out["bookingDate"] = stageLead, nil
		}
	}
	return out, nil
}

// moveJob changes the date and the status of a job without events.
func (c *connection) moveJob(ctx context.Context, w provider.Write) (provider.Written, error) {
	id, isJob := strings.CutPrefix(w.ExternalID, jobPrefix)
	if !isJob {
		return provider.Written{}, domain.Invalid("external_id", "names neither an event nor a job")
	}
	f, err := c.family(ctx, id)
	if err != nil {
		return provider.Written{}, c.removed(ctx, err)
	}
	if !f.hasDate() {
		return provider.Written{}, domain.E(domain.KindConflict, "the job has no date of its own any more")
	}
	first, end, whole := calendartime.WholeDays(w.When.Span, c.zone)
	if !whole || first.AddDays(1) != end {
		return provider.Written{}, domain.E(domain.KindPermanent, "the job has a date only: it can be moved to one whole day, or given an event there")
	}
	wish := map[string]any{}
	if status(event{}, f) != w.Status {
		if c.settings.JobStatus == keepJobs {
			return provider.Written{}, domain.E(domain.KindPermanent, "the settings keep the stages of jobs as they are")
		}
		if wish, err = c.steerJob(w.Status, f); err != nil {
			return provider.Written{}, err
		}
	}
	if f.EventDate != first.String() {
		wish["eventDate"] = first.String()
	}
	if len(wish) > 0 {
		if jobRevision(f) != w.Revision {
			return provider.Written{}, domain.E(domain.KindConflict, "the job was changed since it was read")
		}
		if err := c.saveJob(ctx, f.ID, wish); err != nil {
			return provider.Written{}, err
		}
	}
	return c.written(ctx, w.ExternalID)
}
