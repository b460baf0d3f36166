package schedulers

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	// acuityPage is how many appointments are asked for at once. Acuity has no pages: the next request begins on the day
	// of the last appointment, and what it lists again is the same.
	acuityPage  = 500
	acuityDate  = "2006-01-02"
	acuityClock = "2006-01-02T15:04:05-0700"
)

// acuity speaks the API v1 of Acuity Scheduling (developers.acuityscheduling.com).
type acuity struct{ *client }

func signAcuity(r *http.Request, secrets map[string]string) {
	r.SetBasicAuth(secrets["user_id"], secrets["api_key"])
}

type acuityAppointment struct {
	ID        json.Number `json:"id"`
	FirstName string      `json:"firstName"`
	LastName  string      `json:"lastName"`
	Type      string      `json:"type"`
	Calendar  string      `json:"calendar"`
	Start     string      `json:"datetime"`
	Duration  json.Number `json:"duration"` // minutes; a text
	Location  string      `json:"location"`
	Notes     string      `json:"notes"`
	Canceled  bool        `json:"canceled"`
}

func (e acuityAppointment) appointment() appointment {
	a := appointment{id: e.ID.String(), title: e.Type, cancelled: e.Canceled, contact: strings.TrimSpace(e.FirstName + " " + e.LastName),
		location: e.Location, notes: e.Notes}
	if e.Calendar != "" {
		a.labels = []string{e.Calendar}
	}
	minutes, err := strconv.Atoi(e.Duration.String())
	start, timeErr := time.Parse(acuityClock, e.Start)
	switch {
	case timeErr != nil:
		a.err = domain.Invalid("datetime", "is not of the form %s", acuityClock)
	case err != nil || minutes < 0 || time.Duration(minutes)*time.Minute > domain.MaxSpan:
		a.err = domain.Invalid("duration", "must be whole minutes, at most a year")
	default:
		a.start, a.end = start, start.Add(time.Duration(minutes)*time.Minute)
	}
	return a
}

func (d *acuity) account(ctx context.Context) (string, error) {
	var out struct {
		ID json.Number `json:"id"`
	}
	err := d.call(ctx, http.MethodGet, "/me", nil, nil, &out)
	if err == nil && out.ID == "" {
		err = errUnreadable
	}
	return out.ID.String(), err
}

func (d *acuity) list(ctx context.Context, _ string, w domain.Span, page string) (listing, error) {
	from := w.Start.Format(acuityDate)
	if page != "" {
		if _, err := time.Parse(acuityDate, page); err != nil {
			return listing{}, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
		}
		from = page
	}
	// Dates are days of the account's zone, so a day more on either side has all that the window has.
	q := url.Values{"max": {strconv.Itoa(acuityPage)}, "minDate": {from}, "maxDate": {w.End.Add(day).Format(acuityDate)},
		"direction": {"ASC"}, "showall": {"true"}, "excludeForms": {"true"}}
	if page == "" {
		q.Set("minDate", w.Start.Add(-day).Format(acuityDate))
	}
	var out *[]acuityAppointment
	if err := d.call(ctx, http.MethodGet, "/appointments", q, nil, &out); err != nil {
		return listing{}, err
	}
	if out == nil {
		return listing{}, errUnreadable
	}
	l := listing{}
	if page != "" && (len(*out) == 0 || !strings.HasPrefix((*out)[0].Start, page)) {
		// The page before ended on that day, so at least its last appointment should be here again. It was moved, or a page is
		// missing, or the answer is one to another question.
		return listing{}, domain.E(domain.KindGoneToken, "the list does not go on where its page before ended")
	}
	for n, e := range *out {
		// The order is what leads to the next page.
		if n > 0 && e.Start[:min(len(e.Start), len(acuityDate))] < (*out)[n-1].Start[:min(len((*out)[n-1].Start), len(acuityDate))] {
			return listing{}, errUnreadable
		}
		l.items = append(l.items, e.appointment())
	}
	if len(l.items) >= acuityPage {
		last := (*out)[len(*out)-1].Start
		if len(last) < len(acuityDate) {
			return listing{}, errUnreadable
		}
		if l.next = last[:len(acuityDate)]; l.next == q.Get("minDate") {
			return listing{}, domain.E(domain.KindPermanent, "more than %d appointments on one day cannot be listed", acuityPage)
		}
	}
	return l, nil
}

func (d *acuity) get(ctx context.Context, id string) (appointment, error) {
	var out acuityAppointment
	err := d.call(ctx, http.MethodGet, "/appointments/"+url.PathEscape(id), nil, nil, &out)
	if err == nil && out.ID == "" {
		err = errUnreadable
	}
	return out.appointment(), err
}

// target has the secret of the watch: messages are signed with the API key, and so with nothing that is of one watch.
func (d *acuity) target(address, secret string) string {
	return address + "?" + url.Values{"token": {secret}}.Encode()
}

// hook makes a webhook for appointment.changed, which Acuity posts for every new, moved and cancelled appointment too.
func (d *acuity) hook(ctx context.Context, _, target, _ string) (string, error) {
	var out struct {
		ID json.Number `json:"id"`
	}
	err := d.call(ctx, http.MethodPost, "/webhooks", nil, map[string]string{"event": "appointment.changed", "target": target}, &out)
	if err == nil && out.ID == "" {
		err = errUnreadable
	}
	return out.ID.String(), err
}

// hooks lists them all at once: an account has at most 25.
func (d *acuity) hooks(ctx context.Context, _ string) ([]webhook, error) {
	var out *[]struct {
		ID     json.Number `json:"id"`
		Target string      `json:"target"`
		Status string      `json:"status"`
	}
	if err := d.call(ctx, http.MethodGet, "/webhooks", nil, nil, &out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errUnreadable
	}
	all := make([]webhook, 0, len(*out))
	for _, h := range *out {
		all = append(all, webhook{id: h.ID.String(), address: h.Target, works: h.Status == "" || h.Status == "active"})
	}
	return all, nil
}

func (d *acuity) hooked(ctx context.Context, id string) (bool, error) {
	all, err := d.hooks(ctx, "")
	return slices.ContainsFunc(all, func(h webhook) bool { return h.id == id && h.works }), err
}

func (d *acuity) unhook(ctx context.Context, id string) error {
	return d.call(ctx, http.MethodDelete, "/webhooks/"+url.PathEscape(id), nil, nil, nil)
}

func noticeOfAcuity(r provider.NoticeRequest) (provider.Notice, error) {
	if r.Secret == "" || subtle.ConstantTimeCompare([]byte(r.Query.Get("token")), []byte(r.Secret)) != 1 {
		return provider.Notice{}, domain.E(domain.KindUnauthenticated, "the address does not have the token of the watch")
	}
	return provider.Notice{Changed: true}, nil
}
