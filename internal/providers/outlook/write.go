package outlook

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Put creates or updates a copy, or moves a source event; see the package comment.
func (c *connection) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := c.put(ctx, w)
	if err != nil {
		return provider.Written{}, domain.E(domain.KindOf(err), "write to calendar: %w", err)
	}
	return done, nil
}

func (c *connection) put(ctx context.Context, w provider.Write) (provider.Written, error) {
	if err := checkKey(w.Key); err != nil {
		return provider.Written{}, err
	}
	if err := w.When.Validate("when"); err != nil {
		return provider.Written{}, err
	}
	if w.Source {
		return c.move(ctx, w)
	}
	m := marker{w.BookingID, w.Key, w.Category}
	if w.ExternalID == "" {
		return c.create(ctx, w, m)
	}
	master, id, err := parseEntry(w.ExternalID)
	if err != nil {
		return provider.Written{}, err
	}
	if master != "" {
		return provider.Written{}, domain.Invalid("external_id", "names an occurrence, which is never a copy of ours")
	}
	if w.Revision != "" {
		return c.update(ctx, w, m, id)
	}
	e, err := c.get(ctx, id)
	switch domain.KindOf(err) {
	case "":
		if have, ok := e.marker(); !ok || have.key != w.Key {
			return provider.Written{}, domain.E(domain.KindConflict, "the event is not a copy of ours")
		}
		return c.adopt(ctx, w, m, e, true)
	case domain.KindNotFound:
		if err := c.proved(ctx, err); domain.KindOf(err) != domain.KindNotFound {
			return provider.Written{}, err
		}
		return c.create(ctx, w, m)
	}
	return provider.Written{}, err
}

// transactions is how many transactionIds are tried under one key.
const transactions = 4

// create makes a copy, unless an earlier try did.
func (c *connection) create(ctx context.Context, w provider.Write, m marker) (provider.Written, error) {
	path, err := c.calendarPath()
	if err != nil {
		return provider.Written{}, err
	}
	for n := range transactions {
		there, found, err := c.find(ctx, m)
		if err != nil {
			return provider.Written{}, err
		}
		if found {
			return c.adopt(ctx, w, m, there, false)
		}
		wish := c.wish(w, m, "")
		wish.TransactionID, wish.IsReminderOn = transaction(w.Key, n), new(bool)
		var made event
		res, err := c.client.do(ctx, call{method: http.MethodPost, path: path + "/events", body: wish}, &made)
		if err == nil {
			if made.ID == "" || made.ETag == "" {
				return provider.Written{}, domain.E(domain.KindUnavailable, "Graph answered a creation without the event")
			}
			// Bound in a second step, since only now there is an id. The answer may also be that of an earlier try with
			// the same transactionId, which says something older.
			return c.patch(ctx, made.ID, made.ETag, c.wish(w, m, made.ID), m)
		}
		if code(res) != "ErrorDuplicateTransactionId" {
			return provider.Written{}, err
		}
		// Taken: by another try at this moment, which the next look finds, or by a copy that was deleted since.
	}
	return provider.Written{}, domain.E(domain.KindUnavailable, "Graph refuses to create the copy as a repeat and does not show what it repeats")
}

// find looks for a copy of ours by its key. A person's duplicate has the key too and is passed over.
func (c *connection) find(ctx context.Context, m marker) (event, bool, error) {
	path, err := c.calendarPath()
	if err != nil {
		return event{}, false, err
	}
	q := url.Values{"$filter": {"singleValueExtendedProperties/any(ep: ep/id eq '" + keyProperty + "' and ep/value eq '" + m.keyValue() + "')"},
		"$expand": expand["$expand"], "$top": {"50"}}
	var answer struct {
		Value *[]event `json:"value"`
	}
	if _, err := c.client.do(ctx, call{method: http.MethodGet, path: path + "/events", query: q}, &answer); err != nil {
		return event{}, false, err
	}
	if answer.Value == nil {
		return event{}, false, domain.E(domain.KindUnavailable, "Graph answered a search without a list")
	}
	for _, e := range *answer.Value {
		if have, ok := e.marker(); ok && have.key == m.key && e.Type != typeMaster {
			return e, true, nil
		}
	}
	return event{}, false, nil
}

// adopt takes over a copy that is there already. One that says something else is written over or left as it is; one that
// is not bound yet was made a moment ago and is written over.
func (c *connection) adopt(ctx context.Context, w provider.Write, m marker, e event, over bool) (provider.Written, error) {
	if done, ok := c.sameAs(w, m, e); ok {
		return done, nil
	}
	if !over && e.bound(m) {
		done, err := c.written(e)
		done.Adopted = err == nil
		return done, err
	}
	return c.patch(ctx, e.ID, e.ETag, c.wish(w, m, e.ID), m)
}

