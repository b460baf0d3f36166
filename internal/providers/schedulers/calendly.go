package schedulers

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// calendlyPage is the most that Calendly lists at once.
const calendlyPage = 100

// calendly speaks the API v2 of Calendly (developer.calendly.com). Its resources are named by whole addresses.
type calendly struct{ *client }

func signCalendly(r *http.Request, secrets map[string]string) {
	r.Header.Set("Authorization", "Bearer "+secrets["token"])
}

type calendlyEvent struct {
	URI       string     `json:"uri"`
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	Start     time.Time  `json:"start_time"`
	End       time.Time  `json:"end_time"`
	UpdatedAt *time.Time `json:"updated_at"`
	Location  *struct {
		Type     string `json:"type"`
		Location string `json:"location"`
	} `json:"location"`
}

// lastPart is the id in an address of a resource.
func lastPart(uri string) string { return uri[strings.LastIndexByte(uri, '/')+1:] }

func (e calendlyEvent) appointment() appointment {
	a := appointment{id: lastPart(e.URI), title: e.Name, start: e.Start, end: e.End}
	if e.UpdatedAt != nil {
		a.updated = *e.UpdatedAt
	}
	if e.Location != nil {
		a.location = e.Location.Location
	}
	switch e.Status {
	case "active":
	case "canceled":
		a.cancelled = true
	default:
		a.err = domain.Invalid("status", "is neither active nor canceled")
	}
	return a
}

func (d *calendly) account(ctx context.Context) (string, error) {
	me, err := d.me(ctx)
	return me.URI, err
}

type calendlyUser struct {
	URI          string `json:"uri"`
	Organization string `json:"current_organization"`
}

func (d *calendly) me(ctx context.Context) (calendlyUser, error) {
	var out struct {
		Resource calendlyUser `json:"resource"`
	}
	err := d.call(ctx, http.MethodGet, "/users/me", nil, nil, &out)
	if err == nil && out.Resource.URI == "" {
		err = errUnreadable
	}
	return out.Resource, err
}

func (d *calendly) list(ctx context.Context, account string, w domain.Span, page string) (listing, error) {
	q := url.Values{"user": {account}, "count": {strconv.Itoa(calendlyPage)}, "sort": {"start_time:asc"},
		"min_start_time": {w.Start.Format(time.RFC3339)}, "max_start_time": {w.End.Format(time.RFC3339)}}
	if page != "" {
		q.Set("page_token", page)
	}
	var out struct {
		Collection *[]calendlyEvent `json:"collection"`
		Pagination *struct {
			Next string `json:"next_page_token"`
		} `json:"pagination"`
	}
	at, err := d.dated(ctx, http.MethodGet, "/scheduled_events", q, nil, &out)
	if err != nil {
		if page != "" && domain.KindOf(err) == domain.KindPermanent {
			return listing{}, domain.E(domain.KindGoneToken, "the page is not known any more: %w", err)
		}
		return listing{}, err
	}
	if out.Collection == nil || out.Pagination == nil {
		return listing{}, errUnreadable
	}
	l := listing{next: out.Pagination.Next, at: at}
	for _, e := range *out.Collection {
		l.items = append(l.items, e.appointment())
	}
	return l, nil
}

func (d *calendly) get(ctx context.Context, id string) (appointment, error) {
	var out struct {
		Resource calendlyEvent `json:"resource"`
	}
	err := d.call(ctx, http.MethodGet, "/scheduled_events/"+url.PathEscape(id), nil, nil, &out)
	if err == nil && out.Resource.URI == "" {
		err = errUnreadable
	}
	return out.Resource.appointment(), err
}

// owner is the user whom the token belongs to, who must be of the account.
func (d *calendly) owner(ctx context.Context, account string) (calendlyUser, error) {
	me, err := d.me(ctx)
	if err == nil && me.URI != account {
		err = domain.E(domain.KindForbidden, "the token belongs to another account")
	}
	return me, err
}

type calendlyHook struct {
	URI     string `json:"uri"`
	Address string `json:"callback_url"`
	State   string `json:"state"`
}

func (d *calendly) target(address, _ string) string { return address }

func (d *calendly) hooks(ctx context.Context, account string) (all []webhook, err error) {
	me, err := d.owner(ctx, account)
	if err != nil {
		return nil, err
	}
	q := url.Values{"organization": {me.Organization}, "user": {account}, "scope": {"user"}, "count": {strconv.Itoa(calendlyPage)}}
	for range mostHookPages {
		var out struct {
			Collection *[]calendlyHook `json:"collection"`
			Pagination *struct {
				Next string `json:"next_page_token"`
			} `json:"pagination"`
		}
		if err := d.call(ctx, http.MethodGet, "/webhook_subscriptions", q, nil, &out); err != nil {
			return nil, err
		}
		if out.Collection == nil || out.Pagination == nil {
			return nil, errUnreadable
		}
		for _, h := range *out.Collection {
			all = append(all, webhook{id: lastPart(h.URI), address: h.Address, works: h.State == "active"})
		}
		if out.Pagination.Next == "" {
			return all, nil
		}
		q.Set("page_token", out.Pagination.Next)
	}
	return nil, errTooManyHooks
}

func (d *calendly) hook(ctx context.Context, account, target, secret string) (string, error) {
	me, err := d.owner(ctx, account)
	if err != nil {
		return "", err
	}
	var out struct {
		Resource calendlyHook `json:"resource"`
	}
	err = d.call(ctx, http.MethodPost, "/webhook_subscriptions", nil, map[string]any{"url": target, "events": []string{"invitee.created", "invitee.canceled"},
		"organization": me.Organization, "user": account, "scope": "user", "signing_key": secret}, &out)
	if err == nil && out.Resource.URI == "" {
		err = errUnreadable
	}
	return lastPart(out.Resource.URI), err
}

func (d *calendly) hooked(ctx context.Context, id string) (bool, error) {
	var out struct {
		Resource calendlyHook `json:"resource"`
	}
	err := d.call(ctx, http.MethodGet, "/webhook_subscriptions/"+url.PathEscape(id), nil, nil, &out)
	if err == nil && out.Resource.URI == "" {
		err = errUnreadable
	}
	return out.Resource.State == "active", err
}

func (d *calendly) unhook(ctx context.Context, id string) error {
	return d.call(ctx, http.MethodDelete, "/webhook_subscriptions/"+url.PathEscape(id), nil, nil, nil)
}

// calendlyTolerance is how far the time of a signature may be from ours, in seconds. The vendor proposes three minutes, against
// repeats of captured messages. Ours are hints, of which a repeat costs no more than a look; refusing those of a clock that is
// some minutes off, or of a retry, would let Calendly disable the webhook.
const calendlyTolerance = 3600

func noticeOfCalendly(r provider.NoticeRequest) (provider.Notice, error) {
	return signed(r, webhookauth.Config{Scheme: webhookauth.Calendly, ToleranceSeconds: calendlyTolerance})
}
