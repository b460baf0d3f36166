package workflows_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wedsync/wedsync/internal/broadcast"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/stream"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// receiver takes webhooks as a subscriber does: it verifies each by the official scheme, and answers as it is told to.
type receiver struct {
	t *testing.T
	*httptest.Server

	mu      sync.Mutex
	secrets []string // any of which must fit
	every   bool     // all of which must fit
	answers []int    // for the next requests: a status, or 0 to let the sender wait; 204 when there is none left
	asked   int
	taken   []string // the n of the events that were answered with 2xx, in order, repeats of a webhook-id left out
	ids     map[string]string
	topics  map[string]int
}

func newReceiver(t *testing.T, secret string) *receiver {
	r := &receiver{t: t, secrets: []string{secret}, ids: map[string]string{}, topics: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if err != nil || req.Method != http.MethodPost || req.URL.Path != "/hook" {
		r.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	fits := 0
	for _, s := range r.secrets {
		v, err := webhookauth.New(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Plain(webhookauth.Secret(s)), webhookauth.Options{})
		if err != nil {
			r.t.Error(err)
			return
		}
		if _, err := v.Verify(req.Context(), webhookauth.Request{Header: req.Header, Body: body}, time.Now()); err == nil {
			fits++
		}
	}
	if fits == 0 || r.every && fits != len(r.secrets) {
		r.t.Errorf("%d of %d secrets fit", fits, len(r.secrets))
	}
	var m struct {
		ID    string            `json:"id"`
		Topic string            `json:"topic"`
		At    time.Time         `json:"at"`
		Refs  map[string]string `json:"refs"`
	}
	if err := json.Unmarshal(body, &m); err != nil || m.ID != req.Header.Get("Webhook-Id") || m.At.IsZero() {
		r.t.Errorf("body %s under id %s: %v", body, req.Header.Get("Webhook-Id"), err)
	}
	if had, ok := r.ids[m.ID]; ok && had != string(body) {
		r.t.Errorf("id %s names %s and %s", m.ID, had, body)
	}
	answer := http.StatusNoContent
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	switch answer {
	case 0:
		r.mu.Unlock()
		<-req.Context().Done()
		r.mu.Lock()
		return
	case http.StatusFound:
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(answer)
	if answer >= 300 {
		return
	}
	_, _ = w.Write(bytes.Repeat([]byte("x"), 4<<10)) // more than the sender reads
	r.topics[m.Topic]++
	if _, again := r.ids[m.ID]; !again && m.Refs["n"] != "" {
		r.taken = append(r.taken, m.Refs["n"])
	}
	r.ids[m.ID] = string(body)
}

func (r *receiver) next(answers ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = answers
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.taken...)
}

func secretOf(n byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32))
}

