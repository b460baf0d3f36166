package outlook

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// maxWatch is the longest life that is asked for. Pages of Graph name 4,230 and 10,080 minutes as the maximum for
// events; the shorter one is taken everywhere, and what the answer says counts.
const maxWatch = 4230 * time.Minute

// subscription is a subscription as Graph writes it.
type subscription struct {
	ID              string     `json:"id,omitempty"`
	ChangeType      string     `json:"changeType,omitempty"`
	NotificationURL string     `json:"notificationUrl,omitempty"`
	LifecycleURL    string     `json:"lifecycleNotificationUrl,omitempty"`
	Resource        string     `json:"resource,omitempty"`
	Expires         *time.Time `json:"expirationDateTime,omitempty"`
	ClientState     string     `json:"clientState,omitempty"`
}

func (c *connection) until(wish time.Time) *time.Time {
	if most := c.now().Add(maxWatch); wish.After(most) {
		wish = most
	}
	wish = wish.UTC().Truncate(time.Second)
	return &wish
}

// Watch makes a subscription for changes and for its lifecycle, both at r.URL. Graph answers only after that address
// echoed two tokens.
func (c *connection) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	w, err := c.watch(ctx, r)
	if err != nil {
		return provider.Watched{}, domain.E(domain.KindOf(err), "watch calendar: %w", err)
	}
	return w, nil
}

func (c *connection) watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	path, err := c.calendarPath()
	if err != nil {
		return provider.Watched{}, err
	}
	wish := subscription{ChangeType: "created,updated,deleted", NotificationURL: r.URL, LifecycleURL: r.URL, Resource: path + "/events",
		Expires: c.until(r.Until), ClientState: r.Secret}
	var made subscription
	res, err := c.client.do(ctx, call{method: http.MethodPost, path: "/subscriptions", body: wish}, &made)
	if res != nil && res.Status == http.StatusConflict {
		return c.rewatch(ctx, r, err)
	}
	if err != nil {
		return provider.Watched{}, err
	}
	return watched(r.ID, made)
}

// rewatch prolongs the subscription that an earlier try with a lost answer made. It has the address of this watch, and
// so its secret. Another one on the same calendar is somebody else's, and stays.
func (c *connection) rewatch(ctx context.Context, r provider.WatchRequest, conflict error) (provider.Watched, error) {
	ask := call{method: http.MethodGet, path: "/subscriptions"}
	for range maxCalendarPages {
		var page struct {
			Value []subscription `json:"value"`
			Next  string         `json:"@odata.nextLink"`
		}
		if _, err := c.client.do(ctx, ask, &page); err != nil {
			return provider.Watched{}, err
		}
		for _, s := range page.Value {
			if s.NotificationURL == r.URL && s.ID != "" {
				return c.Renew(ctx, provider.Watched{ID: r.ID, RemoteID: s.ID}, r.Until)
			}
		}
		if page.Next == "" {
			break
		}
		link, err := c.client.follow(page.Next)
		if err != nil {
			return provider.Watched{}, err
		}
		ask = call{method: http.MethodGet, link: link}
	}
	return provider.Watched{}, conflict
}

func watched(id string, s subscription) (provider.Watched, error) {
	if s.ID == "" || s.Expires == nil {
		return provider.Watched{}, domain.E(domain.KindUnavailable, "Graph answered without the subscription or its end")
	}
	return provider.Watched{ID: id, RemoteID: s.ID, ResourceID: s.Resource, ExpiresAt: s.Expires.UTC()}, nil
}

// Renew prolongs a subscription, which also answers reauthorizationRequired.
func (c *connection) Renew(ctx context.Context, w provider.Watched, until time.Time) (provider.Watched, error) {
	var made subscription
	_, err := c.client.do(ctx, call{method: http.MethodPatch, path: "/subscriptions/" + url.PathEscape(w.RemoteID),
		body: subscription{Expires: c.until(until)}}, &made)
	if err == nil {
		var out provider.Watched
		if out, err = watched(w.ID, made); err == nil {
			if out.ResourceID == "" {
				out.ResourceID = w.ResourceID
			}
			return out, nil
		}
	}
	return provider.Watched{}, domain.E(domain.KindOf(err), "renew watch: %w", err)
}

// Unwatch ends a subscription. One that is gone is success.
func (c *connection) Unwatch(ctx context.Context, w provider.Watched) error {
	_, err := c.client.do(ctx, call{method: http.MethodDelete, path: "/subscriptions/" + url.PathEscape(w.RemoteID)}, nil)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return domain.E(domain.KindOf(err), "end watch: %w", err)
	}
	return nil
}

// maxEcho bounds the token of a handshake, in bytes.
const maxEcho = 1024

// notice reads a message of Graph. Every item of it must show the secret of the watch: a message may hold items of
// several subscriptions, and one that is forged makes the whole message one.
func notice(r provider.NoticeRequest) (provider.Notice, error) {
	if r.Query.Has("validationToken") {
		tokens := r.Query["validationToken"]
		if len(tokens) != 1 || tokens[0] == "" || len(tokens[0]) > maxEcho || !utf8.ValidString(tokens[0]) || strings.ContainsFunc(tokens[0], control) {
			return provider.Notice{}, domain.Invalid("validationToken", "must be one text of 1 to %d bytes", maxEcho)
		}
		// Decoded by the query already. Markup is escaped, as Graph asks for; its own tokens have none.
		return provider.Notice{Echo: []byte(html.EscapeString(tokens[0]))}, nil
	}
	var message struct {
		Value []struct {
			SubscriptionID string `json:"subscriptionId"`
			ClientState    string `json:"clientState"`
			LifecycleEvent string `json:"lifecycleEvent"`
		} `json:"value"`
	}
	if err := json.Unmarshal(r.Body, &message); err != nil || len(message.Value) == 0 {
		return provider.Notice{}, domain.Invalid("body", "is not a list of notifications")
	}
	good := 1
	for _, item := range message.Value {
		good &= subtle.ConstantTimeCompare([]byte(item.ClientState), []byte(r.Secret))
	}
	if good != 1 || r.Secret == "" {
		return provider.Notice{}, domain.E(domain.KindUnauthenticated, "an item of the message does not show the secret of the watch")
	}
	var n provider.Notice
	for _, item := range message.Value {
		present := r.RemoteID == "" || item.SubscriptionID == r.RemoteID
		switch item.LifecycleEvent {
		case "":
			n.Changed = true
		case "missed":
			n.Missed = true
		case "reauthorizationRequired":
			n.Renew = n.Renew || present
		case "subscriptionRemoved":
			// The end of an earlier subscription at the same address is not the end of the watch.
			n.Removed = n.Removed || present
		default:
			n.Changed = true // a new word: pulling is never wrong
		}
	}
	return n, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
