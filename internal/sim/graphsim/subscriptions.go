package graphsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type subscription struct {
	ID                       string    `json:"id"`
	Resource                 string    `json:"resource"`
	ChangeType               string    `json:"changeType"`
	NotificationURL          string    `json:"notificationUrl"`
	LifecycleNotificationURL string    `json:"lifecycleNotificationUrl,omitempty"`
	ClientState              string    `json:"clientState,omitempty"`
	ExpirationDateTime       time.Time `json:"expirationDateTime"`
}

// note is a notification that waits.
type note struct {
	url  string
	item map[string]any
}

// note tells the subscriptions of an event's calendar. It needs the lock.
func (s *Server) note(it *item, what string) {
	for _, id := range slices.Sorted(maps.Keys(s.subscriptions)) {
		sub := s.subscriptions[id]
		if !strings.Contains(sub.Resource, it.cal.id) || !sub.ExpirationDateTime.After(s.opt.Now()) || !strings.Contains(sub.ChangeType, what) {
			continue
		}
		s.pending = append(s.pending, note{sub.NotificationURL, map[string]any{"subscriptionId": sub.ID, "clientState": sub.ClientState,
			"subscriptionExpirationDateTime": sub.ExpirationDateTime, "changeType": what, "resource": "Users/u/Events/" + it.id,
			"tenantId": "t", "resourceData": map[string]any{"@odata.type": "#Microsoft.Graph.Event", "id": it.id}}})
	}
}

// Subscriptions returns how many subscriptions are alive.
func (s *Server) Subscriptions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subscriptions)
}

// Lifecycle queues a lifecycle notification for every subscription: reauthorizationRequired, subscriptionRemoved, which
// ends them, or missed.
func (s *Server) Lifecycle(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.subscriptions)) {
		sub := s.subscriptions[id]
		if sub.LifecycleNotificationURL == "" {
			continue
		}
		s.pending = append(s.pending, note{sub.LifecycleNotificationURL, map[string]any{"subscriptionId": sub.ID, "clientState": sub.ClientState,
			"subscriptionExpirationDateTime": sub.ExpirationDateTime, "tenantId": "t", "lifecycleEvent": event}})
		if event == "subscriptionRemoved" {
			delete(s.subscriptions, id)
		}
	}
}

// Deliver posts what waits, one message for each address, and returns the statuses that came back. Faults drop, double
// or reverse messages. Not calling it makes them late.
func (s *Server) Deliver(ctx context.Context) []int {
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	faults, _ := s.now()
	if faults.DropNotes {
		return nil
	}
	if faults.ReverseNotes {
		slices.Reverse(pending)
	}
	items := map[string][]any{}
	for _, n := range pending {
		items[n.url] = append(items[n.url], n.item)
	}
	var out []int
	for _, to := range slices.Sorted(maps.Keys(items)) {
		body, err := json.Marshal(map[string]any{"value": items[to]})
		if err != nil {
			panic("graphsim: " + err.Error())
		}
		times := 1
		if faults.DuplicateNotes {
			times = 2
		}
		for range times {
			status, _ := s.post(ctx, to, "application/json", body)
			out = append(out, status)
		}
	}
	return out
}

// post returns status 0 when nobody answers.
func (s *Server) post(ctx context.Context, to, kind string, body []byte) (int, *answer) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Content-Type", kind)
	res, err := s.opt.Client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, &answer{res.Header.Get("Content-Type"), string(text)}
}

type answer struct{ kind, text string }

// validates makes the handshake with an address. The token is one that must be decoded and echoed as it is.
func (s *Server) validates(ctx context.Context, to string) bool {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" {
		return false
	}
	const token = "Validation: Testing client application reachability for subscription Request-Id: 1+1=2"
	q := u.Query()
	q.Set("validationToken", token)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	status, got := s.post(ctx, u.String(), "text/plain; charset=utf-8", nil)
	return status == http.StatusOK && strings.HasPrefix(got.kind, "text/plain") && got.text == token
}

// subscribe answers only after both addresses proved to be the client's. The lock is not held meanwhile.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request) {
	var sub subscription
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&sub) != nil || sub.ChangeType == "" || sub.NotificationURL == "" {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "Unable to read JSON request payload.")
		return
	}
	if len(sub.ClientState) > 128 {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "ClientState is longer than 128 characters.")
		return
	}
	if !sub.ExpirationDateTime.After(s.opt.Now()) {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "Subscription expiration must be in the future.")
		return
	}
	if id, ok := strings.CutPrefix(strings.TrimPrefix(sub.Resource, "/"), "me/calendars/"); ok {
		s.mu.Lock()
		known := slices.ContainsFunc(s.calendars, func(c *calendar) bool { return id == c.id+"/events" })
		s.mu.Unlock()
		if !known {
			notFound(w)
			return
		}
	}
	for _, to := range []string{sub.NotificationURL, sub.LifecycleNotificationURL} {
		if to != "" && !s.validates(r.Context(), to) {
			refuse(w, http.StatusBadRequest, "ValidationError", "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.")
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.subscriptions {
		if other.Resource == sub.Resource && other.NotificationURL == sub.NotificationURL {
			refuse(w, http.StatusConflict, "ExtensionError", "A subscription with the same resource and notificationUrl exists.")
			return
		}
	}
	s.made++
	sub.ID = fmt.Sprintf("5b8ac4d2-0000-4000-8000-%012d", s.made)
	sub.ExpirationDateTime = s.shorten(sub.ExpirationDateTime)
	s.subscriptions[sub.ID] = &sub
	reply(w, http.StatusCreated, sub)
}

func (s *Server) shorten(until time.Time) time.Time {
	if most := s.opt.Now().Add(s.opt.MaxSubscription); until.After(most) {
		return most.UTC()
	}
	return until.UTC()
}

func (s *Server) listSubscriptions(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []any{}
	for _, id := range slices.Sorted(maps.Keys(s.subscriptions)) {
		sub := *s.subscriptions[id]
		sub.ClientState = "" // never shown again
		rows = append(rows, sub)
	}
	reply(w, http.StatusOK, map[string]any{"value": rows})
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subscriptions[r.PathValue("subscription")]
	if !ok {
		refuse(w, http.StatusNotFound, "ResourceNotFound", "The object was not found.")
		return
	}
	var in struct{ ExpirationDateTime time.Time }
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in) != nil || !in.ExpirationDateTime.After(s.opt.Now()) {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "Subscription expiration must be in the future.")
		return
	}
	sub.ExpirationDateTime = s.shorten(in.ExpirationDateTime)
	reply(w, http.StatusOK, sub)
}

func (s *Server) unsubscribe(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.subscriptions[r.PathValue("subscription")]; !ok {
		refuse(w, http.StatusNotFound, "ResourceNotFound", "The object was not found.")
		return
	}
	delete(s.subscriptions, r.PathValue("subscription"))
	w.WriteHeader(http.StatusNoContent)
}
