package schedulers

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

const (
	// calcomPage is the most that Cal.com lists at once.
	calcomPage = 100
	// calcomHooks is the most webhooks that Cal.com lists at once.
	calcomHooks = 250
	// Each group of routes has versions of its own, named by a header.
	calcomBookings = "2024-08-13"
)

// calcomTriggers are the events that touch the time of a booking.
var calcomTriggers = []string{"BOOKING_CREATED", "BOOKING_REQUESTED", "BOOKING_RESCHEDULED", "BOOKING_CANCELLED", "BOOKING_REJECTED"}

// calcom speaks the API v2 of Cal.com.
type calcom struct{ *client }

func signCalCom(r *http.Request, secrets map[string]string) {
	r.Header.Set("Authorization", "Bearer "+secrets["api_key"])
	r.Header.Set("cal-api-version", calcomBookings)
}

type calcomBooking struct {
	UID         string     `json:"uid"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Status      string     `json:"status"`
	Start       time.Time  `json:"start"`
	End         time.Time  `json:"end"`
	UpdatedAt   *time.Time `json:"updatedAt"`
	Location    string     `json:"location"`
	Attendees   []struct {
		Name string `json:"name"`
	} `json:"attendees"`
	EventType *struct {
		Slug string `json:"slug"`
	} `json:"eventType"`
}

func (b calcomBooking) appointment() appointment {
	a := appointment{id: b.UID, title: b.Title, start: b.Start, end: b.End, location: b.Location, notes: b.Description}
	if b.UpdatedAt != nil {
		a.updated = *b.UpdatedAt
	}
	var names []string
	for _, p := range b.Attendees {
		names = append(names, p.Name)
	}
	a.contact = strings.Join(names, ", ")
	if b.EventType != nil {
		a.labels = []string{b.EventType.Slug}
	}
	switch b.Status {
	case "accepted":
	case "pending":
		a.tentative = true
	case "cancelled", "rejected":
		a.cancelled = true
	default:
		a.err = domain.Invalid("status", "is none of accepted, pending, cancelled and rejected")
	}
	return a
}

func (d *calcom) account(ctx context.Context) (string, error) {
	var out struct {
		Data struct {
			ID json.Number `json:"id"`
		} `json:"data"`
	}
	err := d.call(ctx, http.MethodGet, "/me", nil, nil, &out)
	if err == nil && out.Data.ID == "" {
		err = errUnreadable
	}
	return out.Data.ID.String(), err
}

func (d *calcom) list(ctx context.Context, _ string, w domain.Span, page string) (listing, error) {
	skip, last, err := calcomPlace(page)
	if err != nil {
		return listing{}, err
	}
	q := url.Values{"take": {strconv.Itoa(calcomPage)}, "skip": {strconv.Itoa(skip)}, "sortStart": {"asc"},
		"afterStart": {w.Start.Format(time.RFC3339)}, "beforeEnd": {w.End.Format(time.RFC3339)}}
	var out struct {
		Data       *[]calcomBooking `json:"data"`
		Pagination *struct {
			Total int  `json:"totalItems"`
			More  bool `json:"hasNextPage"`
		} `json:"pagination"`
	}
	at, err := d.dated(ctx, http.MethodGet, "/bookings", q, nil, &out)
	if err != nil {
		return listing{}, err
	}
	if out.Data == nil || out.Pagination == nil || out.Pagination.More && len(*out.Data) == 0 {
		return listing{}, errUnreadable
	}
	l := listing{total: out.Pagination.Total, at: at}
	for _, b := range *out.Data {
		l.items = append(l.items, b.appointment())
	}
	// Pages are counted, and only their order in time tells that one does not follow the other. Without this a page that comes
	// twice would make up for one that never came.
	if len(l.items) > 0 && l.items[0].start.UnixMilli() < last {
		return listing{}, domain.E(domain.KindUnavailable, "the list does not go on where its page before ended")
	}
	if out.Pagination.More {
		l.next = fmt.Sprintf("%d:%d", skip+len(l.items), l.items[len(l.items)-1].start.UnixMilli())
	}
	return l, nil
}

// calcomPlace reads where a page begins: how many bookings were before it, and when the last of them starts, in Unix
// milliseconds. Pages of before that was remembered name the number alone.
func calcomPlace(page string) (skip int, last int64, err error) {
	if page == "" {
		return 0, math.MinInt64, nil
	}
	count, start, known := strings.Cut(page, ":")
	last = math.MinInt64
	if skip, err = strconv.Atoi(count); err == nil && known {
		last, err = strconv.ParseInt(start, 10, 64)
	}
	if err != nil || skip < 0 {
		return 0, 0, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	}
	return skip, last, nil
}

func (d *calcom) get(ctx context.Context, id string) (appointment, error) {
	var out struct {
		Data calcomBooking `json:"data"`
	}
	err := d.call(ctx, http.MethodGet, "/bookings/"+url.PathEscape(id), nil, nil, &out)
	if err == nil && out.Data.UID == "" {
		err = errUnreadable
	}
	return out.Data.appointment(), err
}

// calcomHook is a webhook; its id is a number or a text.
type calcomHook struct {
	RawID   json.RawMessage `json:"id"`
	Active  bool            `json:"active"`
	Address string          `json:"subscriberUrl"`
}

func (h calcomHook) id() string {
	if id := strings.Trim(string(h.RawID), `"`); id != "null" {
		return id
	}
	return ""
}

func (d *calcom) target(address, _ string) string { return address }

func (d *calcom) hooks(ctx context.Context, _ string) (all []webhook, err error) {
	for n := range mostHookPages {
		var out struct {
			Data *[]calcomHook `json:"data"`
		}
		q := url.Values{"take": {strconv.Itoa(calcomHooks)}, "skip": {strconv.Itoa(n * calcomHooks)}}
		if err := d.call(ctx, http.MethodGet, "/webhooks", q, nil, &out); err != nil {
			return nil, err
		}
		if out.Data == nil {
			return nil, errUnreadable
		}
		for _, h := range *out.Data {
			all = append(all, webhook{id: h.id(), address: h.Address, works: h.Active})
		}
		if len(*out.Data) < calcomHooks {
			return all, nil
		}
	}
	return nil, errTooManyHooks
}

func (d *calcom) hook(ctx context.Context, _, target, secret string) (string, error) {
	var out struct {
		Data calcomHook `json:"data"`
	}
	err := d.call(ctx, http.MethodPost, "/webhooks", nil,
		map[string]any{"active": true, "subscriberUrl": target, "triggers": calcomTriggers, "secret": secret}, &out)
	if err == nil && out.Data.id() == "" {
		err = errUnreadable
	}
	return out.Data.id(), err
}

func (d *calcom) hooked(ctx context.Context, id string) (bool, error) {
	var out struct {
		Data calcomHook `json:"data"`
	}
	err := d.call(ctx, http.MethodGet, "/webhooks/"+url.PathEscape(id), nil, nil, &out)
	if err == nil && out.Data.id() == "" {
		err = errUnreadable
	}
	return out.Data.Active, err
}

func (d *calcom) unhook(ctx context.Context, id string) error {
	return d.call(ctx, http.MethodDelete, "/webhooks/"+url.PathEscape(id), nil, nil, nil)
}

func noticeOfCalCom(r provider.NoticeRequest) (provider.Notice, error) {
	return signed(r, webhookauth.Config{Scheme: webhookauth.CalCom})
}
