package outlook

import (
	"context"
	"net/http"
	"net/url"

	"github.com/wedsync/wedsync/internal/domain"
)

// get asks for one event with the properties of ours. KindNotFound says nothing about the calendar.
func (c *connection) get(ctx context.Context, id string) (event, error) {
	path, err := c.calendarPath()
	if err != nil {
		return event{}, err
	}
	var e event
	if _, err := c.client.do(ctx, call{method: http.MethodGet, path: path + "/events/" + url.PathEscape(id), query: expand}, &e); err != nil {
		return event{}, err
	}
	if e.ID != id {
		return event{}, domain.E(domain.KindUnavailable, "Graph answered with another event than was asked for")
	}
	return e, nil
}

// Read returns the entry as it is now. NotFound needs a calendar that is there: one that was removed or is no longer
// shared says nothing about its events.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	e, err := c.entry(ctx, externalID)
	if err == nil {
		var ch domain.Change
		if ch, err = c.change(e); err == nil {
			return ch, nil
		}
	}
	return domain.Change{}, domain.E(domain.KindOf(err), "read from calendar: %w", err)
}

// entry reads the event behind an ExternalID, an occurrence in the form in which Pull gives it.
func (c *connection) entry(ctx context.Context, externalID string) (event, error) {
	master, id, err := parseEntry(externalID)
	if err != nil {
		return event{}, err
	}
	e, err := c.get(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return event{}, c.proved(ctx, err)
	}
	if err != nil {
		return event{}, err
	}
	switch {
	case e.Type == typeMaster:
		return event{}, domain.E(domain.KindNotFound, "the event is a series now, and only its occurrences are entries")
	case e.SeriesMasterID != master:
		return event{}, domain.E(domain.KindNotFound, "the event no longer belongs to that series")
	case e.Type == typeOccurrence:
		m, err := c.get(ctx, master)
		if err != nil {
			return event{}, err
		}
		e = e.hydrated(m)
	}
	return e, nil
}

// proved returns a not-found error if the calendar itself is there, and else why it does not answer for its events.
func (c *connection) proved(ctx context.Context, err error) error {
	_, gone := c.calendar(ctx)
	if gone == nil {
		return err
	}
	kind := domain.KindOf(gone)
	if kind == domain.KindNotFound {
		kind = domain.KindPermanent
	}
	return domain.E(kind, "the calendar itself does not answer for its events: %w", gone)
}

// calendar is a calendar of the account.
type calendar struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CanEdit   bool   `json:"canEdit"`
	IsDefault bool   `json:"isDefaultCalendar"`
	Owner     struct {
		Address string `json:"address"`
	} `json:"owner"`
}

func (c *connection) calendar(ctx context.Context) (calendar, error) {
	path, err := c.calendarPath()
	if err != nil {
		return calendar{}, err
	}
	var cal calendar
	if _, err := c.client.do(ctx, call{method: http.MethodGet, path: path}, &cal); err != nil {
		return calendar{}, err
	}
	if cal.ID != c.settings.Calendar {
		return calendar{}, domain.E(domain.KindUnavailable, "Graph answered with another calendar than was asked for")
	}
	return cal, nil
}