// update writes a copy whose revision is known. When it is no longer that revision, an earlier try whose answer was lost
// may be the reason: then the copy already is what it should be.
func (c *connection) update(ctx context.Context, w provider.Write, m marker, id string) (provider.Written, error) {
	done, err := c.patch(ctx, id, w.Revision, c.wish(w, m, id), m)
	if kind := domain.KindOf(err); kind != domain.KindConflict && kind != domain.KindNotFound {
		return done, err
	}
	e, readErr := c.get(ctx, id)
	if domain.KindOf(readErr) == domain.KindNotFound {
		if err := c.proved(ctx, readErr); domain.KindOf(err) != domain.KindNotFound {
			return provider.Written{}, err
		}
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was removed since it was read")
	}
	if readErr != nil {
		return provider.Written{}, readErr
	}
	if done, ok := c.sameAs(w, m, e); ok {
		return done, nil
	}
	return provider.Written{}, domain.E(domain.KindConflict, "the copy was changed since it was read")
}

// patch changes an event under a condition and returns it as it is now.
func (c *connection) patch(ctx context.Context, id, etag string, wish wish, m marker) (provider.Written, error) {
	path, err := c.calendarPath()
	if err != nil {
		return provider.Written{}, err
	}
	var e event
	_, err = c.client.do(ctx, call{method: http.MethodPatch, path: path + "/events/" + url.PathEscape(id), match: etag, body: wish}, &e)
	if httpx.StatusOf(err) == http.StatusPreconditionFailed {
		return provider.Written{}, domain.E(domain.KindConflict, "the event was changed since it was read: %w", err)
	}
	if err != nil {
		return provider.Written{}, err
	}
	if e.ID != id || e.ETag == "" {
		return provider.Written{}, domain.E(domain.KindUnavailable, "Graph answered a change without the event")
	}
	if m.key != "" {
		e.Properties = m.extensions(id) // answers to changes do not show them
	}
	return c.written(e)
}

func (c *connection) written(e event) (provider.Written, error) {
	ch, err := c.change(e)
	if err != nil {
		return provider.Written{}, domain.E(domain.KindUnavailable, "read what was written: %w", err)
	}
	return provider.Written{ExternalID: ch.ExternalID, UID: ch.UID, Revision: ch.Revision, ReadBack: ch}, nil
}

// bound reports whether the event has the marker that is bound to it.
func (e event) bound(m marker) bool {
	return slices.ContainsFunc(e.Properties, func(p extension) bool { return p.ID == originProperty && p.Value == m.origin(e.ID) })
}

// sameAs reports whether a copy already says what the write wants and is bound.
func (c *connection) sameAs(w provider.Write, m marker, e event) (provider.Written, bool) {
	have, err := c.change(e)
	if err != nil || !e.bound(m) {
		return provider.Written{}, false
	}
	want := c.wish(w, m, e.ID)
	same := have.When.Start.Equal(w.When.Start) && have.When.End.Equal(w.When.End) && (have.When.Kind == domain.TimeAllDay) == *want.IsAllDay &&
		e.ShowAs == *want.ShowAs && e.Subject == *want.Subject && e.Location.DisplayName == want.Location.DisplayName &&
		have.Details.Notes == cut(clean(want.Body.Content), domain.MaxNotes)
	if !same {
		return provider.Written{}, false
	}
	done, err := c.written(e)
	return done, err == nil
}

// wish is what a creation or a change asks for. Fields that are nil stay as they are.
type wish struct {
	Subject       *string     `json:"subject,omitempty"`
	Body          *body       `json:"body,omitempty"`
	Location      *place      `json:"location,omitempty"`
	Start         *dateTime   `json:"start,omitempty"`
	End           *dateTime   `json:"end,omitempty"`
	IsAllDay      *bool       `json:"isAllDay,omitempty"`
	ShowAs        *string     `json:"showAs,omitempty"`
	IsReminderOn  *bool       `json:"isReminderOn,omitempty"`
	TransactionID string      `json:"transactionId,omitempty"` // creation only
	Properties    []extension `json:"singleValueExtendedProperties,omitempty"`
}

// wish makes the copy of a booking. There are no attendees in it: each would be sent a mail.
func (c *connection) wish(w provider.Write, m marker, id string) wish {
	title, showAs := clean(w.Details.Title), showAsOf(w.Status)
	if title == "" {
		title = "Busy"
	}
	out := wish{Subject: &title, Body: &body{"text", clean(w.Details.Notes)}, Location: &place{clean(w.Details.Location)}, ShowAs: &showAs,
		Properties: m.extensions(id)}
	c.times(&out, w.When, "UTC", time.UTC)
	return out
}

