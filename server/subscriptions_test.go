package server

import (
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

type subscriptionAnswerBody struct {
	domain.Subscription
	Secret string `json:"secret"`
}

func TestSubscriptionIsMadeChangedRotatedAndRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, viewer := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleViewer)
	var made, read, rotated subscriptionAnswerBody
	got := b.do("POST", "/v1/subscriptions", admin, `{"url":"https://receiver.example/a?k=v","filter":{"topics":["delivery.*"],"integrations":["`+string(b.a.integration)+`"]}}`, header("Idempotency-Key", "k1"))
	if got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got.into(t, &made)
	if !strings.HasPrefix(made.Secret, "whsec_") || made.State != domain.SubscriptionActive || len(made.Secrets) != 1 {
		t.Fatalf("%s", got.body)
	}
	again := b.do("POST", "/v1/subscriptions", admin, `{"url":"https://receiver.example/a?k=v"}`, header("Idempotency-Key", "k1"))
	again.into(t, &read)
	if read.ID != made.ID || read.Secret != "" {
		t.Errorf("the same key again: %s", again.body)
	}
	path := "/v1/subscriptions/" + string(made.ID)
	got = b.do("GET", path, viewer, "")
	got.into(t, &read)
	if read.URL != made.URL || strings.Contains(string(got.body), "whsec_") || got.header.Get("ETag") != `"1"` {
		t.Errorf("a viewer reads %s", got.body)
	}
	b.do("PATCH", path, admin, `{"url":"https://other.example/"}`, header("If-Match", `"1"`)).into(t, &read)
	if read.URL != "https://other.example/" || read.Version != 2 || len(read.Filter.Topics) != 1 {
		t.Errorf("changed: %+v", read)
	}
	got = b.do("POST", path+"/secrets", admin, `{"overlap_seconds":60}`)
	got.into(t, &rotated)
	if got.status != 201 || rotated.Secret == "" || rotated.Secret == made.Secret || len(rotated.Secrets) != 2 || rotated.Secrets[0].NotAfter == nil || rotated.Secrets[1].NotAfter != nil {
		t.Errorf("rotated: %s", got.body)
	}
	b.do("POST", path+"/pause", admin, `{"reason":"moving"}`).into(t, &read)
	if read.State != domain.SubscriptionPaused {
		t.Errorf("paused: %+v", read)
	}
	b.do("POST", path+"/resume", admin, `{"from":"now"}`).into(t, &read)
	if read.State != domain.SubscriptionActive {
		t.Errorf("resumed from now: %+v", read)
	}
	if got := b.do("DELETE", path, admin, ""); got.status != 204 {
		t.Errorf("deleted: %d %s", got.status, got.body)
	}
	b.do("GET", path, admin, "").problem(t, 404, "not_found")
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if b.flow.wakes != 2 {
		t.Errorf("its workflow was told %d times, want of the change and of the end", b.flow.wakes)
	}
}

func TestWrongSubscriptionsNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for body, field := range map[string]string{
		`{"url":"http://receiver.example/"}`:                       "body.url",
		`{"url":"https://127.0.0.1/"}`:                             "body.url",
		`{"url":"https://[::1]:8443/"}`:                            "body.url",
		`{"url":"https://user:pw@x.example/"}`:                     "body.url",
		`{"url":"https://x.example/#part"}`:                        "body.url",
		`{"url":"/relative"}`:                                      "body.url",
		`{"url":"https:opaque"}`:                                   "body.url",
		`{"url":"https://169.254.169.254/latest"}`:                 "body.url",
		`{"url":"https://x.example/","filter":{"topics":["*"]}}`:   "body.filter.topics",
		`{"url":"https://x.example/","filter":{"weddings":["x"]}}`: "body.filter.weddings",
		`{"url":"https://x.example/","description":"a\u0001b"}`:    "body.description",
	} {
		p := b.do("POST", "/v1/subscriptions", admin, body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != field || strings.Contains(p.Detail, "user:pw") {
			t.Errorf("%s: %+v, want field %s", body, p, field)
		}
	}
	open := setup(t, func(d *Deps) { d.Options.AllowPrivate = true })
	if got := open.do("POST", "/v1/subscriptions", open.token(open.a.org, domain.RoleAdmin), `{"url":"http://127.0.0.1:9/"}`); got.status != 201 {
		t.Errorf("a private address where that is allowed: %d %s", got.status, got.body)
	}
}

func TestFilteredStreamResumesOverHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	first := b.follow(viewer, "", "")
	e, _ := first.next()
	b.emit(b.a.org, domain.TopicBookingChanged, "1")
	b.emit(b.a.org, domain.TopicDeliveryDead, "2")
	b.emit(b.a.org, domain.TopicDeliveryApplied, "3")
	got, _ := b.follow(viewer, e.id, "?topics=delivery.*").numbers(2)
	if got[0] != "2" || got[1] != "3" {
		t.Errorf("got %v, want 2 and 3", got)
	}
	for query, field := range map[string]string{"?topics=A": "topics", "?wedding=x": "wedding", "?integration=1": "integration", "?resource=,": "resource"} {
		p := b.do("GET", "/v1/stream"+query, viewer, "").problem(t, 400, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
}
