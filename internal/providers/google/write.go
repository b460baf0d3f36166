package google

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// silently is sent with every write: nobody gets a mail about it.
const silently = "none"

// Put writes the copy of a booking, or moves a source entry; see the package comment.
func (c *connection) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := c.put(ctx, w)
	if err != nil {
		return provider.Written{}, fail("write to Google calendar", err)
	}
	return done, nil
}

func (c *connection) put(ctx context.Context, w provider.Write) (provider.Written, error) {
	if _, err := c.chosen(); err != nil {
		return provider.Written{}, err
	}
	if c.settings.busyOnly() {
		return provider.Written{}, domain.E(domain.KindForbidden, "the account sees only when the calendar is busy")
	}
	w.When = normal(w.When)
	if err := w.When.Validate("when"); err != nil {
		return provider.Written{}, err
	}
	if w.Source {
		return c.putSource(ctx, w)
	}
	if err := checkKey(w.Key); err != nil {
		return provider.Written{}, err
	}
	if _, ok := domain.ParseUUID(string(w.BookingID)); !ok {
		return provider.Written{}, domain.Invalid("booking_id", "must be a UUID")
	}
	if err := w.Details.Validate(); err != nil {
		return provider.Written{}, err
	}
	if w.Status == domain.StatusCancelled {
		return provider.Written{}, domain.Invalid("status", "a cancelled copy is a deleted one at Google: remove it")
	}
	if w.ExternalID == "" {
		return c.create(ctx, w)
	}
	if w.Revision != "" {
		return c.update(ctx, w)
	}
	return c.putUnseen(ctx, w)
}

// normal makes a time that Google takes: whole seconds, and never without length, which Google refuses.
func normal(w domain.When) domain.When {
	w.Start, w.End = w.Start.Truncate(time.Second), w.End.Truncate(time.Second)
	if w.Start.Equal(w.End) {
		w.End = w.Start.Add(time.Minute)
	}
	return w
}

// create writes a copy that must not be there yet. What is there under its id is our own earlier try, a copy that was
// deleted, or a conflict.
func (c *connection) create(ctx context.Context, w provider.Write) (provider.Written, error) {
	for generation := range generations {
		id := copyID(w.Key, generation)
		body := c.compose(w, id)
		body.Id, body.Reminders = id, &calendar.EventReminders{ForceSendFields: []string{"UseDefault"}}
		body.Start.NullFields, body.End.NullFields = nil, nil // there is nothing to empty
		ev, err := c.api.Events.Insert(c.settings.Calendar, body).SendUpdates(silently).Fields(eventFields).Context(ctx).Do()
		if httpx.StatusOf(err) != http.StatusConflict {
			return c.written(checked(ev, err, id))
		}
		current, err := c.get(ctx, id)
		switch {
		case kindOf(err) == domain.KindNotFound:
			continue // deleted, and kept out of sight
		case err != nil:
			return provider.Written{}, err
		case current.Status != "cancelled":
			return c.adopt(ctx, w, current, false)
		}
		call := c.api.Events.Update(c.settings.Calendar, id, body).SendUpdates(silently).Fields(eventFields).Context(ctx)
		call.Header().Set("If-Match", current.Etag)
		ev, err = call.Do()
		switch kindOf(err) {
		case domain.KindNotFound, domain.KindForbidden, domain.KindPermanent:
			continue // Google does not give it back
		}
		return c.written(checked(ev, err, id))
	}
	return provider.Written{}, domain.E(domain.KindConflict, "every id of the copy is taken by a deleted event")
}

// adopt takes over a copy that is there already, if its marker says that it is the one of this write. One that says
// something else is written over or left as it is.
func (c *connection) adopt(ctx context.Context, w provider.Write, current *calendar.Event, over bool) (provider.Written, error) {
	if m, ok := readMarker(current); !ok || m.key != w.Key {
		return provider.Written{}, domain.E(domain.KindConflict, "the id of the copy is taken by an entry that is not ours")
	}
	if says := c.says(w, current); says || !over {
		done, err := c.written(current, nil)
		done.Adopted = !says
		return done, err
	}
	w.ExternalID, w.Revision = externalID(current.Id), current.Etag
	return c.replace(ctx, w)
}

