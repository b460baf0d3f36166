package google

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// pageSize is below the 2,500 that Google allows: a page of the longest entries still fits a body of the client.
const pageSize = 500

// eventFields are the only parts of an event that are asked for. Of guests only the owner's own answer is.
const eventFields = "kind,id,etag,status,created,updated,summary,description,location,colorId,eventLabelId,iCalUID,start,end," +
	"recurrence,recurringEventId,originalStartTime,transparency,visibility,eventType,attendees(self,responseStatus),extendedProperties/private"

// Pull reads one page; see the package comment.
func (c *connection) Pull(ctx context.Context, position string) (provider.Page, error) {
	page, err := c.pull(ctx, position)
	if err != nil {
		return provider.Page{}, fail("pull Google calendar", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, position string) (provider.Page, error) {
	id, err := c.chosen()
	if err != nil {
		return provider.Page{}, err
	}
	cur := c.startCursor()
	if position != "" {
		if cur, err = c.parseCursor(position); err != nil {
			return provider.Page{}, err
		}
	}
	if c.settings.busyOnly() {
		return c.pullBusy(ctx, cur)
	}
	call := c.api.Events.List(id).SingleEvents(true).MaxAttendees(1).MaxResults(pageSize).
		Fields("kind,accessRole,nextPageToken,nextSyncToken,items(" + eventFields + ")").Context(ctx)
	if cur.full() {
		call.TimeMin(cur.window().Start.Format(time.RFC3339)).TimeMax(cur.window().End.Format(time.RFC3339))
	} else {
		call.SyncToken(cur.Sync)
	}
	if cur.Page != "" {
		call.PageToken(cur.Page)
	}
	list, err := call.Do()
	switch {
	case err != nil && position != "" && (httpx.StatusOf(err) == http.StatusGone ||
		httpx.StatusOf(err) == http.StatusBadRequest && refusedFor(err, "syncToken", "pageToken", "fullSyncRequired", "updatedMinTooLongAgo")):
		return provider.Page{}, domain.E(domain.KindGoneToken, "Google no longer knows the token: %w", fail("list events", err))
	case err != nil:
		return provider.Page{}, err
	case list.Kind != "calendar#events":
		return provider.Page{}, errUnreadable
	case list.AccessRole == accessBusy:
		// Entries without their texts would overwrite those that are known.
		return provider.Page{}, domain.E(domain.KindForbidden, "the account sees only when the calendar is busy: look the calendar up again")
	case list.NextPageToken == "" && list.NextSyncToken == "":
		return provider.Page{}, domain.E(domain.KindUnavailable, "the last page of a listing lacks its sync token")
	case list.NextPageToken != "" && list.NextPageToken == cur.Page:
		return provider.Page{}, domain.E(domain.KindUnavailable, "a page names itself as the next one")
	}
	page, err := c.page(list.Items, cur)
	if err != nil {
		return provider.Page{}, err
	}
	next := cur
	if next.Page = list.NextPageToken; next.Page == "" {
		next.Sync, page.Complete = list.NextSyncToken, cur.full()
	}
	page.Next, page.More = next.String(), next.Page != ""
	return page, nil
}

// page turns items into changes. Of several reports of one id the newest counts, wherever it stands.
func (c *connection) page(items []*calendar.Event, cur cursor) (provider.Page, error) {
	var page provider.Page
	newest := map[string]*calendar.Event{}
	var order []string
	for _, ev := range items {
		if ev == nil || ev.Id == "" {
			return page, domain.E(domain.KindUnavailable, "a listing names an entry without an id")
		}
		known := newest[ev.Id]
		if known == nil {
			order = append(order, ev.Id)
		}
		if known == nil || version(ev) == 0 || version(ev) >= version(known) {
			newest[ev.Id] = ev
		}
	}
	for _, id := range order {
		ev := newest[id]
		if len(ev.Recurrence) > 0 && ev.Status != "cancelled" {
			continue // a series; its instances are listed
		}
		ch, err := c.change(ev)
		if err == nil && ch.Op == domain.OpUpsert {
			if c.unknowable(ev, ch, cur) {
				continue
			}
			err = ch.Validate()
		}
		if err != nil {
			page.Problems = append(page.Problems, provider.Problem{ExternalID: cut(externalID(id), domain.MaxExternalID), Err: err})
			continue
		}
		page.Changes = append(page.Changes, ch)
	}
	return page, nil
}

// unknowable reports whether an entry lies beyond the window and was never seen within it: an instance that belongs there,
// or an entry that is as it was made. Google's window bounds the first listing only.
func (c *connection) unknowable(ev *calendar.Event, ch domain.Change, cur cursor) bool {
	window := cur.window()
	if ch.When.Overlaps(window) {
		return false
	}
	if cur.full() {
		return true
	}
	if ev.RecurringEventId != "" {
		original, err := c.moment(ev.OriginalStartTime)
		return err == nil && (original.at.Before(window.Start) || !original.at.Before(window.End))
	}
	created, err := time.Parse(time.RFC3339, ev.Created)
	updated, errUpdated := time.Parse(time.RFC3339, ev.Updated)
	return err == nil && errUpdated == nil && created.Truncate(time.Second).Equal(updated.Truncate(time.Second))
}

// Read returns the entry as it is now. NotFound needs a calendar that is there: one that is gone or no longer shared says
// nothing about its entries.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	ch, err := c.read(ctx, externalID)
	if err != nil {
		return domain.Change{}, fail("read from Google calendar", err)
	}
	return ch, nil
}

func (c *connection) read(ctx context.Context, externalID string) (domain.Change, error) {
	if _, err := c.chosen(); err != nil {
		return domain.Change{}, err
	}
	if c.settings.busyOnly() {
		return c.readBusy(ctx, externalID)
	}
	ev, err := c.get(ctx, externalID)
	if kindOf(err) == domain.KindNotFound {
		if gone := c.answers(ctx); gone != nil {
			kind := kindOf(gone)
			if kind == domain.KindNotFound {
				kind = domain.KindPermanent
			}
			return domain.Change{}, domain.E(kind, "the calendar itself does not answer for its entries: %w", fail("list events", gone))
		}
		return domain.Change{}, err
	}
	if err != nil {
		return domain.Change{}, err
	}
	switch {
	case ev.Status == "cancelled":
		return domain.Change{}, domain.E(domain.KindNotFound, "the entry was deleted")
	case len(ev.Recurrence) > 0:
		return domain.Change{}, domain.E(domain.KindNotFound, "the entry is a series now, and its instances are entries of their own")
	}
	ch, err := c.change(ev)
	if err != nil {
		return domain.Change{}, err
	}
	return ch, ch.Validate()
}

// get reads an event, which may be a cancelled one.
func (c *connection) get(ctx context.Context, externalID string) (*calendar.Event, error) {
	if externalID == "" || len(externalID) > domain.MaxExternalID {
		return nil, domain.Invalid("external_id", "must have 1 to %d bytes", domain.MaxExternalID)
	}
	ev, err := c.api.Events.Get(c.settings.Calendar, eventID(externalID)).MaxAttendees(1).Fields(eventFields).Context(ctx).Do()
	return checked(ev, err, externalID)
}

// checked refuses an answer that is not the event that was asked for.
func checked(ev *calendar.Event, err error, id string) (*calendar.Event, error) {
	if err != nil {
		return nil, err
	}
	if ev.Kind != "calendar#event" || ev.Id == "" || externalID(ev.Id) != id {
		return nil, errUnreadable
	}
	return ev, nil
}
