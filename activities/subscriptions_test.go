package activities_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/store"
)

// hook is a subscriber that answers with a status and remembers what it was sent.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	header http.Header
	ids    []string
	bodies []string
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusNoContent, header: http.Header{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ids, h.bodies = append(h.ids, r.Header.Get("Webhook-Id")), append(h.bodies, b.String())
		for k := range h.header {
			w.Header().Set(k, h.header.Get(k))
		}
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *hook) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids)
}

func (d *desk) subscriptions() *activities.Subscriptions {
	d.t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, MaxBody: 1 << 10})
	d.must(err)
	d.t.Cleanup(client.Close)
	return &activities.Subscriptions{Store: d.Store, HTTP: client}
}

func (d *desk) subscribe(url string, topics ...string) activities.SubscriptionStep {
	d.t.Helper()
	id := domain.NewID[domain.SubscriptionID](time.Now())
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateSubscription(ctx, domain.Subscription{ID: id, URL: url, CreatedBy: "alex", Filter: domain.EventFilter{Topics: topics}},
			[]store.SubscriptionKey{{Secret: "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32)), SubscriptionSecret: domain.SubscriptionSecret{ID: "one"}}})
	})
	return activities.SubscriptionStep{Org: d.org, Subscription: id}
}

func (d *desk) row(in activities.SubscriptionStep) (s domain.Subscription) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		s, err = tx.Subscription(ctx, in.Subscription)
		return err
	})
	return s
}

func (d *desk) tell(n int) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.Emit(ctx, domain.TopicDeliveryDead, map[string]string{"n": strconv.Itoa(n)})
	})
}

// sendUntil repeats the step until ok: other tests of the cluster may hold the stream back for a moment.
func (d *desk) sendUntil(a *activities.Subscriptions, in activities.SubscriptionStep, what string, ok func(activities.SendEventsResult) bool) activities.SendEventsResult {
	d.t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		out := run(d, a.SendEvents, in)
		if ok(out) {
			return out
		}
		select {
		case <-end:
			d.t.Fatalf("waited in vain for %s; last %+v", what, out)
		case <-tick.C:
		}
	}
}

func TestFailedMessageIsTriedAgainUnderItsIDAndNotBeforeItsTime(t *testing.T) {
	t.Parallel()
	d := setup(t)
	h, a := newHook(t), d.subscriptions()
	in := d.subscribe(h.URL, "delivery.*")
	h.answer(http.StatusServiceUnavailable)
	h.header.Set("Retry-After", "600")
	d.tell(1)
	d.tell(2)
	out := d.sendUntil(a, in, "the first attempt", func(r activities.SendEventsResult) bool { return r.Failed == 1 })
	if wait := out.RetryAt.Sub(d.clock()); wait < 600*time.Second || wait > 700*time.Second || out.State != domain.SubscriptionActive {
		t.Errorf("tried again after %s, want what Retry-After says: %+v", wait, out)
	}
	if again := run(d, a.SendEvents, in); again.Failed != 0 || h.asked() != 1 {
		t.Errorf("sent before its time: %+v", again)
	}
	d.advance(11 * time.Minute)
	h.answer(http.StatusOK)
	d.sendUntil(a, in, "both messages", func(activities.SendEventsResult) bool { return h.asked() >= 3 })
	if h.ids[0] != h.ids[1] || h.bodies[0] != h.bodies[1] || h.ids[1] == h.ids[2] || !strings.Contains(h.bodies[2], `"n":"2"`) {
		t.Errorf("ids %v, bodies %v", h.ids, h.bodies)
	}
	s := d.row(in)
	if s.Failures != 0 || s.FailingSince != nil || s.NextAttemptAt != nil || s.LastSuccessAt == nil {
		t.Errorf("after the success: %+v", s)
	}
	var attempts []domain.SubscriptionAttempt
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		attempts, _, err = tx.SubscriptionAttempts(ctx, in.Subscription, store.Page{})
		return err
	})
	if len(attempts) != 3 || attempts[2].Status != 503 || attempts[2].Error == "" || attempts[0].Number+attempts[1].Number != 3 || attempts[0].Status != 200 || attempts[1].Status != 200 {
		t.Errorf("attempts %+v", attempts)
	}
	if strings.Contains(attempts[2].Error, h.URL+"/") {
		t.Errorf("the error holds the path: %s", attempts[2].Error)
	}
}