func (w *world) emit(org domain.OrgID, topic domain.Topic, n ...int) (out []string) {
	w.t.Helper()
	w.must(w.Tenant(w.t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
		for _, i := range n {
			if err := tx.Emit(ctx, topic, map[string]string{"n": strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, i := range n {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// broadcasting runs what a server runs for subscriptions.
func (w *world) broadcasting() {
	quiet := slog.New(slog.DiscardHandler)
	waker := broadcast.NewWaker(w.Store, w.Client, broadcast.WakerOptions{Spacing: 100 * time.Millisecond, Reload: 200 * time.Millisecond, Sweep: 2 * time.Second, Logger: quiet})
	hub := stream.New(w.Store, stream.Options{Watch: waker.Watch, Watching: waker.Watching, Logger: quiet})
	ctx, stop := context.WithCancel(w.t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = waker.Run(ctx) })
	parts.Go(func() { _ = hub.Run(ctx) })
	w.t.Cleanup(func() { stop(); parts.Wait() })
}

func numbered(from, to int) (out []int) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func TestSubscriberGetsEveryMatchingEventInOrderWhateverItDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := domain.NewID[domain.OrgID](time.Now())
	w.must(w.CreateOrganization(t.Context(), domain.Organization{ID: stranger, Name: "Other", Zone: "UTC"}, "admin"))
	r := newReceiver(t, secretOf(1))
	sub := domain.Subscription{ID: domain.NewID[domain.SubscriptionID](time.Now()), URL: r.URL + "/hook", CreatedBy: "admin-1",
		Filter: domain.EventFilter{Topics: []string{"delivery.*", "conflict.opened"}}}
	key := func(id string, n byte) store.SubscriptionKey {
		return store.SubscriptionKey{SubscriptionSecret: domain.SubscriptionSecret{ID: id, CreatedAt: time.Now()}, Secret: secretOf(n)}
	}
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateSubscription(ctx, sub, []store.SubscriptionKey{key("one", 1)})
	})
	w.broadcasting()
	ref := flow.SubscriptionRef{Org: w.org, ID: sub.ID}
	var want []string
	emit := func(n ...int) {
		t.Helper()
		w.emit(stranger, domain.TopicDeliveryDead, n...)
		w.emit(w.org, domain.TopicBookingChanged, n...)
		want = append(want, w.emit(w.org, domain.TopicDeliveryApplied, n...)...)
	}
	arrived := func(what string) {
		t.Helper()
		w.await(what, func() bool { return len(r.got()) >= len(want) })
		if d := cmp.Diff(want, r.got()); d != "" {
			t.Fatalf("%s (-want +got):\n%s", what, d)
		}
	}
	row := func() (s domain.Subscription) {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			s, err = tx.Subscription(ctx, sub.ID)
			return err
		})
		return s
	}

	emit(numbered(1, 60)...)
	arrived("a healthy receiver")

	r.next(500, 0, http.StatusFound, 429, 204, 503)
	emit(61, 62, 63)
	arrived("a receiver that fails, hangs, redirects and comes back")

	// While one secret replaces the other both sign.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RotateSubscription(ctx, sub.ID, key("two", 2), time.Now().Add(time.Hour))
		return err
	})
	r.mu.Lock()
	r.secrets, r.every = []string{secretOf(1), secretOf(2)}, true
	r.mu.Unlock()
	emit(64)
	arrived("two secrets")

	tested, err := w.TestSubscription(t.Context(), ref, contract.TestRequest{ID: domain.NewID[domain.AttemptID](time.Now()), By: "admin-1"})
	w.must(err)
	if !tested.Delivered || tested.Status != 204 || r.topics[string(domain.TopicSubscriptionTest)] != 1 {
		t.Errorf("test: %+v", tested)
	}

	paused, err := w.PauseSubscription(t.Context(), ref, contract.PauseRequest{By: "admin-1"})
	w.must(err)
	before := len(r.got())
	emit(65, 66)
	if paused.State != domain.SubscriptionPaused || len(r.got()) != before {
		t.Errorf("paused: %+v, and %d more were sent", paused, len(r.got())-before)
	}
	_, err = w.ResumeSubscription(t.Context(), ref, contract.SubscriptionResumeRequest{By: "admin-1"})
	w.must(err)
	arrived("what came during the pause")

	r.next(http.StatusGone)
	emit(67)
	w.await("the end by 410", func() bool { return row().State == domain.SubscriptionDisabled })
	if s := row(); !strings.Contains(s.StateReason, "410") || s.Failures != 1 {
		t.Errorf("disabled: %+v", s)
	}
	emit(68)
	_, err = w.ResumeSubscription(t.Context(), ref, contract.SubscriptionResumeRequest{By: "admin-1"})
	w.must(err)
	arrived("everything since the 410")

	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetSubscriptionState(ctx, sub.ID, domain.SubscriptionPaused, "by admin-1", false)
		return err
	})
	w.emit(w.org, domain.TopicDeliveryDead, 900)
	w.await("the end of the stretch to be left out", func() bool {
		events, _, err := w.StreamAfter(t.Context(), row().Cursor, w.org, 50)
		w.must(err)
		return len(events) > 0 && events[len(events)-1].Topic != domain.TopicSubscriptionChanged
	})
	_, err = w.ResumeSubscription(t.Context(), ref, contract.SubscriptionResumeRequest{By: "admin-1", FromNow: true})
	w.must(err)
	emit(69)
	arrived("only what came after a resume from now")

	// Many wakes lead to new runs, which lose nothing.
	for n := 70; ; n++ {
		s, err := w.SubscriptionStatus(t.Context(), sub.ID)
		w.must(err)
		if s.Runs >= 2 {
			break
		}
		if n > 400 {
			t.Fatal("no new run after 330 events")
		}
		emit(n)
		w.must(w.WakeSubscription(t.Context(), ref, contract.WakeSignal{}))
	}
	arrived("events around a new run")

	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetSubscriptionState(ctx, sub.ID, domain.SubscriptionDeleted, "by admin-1", false)
		return err
	})
	id := contract.SubscriptionWorkflowID(sub.ID)
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	for topic := range r.topics {
		if !strings.HasPrefix(topic, "delivery.") && topic != string(domain.TopicSubscriptionTest) {
			t.Errorf("was sent %s, which it did not ask for", topic)
		}
	}
	w.recordSubscription(id)
}

// recordSubscription holds the fresh histories to the same rules as the others, and keeps them with -update.
func (w *world) recordSubscription(id string) {
	runs := w.histories(id)
	for n, h := range runs {
		file := fmt.Sprintf("v2-subscription-%d", n+1)
		checkHoldsNobody(w.t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			w.t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if !*updateFiles || n >= 2 {
			continue
		}
		for _, e := range h.Events {
			// Sticky queues are named after the machine.
			if q := e.GetWorkflowTaskScheduledEventAttributes().GetTaskQueue(); q.GetKind() == enums.TASK_QUEUE_KIND_STICKY {
				q.Name = "sticky"
			}
		}
		text, err := protojson.Marshal(h)
		w.must(err)
		var pretty bytes.Buffer
		w.must(json.Indent(&pretty, text, "", " "))
		w.must(os.WriteFile(filepath.Join("testdata", file+".json"), append(pretty.Bytes(), '\n'), 0o644))
	}
}