// times writes the times: dates if a reader in the resource's zone sees the same instants, otherwise clocks in a zone.
// Both ends of an all-day event are midnights of one zone.
func (c *connection) times(out *wish, w domain.When, zone string, loc *time.Location) {
	if w.Kind == domain.TimeAllDay {
		if first, end, ok := calendartime.WholeDays(w.Span, c.local); ok {
			allDay := true
			out.IsAllDay = &allDay
			out.Start = &dateTime{first.String() + "T00:00:00", c.local.String()}
			out.End = &dateTime{end.String() + "T00:00:00", c.local.String()}
			return
		}
	}
	out.IsAllDay = new(bool)
	start, end := calendartime.WallOf(w.Start, loc), calendartime.WallOf(w.End, loc)
	if !calendartime.Resolve(start, loc).Equal(w.Start.Truncate(time.Second)) || !calendartime.Resolve(end, loc).Equal(w.End.Truncate(time.Second)) {
		// The second of two equal clocks at the end of summer time can only be said in UTC.
		zone, start, end = "UTC", calendartime.WallOf(w.Start, time.UTC), calendartime.WallOf(w.End, time.UTC)
	}
	out.Start, out.End = &dateTime{clockText(start), zone}, &dateTime{clockText(end), zone}
}

func clockText(w calendartime.Wall) string {
	return time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC).Format("2006-01-02T15:04:05")
}

func showAsOf(s domain.BookingStatus) string {
	switch s {
	case domain.StatusTentative:
		return "tentative"
	case domain.StatusCancelled:
		return "free"
	case domain.StatusConfirmed:
	}
	return "busy"
}

// move changes the times and, where the status asks for it, showAs of an event that is the system's own.
func (c *connection) move(ctx context.Context, w provider.Write) (provider.Written, error) {
	if w.ExternalID == "" || w.Revision == "" {
		return provider.Written{}, domain.E(domain.KindConflict, "the source event has not been read yet")
	}
	e, err := c.entry(ctx, w.ExternalID)
	if domain.KindOf(err) == domain.KindNotFound {
		return provider.Written{}, domain.E(domain.KindConflict, "the event was removed since it was read: %w", err)
	}
	if err != nil {
		return provider.Written{}, err
	}
	var want wish
	zone := e.OriginalStartTimeZone
	_, loc, ok := zoneOf(zone)
	if !ok {
		zone, loc = "UTC", time.UTC
	}
	c.times(&want, w.When, zone, loc)
	showAs := e.ShowAs
	switch {
	case w.Status == domain.StatusCancelled, w.Status == domain.StatusTentative:
		showAs = showAsOf(w.Status)
	case e.ShowAs == "tentative":
		showAs = "busy"
	}
	if showAs != e.ShowAs {
		want.ShowAs = &showAs
	}
	if have, err := c.change(e); err == nil && want.ShowAs == nil && have.When.Start.Equal(w.When.Start) && have.When.End.Equal(w.When.End) &&
		e.IsAllDay == *want.IsAllDay {
		return c.written(e) // an earlier try whose answer was lost
	}
	if e.ETag != w.Revision {
		return provider.Written{}, domain.E(domain.KindConflict, "the event was changed since it was read")
	}
	etag := e.ETag
	_, id, err := parseEntry(w.ExternalID)
	if err == nil && e.Type == typeOccurrence {
		// Its revision is the series'; the condition is its own.
		var own event
		own, err = c.get(ctx, id)
		etag = own.ETag
	}
	if err != nil {
		return provider.Written{}, err
	}
	return c.patch(ctx, id, etag, want, marker{})
}

// Remove deletes a copy. One that is gone is success. Without a revision only a copy of ours is deleted.
func (c *connection) Remove(ctx context.Context, externalID, revision string) error {
	if err := c.remove(ctx, externalID, revision); err != nil {
		return domain.E(domain.KindOf(err), "remove from calendar: %w", err)
	}
	return nil
}

func (c *connection) remove(ctx context.Context, externalID, revision string) error {
	if strings.Contains(externalID, "#") {
		return domain.Invalid("external_id", "names an occurrence, which is never a copy of ours")
	}
	_, id, err := parseEntry(externalID)
	if err != nil {
		return err
	}
	if revision == "" {
		e, err := c.get(ctx, id)
		if err != nil {
			return c.goneIsFine(ctx, err)
		}
		if _, ok := e.marker(); !ok || e.ETag == "" {
			return domain.E(domain.KindConflict, "the event is not a copy of ours")
		}
		revision = e.ETag
	}
	path, err := c.calendarPath()
	if err != nil {
		return err
	}
	_, err = c.client.do(ctx, call{method: http.MethodDelete, path: path + "/events/" + url.PathEscape(id), match: revision}, nil)
	if httpx.StatusOf(err) == http.StatusPreconditionFailed {
		return domain.E(domain.KindConflict, "the copy was changed since it was read: %w", err)
	}
	return c.goneIsFine(ctx, err)
}

// goneIsFine turns the proof that an event is gone into success.
func (c *connection) goneIsFine(ctx context.Context, err error) error {
	if domain.KindOf(err) != domain.KindNotFound {
		return err
	}
	if err = c.proved(ctx, err); domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return err
}