// update writes a copy whose revision is known. When it is no longer that revision, an earlier try with a lost answer may be
// the reason: then the copy already is what it should be.
func (c *connection) update(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := c.replace(ctx, w)
	if kind := kindOf(err); kind != domain.KindConflict && kind != domain.KindNotFound {
		return done, err
	}
	current, errGet := c.get(ctx, w.ExternalID)
	switch {
	case kindOf(errGet) == domain.KindNotFound, errGet == nil && current.Status == "cancelled":
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was removed since it was read")
	case errGet != nil:
		return provider.Written{}, errGet
	}
	if m, ok := readMarker(current); ok && m.key == w.Key && c.says(w, current) {
		return c.written(current, nil)
	}
	return provider.Written{}, domain.E(domain.KindConflict, "the copy was changed since it was read")
}

// putUnseen writes a copy of known id but unknown revision: only if it is absent or ours.
func (c *connection) putUnseen(ctx context.Context, w provider.Write) (provider.Written, error) {
	if strings.Contains(w.ExternalID, "#") {
		return provider.Written{}, errInstance
	}
	current, err := c.get(ctx, w.ExternalID)
	switch {
	case kindOf(err) == domain.KindNotFound, err == nil && current.Status == "cancelled":
		return c.create(ctx, w)
	case err != nil:
		return provider.Written{}, err
	}
	return c.adopt(ctx, w, current, true)
}

var errInstance = domain.Invalid("external_id", "names an instance of a series, which is never a copy of ours")

// replace patches what a copy says, so that colours and reminders that a person gave it stay.
func (c *connection) replace(ctx context.Context, w provider.Write) (provider.Written, error) {
	if strings.Contains(w.ExternalID, "#") {
		return provider.Written{}, errInstance
	}
	body := c.compose(w, w.ExternalID)
	body.ForceSendFields = []string{"Summary", "Location", "Description"}
	call := c.api.Events.Patch(c.settings.Calendar, w.ExternalID, body).SendUpdates(silently).Fields(eventFields).Context(ctx)
	call.Header().Set("If-Match", w.Revision)
	ev, err := call.Do()
	return c.written(checked(ev, err, w.ExternalID))
}

// says reports whether a copy already is what the write wants.
func (c *connection) says(w provider.Write, current *calendar.Event) bool {
	want := c.compose(w, current.Id)
	want.Id, want.ICalUID, want.ColorId, want.EventLabelId, want.Visibility = current.Id, current.ICalUID, current.ColorId, current.EventLabelId, current.Visibility
	wanted, err := c.change(want)
	if err != nil {
		return false
	}
	have, err := c.change(current)
	return err == nil && have.Hash() == wanted.Hash() && have.Origin == wanted.Origin
}

// written describes a copy or entry by the answer to its write, which is the event as Google keeps it.
func (c *connection) written(ev *calendar.Event, err error) (provider.Written, error) {
	if err != nil {
		return provider.Written{}, err
	}
	if ev.Status == "cancelled" || ev.Etag == "" {
		return provider.Written{}, domain.E(domain.KindUnavailable, "the entry is not as it was written")
	}
	ch, err := c.change(ev)
	if err == nil {
		err = ch.Validate()
	}
	if err != nil {
		return provider.Written{}, domain.E(domain.KindOf(err), "read what was written: %w", err)
	}
	return provider.Written{ExternalID: ch.ExternalID, UID: ch.UID, Revision: ch.Revision, ReadBack: ch}, nil
}

// compose writes the event of a copy. It never has guests.
func (c *connection) compose(w provider.Write, id string) *calendar.Event {
	ev := &calendar.Event{
		Summary: clean(w.Details.Title), Location: clean(w.Details.Location), Description: clean(w.Details.Notes),
		Status: string(w.Status), Transparency: "opaque",
		ExtendedProperties: &calendar.EventExtendedProperties{Private: map[string]string{
			propBooking: string(w.BookingID), propKey: w.Key, propProof: proof(w.BookingID, w.Key, id),
			propCategory: string(w.Category), propContact: clean(w.Details.Contact),
		}},
	}
	if ev.Summary == "" {
		ev.Summary = "Busy"
	}
	ev.Start, ev.End = c.times(w.When)
	return ev
}

