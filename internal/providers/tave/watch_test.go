package tave

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

const secret = "nobody-guesses-this-secret-of-a-watch-12345"

func watchRequest(b *bundle) provider.WatchRequest {
	return provider.WatchRequest{ID: "0193d000-0000-7000-8000-000000000001", URL: "https://sync.example.com/v1/notify/0193d000-0000-7000-8000-000000000001", Secret: secret,
		Until: b.clock().Add(7 * 24 * time.Hour)}
}

func TestHooksAreMadeOnceRenewedAndRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	b.sim.Add("rest-hook", tavesim.Object{"event": "job.created", "url": "https://somebody.example/else"})
	b.sim.SetFaults(tavesim.Faults{LoseAnswers: 1})
	_, err := b.conn.Watch(t.Context(), watchRequest(b))
	wantKind(t, err, domain.KindUnavailable)
	w := must[provider.Watched](t)(b.conn.Watch(t.Context(), watchRequest(b)))
	if n := len(b.sim.All("rest-hook")); n != 1+len(hookEvents) {
		t.Fatalf("%d hooks", n)
	}
	for _, id := range strings.Split(w.RemoteID, ",") {
		u, err := url.Parse(b.sim.Get("rest-hook", id)["url"].(string))
		if err != nil || u.Query().Get(secretParam) != secret {
			t.Errorf("the address does not hold the secret: %v", err)
		}
	}
	later := b.clock().Add(10 * 24 * time.Hour)
	if again := must[provider.Watched](t)(b.conn.Renew(t.Context(), w, later)); !again.ExpiresAt.Equal(later) || again.RemoteID != w.RemoteID {
		t.Errorf("renewed as %+v", again)
	}
	b.sim.Delete("rest-hook", strings.Split(w.RemoteID, ",")[1])
	_, err = b.conn.Renew(t.Context(), w, later)
	wantKind(t, err, domain.KindNotFound)
	for range 2 {
		if err := b.conn.Unwatch(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.sim.All("rest-hook")); n != 1 {
		t.Errorf("%d hooks are left, want the one of somebody else", n)
	}
}

func TestHooksThatNobodyLooksAfterAreRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{})
	b.sim.Add("rest-hook", tavesim.Object{"event": "job.created", "url": "https://somebody.example/else"})
	lost, next := watchRequest(b), watchRequest(b)
	b.sim.SetFaults(tavesim.Faults{LoseAnswers: 1})
	_, err := b.conn.Watch(t.Context(), lost)
	wantKind(t, err, domain.KindUnavailable)
	next.URL += "-next"
	next.Over = []string{lost.URL}
	must[provider.Watched](t)(b.conn.Watch(t.Context(), next))
	if n := len(b.sim.All("rest-hook")); n != 1+len(hookEvents) {
		t.Fatalf("%d hooks", n)
	}
	for range 2 {
		if err := b.conn.Sweep(t.Context(), []string{next.URL}); err != nil || len(b.sim.All("rest-hook")) != 1 {
			t.Errorf("%v, %d hooks are left, want the one of somebody else", err, len(b.sim.All("rest-hook")))
		}
	}
}

func TestNoticeNeedsTheSecretOfItsAddress(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		query string
		body  string
		kind  domain.ErrorKind
	}{
		"delivery":       {"key=" + secret, `{"targetId":"01h35ccwymj5ctckp8px1azhg6"}`, ""},
		"unknown form":   {"key=" + secret, `targetId=1`, ""},
		"no body":        {"key=" + secret, ``, ""},
		"no secret":      {"", `{"targetId":"01h35ccwymj5ctckp8px1azhg6"}`, domain.KindUnauthenticated},
		"another secret": {"key=" + secret + "x", `{}`, domain.KindUnauthenticated},
		"two secrets":    {"key=" + secret + "&key=x", `{}`, domain.KindUnauthenticated},
	} {
		q, err := url.ParseQuery(v.query)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Registration.Notice(provider.NoticeRequest{Secret: secret, Query: q, Body: []byte(v.body)})
		if domain.KindOf(err) != v.kind || n.Changed != (v.kind == "") || n.Echo != nil {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	if _, err := Registration.Notice(provider.NoticeRequest{Query: url.Values{"key": {""}}}); domain.KindOf(err) != domain.KindUnauthenticated {
		t.Errorf("an empty secret opens: %v", err)
	}
}