func TestReceiverThatFailsForDaysIsDisabledWithALineInTheTrail(t *testing.T) {
	t.Parallel()
	d := setup(t)
	h, a := newHook(t), d.subscriptions()
	in := d.subscribe(h.URL, "delivery.*")
	h.answer(http.StatusInternalServerError)
	d.tell(1)
	began := d.clock()
	tries := 0
	for d.row(in).State == domain.SubscriptionActive {
		tries++
		out := d.sendUntil(a, in, "an attempt", func(r activities.SendEventsResult) bool { return r.Failed == 1 })
		if out.State == domain.SubscriptionActive {
			d.advance(out.RetryAt.Sub(d.clock()))
		}
		if tries > 100 {
			t.Fatal("was never disabled")
		}
	}
	took := d.clock().Sub(began)
	if s := d.row(in); s.State != domain.SubscriptionDisabled || took < activities.GiveUpAfter || took > activities.GiveUpAfter+5*time.Hour || tries < activities.GiveUpTries {
		t.Errorf("%s after %s and %d tries: %s", s.State, took, tries, s.StateReason)
	}
	var trail []domain.AuditEntry
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		trail, _, err = tx.AuditEntries(ctx, store.Page{Limit: 1})
		return err
	})
	if len(trail) != 1 || trail[0].Action != "subscription.disable" || trail[0].Subject != "subscription/"+string(in.Subscription) {
		t.Errorf("trail %+v", trail)
	}
	before := h.asked()
	d.tell(2)
	if out := run(d, a.SendEvents, in); out.State != domain.SubscriptionDisabled || h.asked() != before {
		t.Errorf("a disabled one is sent to: %+v", out)
	}
}

func TestPublishedScheduleGrowsAndJitters(t *testing.T) {
	t.Parallel()
	least := []time.Duration{5 * time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 4 * time.Hour}
	for n, want := range least {
		for range 20 {
			if got := activities.BroadcastWait(n); got < want || got > want+want/5 {
				t.Errorf("after %d failures %s, want %s and up to a fifth more", n, got, want)
			}
		}
	}
}

func TestReceiverIsToldOfAGapBeforeWhatIsKept(t *testing.T) {
	t.Parallel()
	d := setup(t)
	h, a := newHook(t), d.subscriptions()
	in := d.subscribe(h.URL, "delivery.*")
	d.tell(1)
	d.tell(2)
	d.advance(time.Hour)
	d.tell(3)
	_, err := d.PurgeStream(t.Context(), d.clock().Add(-time.Minute), 100)
	d.must(err)
	d.sendUntil(a, in, "the gap and the rest", func(activities.SendEventsResult) bool { return h.asked() >= 2 })
	if !strings.Contains(h.bodies[0], `"topic":"stream.gap"`) || !strings.Contains(h.bodies[1], `"n":"3"`) || h.asked() != 2 {
		t.Errorf("bodies %v", h.bodies)
	}
}

func TestTestMessageReportsARefusalAndCountsAsNoFailure(t *testing.T) {
	t.Parallel()
	d := setup(t)
	h, a := newHook(t), d.subscriptions()
	in := d.subscribe(h.URL)
	h.answer(http.StatusTeapot)
	out := run(d, a.SendTest, activities.SendTestInput{SubscriptionStep: in})
	if out.Delivered || out.Status != http.StatusTeapot || out.Error == "" || d.row(in).Failures != 0 {
		t.Errorf("%+v, row %+v", out, d.row(in))
	}
	gone := activities.SubscriptionStep{Org: d.org, Subscription: domain.NewID[domain.SubscriptionID](time.Now())}
	_, err := call(d, a.SendTest, activities.SendTestInput{SubscriptionStep: gone})
	d.wantKind(err, domain.KindNotFound)
	if out := run(d, a.SendEvents, gone); out.State != domain.SubscriptionDeleted {
		t.Errorf("a subscription that does not exist is %s", out.State)
	}
}