// times writes a time. Whole days become dates if a reader in the resource's zone sees the same instants; in another zone
// the same days would be other hours, and then the hours count. The empty form is named, because a patch would keep it.
func (c *connection) times(w domain.When) (start, end *calendar.EventDateTime) {
	if w.Kind == domain.TimeAllDay {
		if first, after, ok := calendartime.WholeDays(w.Span, c.local); ok {
			none := []string{"DateTime", "TimeZone"}
			return &calendar.EventDateTime{Date: first.String(), NullFields: none}, &calendar.EventDateTime{Date: after.String(), NullFields: none}
		}
	}
	zone := "UTC"
	if _, err := calendartime.LoadZone(w.Zone); err == nil {
		zone = w.Zone
	}
	at := func(t time.Time) *calendar.EventDateTime {
		return &calendar.EventDateTime{DateTime: t.UTC().Format(time.RFC3339), TimeZone: zone, NullFields: []string{"Date"}}
	}
	return at(w.Start), at(w.End)
}

// putSource moves, confirms or cancels an entry of the calendar's owner.
func (c *connection) putSource(ctx context.Context, w provider.Write) (provider.Written, error) {
	current, err := c.get(ctx, w.ExternalID)
	if err != nil {
		return provider.Written{}, err
	}
	if current.Status == "cancelled" {
		if w.Status == domain.StatusCancelled {
			return c.cancelled(current, w), nil
		}
		return provider.Written{}, domain.E(domain.KindNotFound, "the entry was deleted")
	}
	have, err := c.change(current)
	if err != nil {
		return provider.Written{}, err
	}
	moves := !have.When.Start.Equal(w.When.Start) || !have.When.End.Equal(w.When.End)
	if !moves && have.Status == w.Status {
		return c.written(current, nil) // nothing to do, or an earlier try whose answer was lost
	}
	if w.Revision != "" && w.Revision != current.Etag {
		return provider.Written{}, domain.E(domain.KindConflict, "the entry was changed since it was read")
	}
	body := &calendar.Event{}
	if moves {
		body.Start, body.End = c.times(w.When)
	}
	if have.Status != w.Status {
		body.Status = string(w.Status)
	}
	call := c.api.Events.Patch(c.settings.Calendar, eventID(w.ExternalID), body).MaxAttendees(1).SendUpdates(silently).Fields(eventFields).Context(ctx)
	call.Header().Set("If-Match", current.Etag)
	ev, err := call.Do()
	if ev, err = checked(ev, err, w.ExternalID); err == nil && w.Status == domain.StatusCancelled && ev.Status == "cancelled" {
		current.Etag, current.Updated = ev.Etag, ev.Updated
		return c.cancelled(current, w), nil
	}
	return c.written(ev, err)
}

// cancelled describes a source entry that was cancelled, which at Google is deletion.
func (c *connection) cancelled(ev *calendar.Event, w provider.Write) provider.Written {
	ch := domain.Change{Op: domain.OpUpsert, ExternalID: w.ExternalID, UID: ev.ICalUID, Revision: ev.Etag, RemoteVersion: version(ev),
		Category: w.Category, Status: domain.StatusCancelled, When: w.When}
	return provider.Written{ExternalID: w.ExternalID, UID: ev.ICalUID, Revision: ev.Etag, ReadBack: ch}
}

// Remove deletes a copy. One that is gone is success. Without a revision only an entry with our marker is deleted.
func (c *connection) Remove(ctx context.Context, externalID, revision string) error {
	return fail("remove from Google calendar", c.remove(ctx, externalID, revision))
}

func (c *connection) remove(ctx context.Context, externalID, revision string) error {
	if _, err := c.chosen(); err != nil {
		return err
	}
	if strings.Contains(externalID, "#") {
		return errInstance
	}
	if revision == "" {
		current, err := c.get(ctx, externalID)
		if kindOf(err) == domain.KindNotFound || err == nil && current.Status == "cancelled" {
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := readMarker(current); !ok || current.Etag == "" {
			return domain.E(domain.KindConflict, "the entry is not a copy of ours")
		}
		revision = current.Etag
	}
	call := c.api.Events.Delete(c.settings.Calendar, eventID(externalID)).SendUpdates(silently).Context(ctx)
	call.Header().Set("If-Match", revision)
	err := call.Do()
	switch httpx.StatusOf(err) {
	case http.StatusNotFound, http.StatusGone:
		return nil
	case http.StatusPreconditionFailed:
		// The revision of a deleted event differs too. Only the event itself tells which it is.
		current, errGet := c.get(ctx, externalID)
		if kindOf(errGet) == domain.KindNotFound || errGet == nil && current.Status == "cancelled" {
			return nil
		}
		return domain.E(domain.KindConflict, "the copy was changed since it was read")
	}
	return err
}
