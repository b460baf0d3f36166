package workflows_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wedsync/wedsync/internal/codec"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/worker"
)

var updateFiles = flag.Bool("update", false, "write the histories of a real run into testdata (make histories)")

// markers are every personal field that the stories use: the resource's name, titles, places, notes, contacts, and the
// words typed by an admin. None of them may be found in a history.
var markers = []string{"Quillfeather", "Zwetschgenhof", "obsidian-pelican", "vermilion.heron@couple.example", "because-the-heron-asked"}

// keyFile holds a key that seals nothing but the recorded histories.
const keyFile = "testdata/test-only.key"

func testKey(t *testing.T) *vault.Keyring {
	t.Helper()
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := vault.ParseKeys(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// version is the last entry in versions.go. Histories of earlier ones are of released code and stay as they are.
const version = "v1"

// suggestAt is the history length at which the test's server suggests a new run, far below the usual 4,096.
const suggestAt = 120

var server = sync.OnceValues(func() (*devstack.Stack, error) {
	return devstack.Start(context.Background(), devstack.Options{
		Ephemeral: true, Private: true, SkipPostgres: true,
		Temporal: devstack.TemporalOptions{InMemory: true, SearchAttributes: contract.SearchAttributes(),
			DynamicConfig: []string{fmt.Sprintf("limit.historyCount.suggestContinueAsNew=%d", suggestAt)}},
		Log: func(line string) { fmt.Fprintln(os.Stderr, line) },
	})
})

// world is everything real: Temporal, Postgres, worker. Only the outside systems are in memory.
type world struct {
	*store.Store
	*flow.Client
	t            *testing.T
	ring         *vault.Keyring
	org          domain.OrgID
	person       domain.Resource
	crm, cal     domain.Integration
	atCRM, atCal *outside

	connect func(system any) domain.Integration // one more connection
}

// oneWorld keeps worlds apart in time: their workers listen to the same queues, each with a database of its own.
var oneWorld sync.Mutex

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: needs PostgreSQL and the Temporal development server")
	}
	oneWorld.Lock()
	t.Cleanup(oneWorld.Unlock)
	stack, err := server()
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: no Temporal server: %v", err)
	}
	w := &world{t: t, ring: testKey(t), org: domain.NewID[domain.OrgID](time.Now()),
		atCRM: &outside{entries: map[string]domain.Change{}}, atCal: &outside{entries: map[string]domain.Change{}}}
	w.must(err)
	w.Store = storetest.Open(t, storetest.URL(t), w.ring, store.Options{MaxConns: 8, SystemMaxConns: 2, Now: time.Now})
	w.Client, err = flow.New(flow.Options{Address: stack.TemporalAddress(), Ring: w.ring, Logger: slog.New(slog.DiscardHandler), Identity: "test"})
	w.must(err)
	t.Cleanup(w.Client.Close)
	systems := map[domain.IntegrationID]any{}
	var mu sync.Mutex
	opener := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: func(c provider.Connection) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			return systems[c.Integration.ID], nil
		}}, true
	}, nil, time.Now, 0)

	w.must(w.CreateOrganization(t.Context(), domain.Organization{ID: w.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	w.person = domain.Resource{ID: domain.NewID[domain.ResourceID](time.Now()), Name: markers[0], Kind: domain.ResourcePerson,
		Zone: "Europe/London", Capacity: 1, OneWeddingADay: true}
	w.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateResource(ctx, w.person) })
	make := func(system any) domain.Integration {
		i := domain.Integration{ID: domain.NewID[domain.IntegrationID](time.Now()), Name: "connection", Provider: "outside",
			Direction: domain.DirectionBidirectional, ResourceID: w.person.ID, Settings: []byte(`{}`)}
		mu.Lock()
		systems[i.ID] = system
		mu.Unlock()
		w.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateIntegration(ctx, i, nil) })
		return i
	}
	w.connect = make
	w.crm, w.cal = make(w.atCRM), make(w.atCal)

	out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, MaxBody: 1 << 10, Timeouts: httpx.Timeouts{Header: time.Second, Total: time.Second}})
	w.must(err)
	t.Cleanup(out.Close)
	serve, err := worker.New(worker.Deps{Temporal: w.Temporal(), Store: w.Store, Opener: opener, Log: slog.New(slog.DiscardHandler),
		NotifyURL: "https://sync.example.com", Failover: failover.Settings{Poll: time.Second, Grace: time.Second, Stay: 2 * time.Second}, Broadcast: out, BroadcastWait: func(int) time.Duration { return 50 * time.Millisecond }},
		worker.Options{StopTimeout: 5 * time.Second, ProbeEvery: 5 * time.Second})
	w.must(err)
	w.must(serve.Start())
	t.Cleanup(func() { serve.Stop(context.WithoutCancel(t.Context())) })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	w.must(w.Tenant(w.t.Context(), w.org, fn))
}

func (w *world) ref(i domain.Integration) flow.IntegrationRef {
	return flow.IntegrationRef{Org: w.org, ID: i.ID, Provider: i.Provider}
}

// await relays what the store wants to be told and looks again until ok says so.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	limit, stop := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		w.relay()
		select {
		case <-limit.Done():
			w.t.Fatalf("waited a minute for: %s", what)
		case <-tick.C:
		}
	}
}

// relay tells Temporal what is in the outbox, as the dispatcher does.
func (w *world) relay() {
	w.t.Helper()
	rows, err := w.ClaimOutbox(w.t.Context(), 100)
	w.must(err)
	var done []int64
	for _, r := range rows {
		ctx := w.t.Context()
		i := domain.Integration{ID: domain.IntegrationID(r.Target), Provider: "outside"}
		switch r.Kind {
		case store.OutboxPush:
			w.must(w.Pushes(ctx, w.ref(i), contract.PushesSignal{Count: 1}))
		case store.OutboxDeliveries:
			w.must(w.Deliveries(ctx, w.ref(i), contract.DeliveriesSignal{More: true}))
		case store.OutboxReplayStart:
			w.must(w.StartReplay(ctx, contract.ReplayInput{OrgID: w.org, ReplayID: domain.ReplayID(r.Target)}))
		case store.OutboxTimeline:
			w.must(w.FollowTimeline(ctx, contract.TimelineInput{OrgID: w.org, BookingID: domain.BookingID(r.Target)}))
		case store.OutboxHold:
			w.must(w.TellHold(ctx, contract.HoldInput{OrgID: w.org, BookingID: domain.BookingID(r.Target)}))
		case store.OutboxOnboarding:
			w.must(w.TellOnboarding(ctx, contract.OnboardInput{OrgID: w.org, IntegrationID: domain.IntegrationID(r.Target)}))
		case store.OutboxAlerts:
			w.must(w.WakeAlerts(ctx, r.Org))
		case store.OutboxMaintenance:
			w.must(w.WakeMaintenance(ctx, contract.MaintenanceInput{OrgID: r.Org, MaintenanceID: domain.MaintenanceID(r.Target)}))
		case store.OutboxWedding:
			w.must(w.TellWedding(ctx, contract.WeddingInput{OrgID: r.Org, BookingID: domain.BookingID(r.Target)}))
		case store.OutboxNotify:
			w.must(w.WakeNotify(ctx, r.Org))
		case store.OutboxIntegrationChanged:
			w.must(w.Changed(ctx, w.ref(i), contract.ChangedSignal{Version: 1}))
		case store.OutboxConflictStart:
			var c domain.Conflict
			w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
				c, err = tx.Conflict(ctx, domain.ConflictID(r.Target))
				return err
			})
			w.must(w.StartConflict(ctx, contract.ConflictInput{OrgID: w.org, ConflictID: c.ID, Severity: c.Severity, WeddingDate: "2031-06-14"}))
		case store.OutboxConflictRecheck:
			w.must(w.RecheckConflict(ctx, domain.ConflictID(r.Target), contract.RecheckSignal{BookingID: domain.BookingID(r.Ref)}))
		}
		done = append(done, r.ID)
	}
	w.must(w.DeleteOutbox(w.t.Context(), done))
}

func (w *world) deliver(to domain.Integration, body string) domain.DeliveryID {
	w.t.Helper()
	id := domain.NewID[domain.DeliveryID](time.Now())
	_, err := w.InsertDeliveries(w.t.Context(), []store.NewDelivery{{ID: id, OrgID: w.org, IntegrationID: to.ID, Dedupe: sha256.Sum256([]byte(id)),
		Size: len(body), ReceivedAt: time.Now(), Content: w.SealDelivery(w.org, id, map[string]string{"content-type": "application/json"}, []byte(body))}})
	w.must(err)
	w.must(w.Deliveries(w.t.Context(), w.ref(to), contract.DeliveriesSignal{IDs: []domain.DeliveryID{id}}))
	return id
}

func entry(id string, category domain.Category, day, from, hours int) domain.Change {
	start := time.Date(2031, 6, day, from, 0, 0, 0, time.UTC)
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: category, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: start, End: start.Add(time.Duration(hours) * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
		Details: domain.Details{Title: markers[2] + " " + id, Location: markers[1], Notes: markers[4], Contact: id + "+" + markers[3]}}
}

func body(c ...domain.Change) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (w *world) status(i domain.Integration) contract.IntegrationStatus {
	w.t.Helper()
	s, err := w.IntegrationStatus(w.t.Context(), i.ID)
	if err != nil && domain.KindOf(err) != domain.KindNotFound && domain.KindOf(err) != domain.KindUnavailable {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) delivered(id domain.DeliveryID) domain.DeliveryState {
	w.t.Helper()
	var d domain.Delivery
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		d, err = tx.Delivery(ctx, id)
		return err
	})
	return d.State
}

// story lets every workflow do everything once, and returns the ids of the workflows by the name of their file.
func (w *world) story() map[string]string {
	t := w.t
	wedding := entry("wed", domain.CategoryWedding, 14, 12, 8)
	w.atCal.entries["wed"] = wedding
	w.await("the calendar's first reading", func() bool { return w.status(w.cal).Counts.Syncs == 1 && w.status(w.crm).Counts.Syncs == 1 })

	consult := entry("talk", domain.CategoryConsultation, 14, 13, 1)
	w.atCRM.entries["talk"] = consult
	first := w.deliver(w.crm, body(consult))
	dead, fault := w.deliver(w.crm, "dead"), w.deliver(w.crm, "fault")
	w.await("the first deliveries", func() bool {
		return w.delivered(first) == domain.DeliveryApplied && w.delivered(dead) == domain.DeliveryDead && w.delivered(fault) == domain.DeliveryRetrying
	})
	w.await("copies in both systems", func() bool { return w.status(w.cal).Counts.Pushed > 0 && w.status(w.crm).Counts.Pushed > 0 })

	paused, err := w.Pause(t.Context(), w.ref(w.crm), contract.PauseRequest{By: "admin-1"})
	w.must(err)
	held := w.deliver(w.crm, body())
	resumed, err := w.Resume(t.Context(), w.ref(w.crm), contract.ResumeRequest{By: "admin-1"})
	w.must(err)
	if paused.State != domain.IntegrationPaused || resumed.State != domain.IntegrationActive {
		t.Errorf("paused %s, resumed %s", paused.State, resumed.State)
	}
	w.await("the delivery held back", func() bool { return w.delivered(held) == domain.DeliveryIgnored })

	run := domain.NewID[domain.SyncRunID](time.Now())
	_, err = w.Resync(t.Context(), w.ref(w.cal), contract.ResyncRequest{RunID: run, Full: true, By: "admin-1"})
	w.must(err)
	w.await("the full resync", func() bool { s := w.status(w.cal); return s.LastRun != nil && *s.LastRun == run })

	clash := w.resolve()
	w.newRuns()
	for _, i := range []domain.Integration{w.crm, w.cal} {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationDeleted, "by admin-1")
			return err
		})
	}
	ids := map[string]string{"integration": contract.IntegrationWorkflowID(w.crm.ID), "integration-calendar": contract.IntegrationWorkflowID(w.cal.ID),
		"sync-full": contract.SyncWorkflowID(run), "conflict-resolved": contract.ConflictWorkflowID(clash)}
	for name, id := range ids {
		w.await("the end of "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
	}
	return ids
}

// resolve lets a system refuse a first decision, which is undone, and carries a second one out.
func (w *world) resolve() domain.ConflictID {
	t := w.t
	var open []domain.Conflict
	w.await("a conflict", func() bool {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			open, _, err = tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, store.Page{})
			return err
		})
		return len(open) == 1
	})
	c := open[0]
	decide := func(day int) contract.ResolveRequest {
		when := entry("", domain.CategoryConsultation, day, 9, 1).When
		id := string(domain.NewID[domain.ConflictID](time.Now()))
		r := contract.ResolveRequest{Action: domain.ActionMove, BookingID: c.BookingID, When: &when, DecisionID: id, By: "admin-1"}
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			now, err := tx.Conflict(ctx, c.ID)
			if err != nil {
				return err
			}
			r.Version = now.Version
			return tx.PutDecision(ctx, id, c.ID, domain.Resolution{Action: r.Action, BookingID: r.BookingID, When: r.When, By: r.By, Reason: markers[4]})
		})
		return r
	}
	w.await("the conflict's story", func() bool {
		s, err := w.ConflictStatus(t.Context(), c.ID)
		return err == nil && s.State == domain.ConflictOpen && !s.NextAlarm.IsZero()
	})
	state := func(want domain.ConflictState) func() bool {
		return func() bool {
			s, err := w.ConflictStatus(t.Context(), c.ID)
			return err == nil && s.State == want
		}
	}
	// Onto the wedding itself: refused in words.
	_, err := w.Resolve(t.Context(), c.ID, func() contract.ResolveRequest {
		r := decide(14)
		when := entry("", domain.CategoryConsultation, 14, 14, 1).When
		r.DecisionID, r.When = string(domain.NewID[domain.ConflictID](time.Now())), &when
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			return tx.PutDecision(ctx, r.DecisionID, c.ID, domain.Resolution{Action: r.Action, BookingID: r.BookingID, When: r.When, By: r.By, Reason: markers[4]})
		})
		return r
	}())
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a decision that clashes again: %v", err)
	}
	w.atCRM.mu.Lock()
	w.atCRM.refuse = domain.E(domain.KindPermanent, "the entry is locked")
	w.atCRM.mu.Unlock()
	_, err = w.Resolve(t.Context(), c.ID, decide(15))
	w.must(err)
	w.await("the refused decision to be undone", state(domain.ConflictOpen))
	w.atCRM.mu.Lock()
	w.atCRM.refuse = nil
	w.atCRM.mu.Unlock()
	_, err = w.Resolve(t.Context(), c.ID, decide(16))
	w.must(err)
	w.await("the resolution", state(domain.ConflictResolved))
	return c.ID
}

// newRuns keeps deliveries coming until the workflow has begun new runs, and checks that none was lost.
func (w *world) newRuns() {
	var ids []domain.DeliveryID
	for n := 0; w.status(w.crm).Runs < 3; n++ {
		if n > 400 {
			w.t.Fatal("no new run after 400 deliveries")
		}
		ids = append(ids, w.deliver(w.crm, body(entry(fmt.Sprintf("more-%d", n%3), domain.CategoryVendor, 20+n%5, 8+n%3, 1))))
	}
	w.await("every delivery around the new runs", func() bool {
		for _, id := range ids {
			if w.delivered(id) != domain.DeliveryApplied {
				return false
			}
		}
		return true
	})
}

// histories reads every run of a workflow, the oldest first.
func (w *world) histories(id string) []*historypb.History {
	w.t.Helper()
	var out []*historypb.History
	run := ""
	for {
		h := &historypb.History{}
		it := w.Temporal().GetWorkflowHistory(w.t.Context(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for it.HasNext() {
			e, err := it.Next()
			w.must(err)
			h.Events = append(h.Events, e)
		}
		out = append([]*historypb.History{h}, out...)
		run = h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId()
		if run == "" {
			return out
		}
	}
}

// readable returns everything that a history says: its JSON, and the content of every payload opened by the codec.
func readable(t *testing.T, ring *vault.Keyring, h *historypb.History) string {
	t.Helper()
	raw, err := protojson.MarshalOptions{Indent: " "}.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.Write(raw)
	c := codec.New(ring)
	sealed := 0
	err = proxy.VisitPayloads(t.Context(), proto.Clone(h), proxy.VisitPayloadsOptions{
		Visitor: func(_ *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
			opened, err := c.Decode(payloads)
			if err != nil {
				return nil, err
			}
			for i, p := range opened {
				if string(payloads[i].Metadata["encoding"]) == codec.EncodingEncrypted {
					sealed++
				}
				text.WriteString("\n")
				text.Write(p.Data)
			}
			return payloads, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if sealed == 0 {
		t.Error("not one payload of the history is sealed")
	}
	return text.String()
}

func checkHoldsNobody(t *testing.T, ring *vault.Keyring, name string, h *historypb.History) {
	t.Helper()
	text := strings.ToLower(readable(t, ring, h))
	for _, m := range markers {
		if i := strings.Index(text, strings.ToLower(m)); i >= 0 {
			t.Errorf("%s holds the personal text %q: …%s…", name, m, text[max(0, i-80):min(len(text), i+80)])
		}
	}
}

// TestHistoriesHoldNobodyAndReplay plays every workflow on real servers. Its histories hold no personal text and replay;
// with -update they are kept in testdata.
func TestHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.story()
	if *updateFiles {
		old, err := filepath.Glob("testdata/" + version + "-*.json")
		w.must(err)
		for _, file := range old {
			w.must(os.Remove(file))
		}
	}
	for name, id := range ids {
		runs := w.histories(id)
		if name == "integration" && len(runs) < 3 {
			t.Errorf("%d runs of the integration; a new run was to be forced", len(runs))
		}
		for n, h := range runs {
			file := fmt.Sprintf("%s-%s-%d", version, name, n+1)
			checkHoldsNobody(t, w.ring, file, h)
			if err := replay(w.ring, h); err != nil {
				t.Errorf("replay of the fresh %s: %v", file, err)
			}
			if *updateFiles && n < 2 {
				w.record(file, h)
			}
		}
	}
}

// record keeps a history in testdata.
func (w *world) record(file string, h *historypb.History) {
	w.t.Helper()
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

// TestPersonalTextIsFoundWhereverItHides plants one in every kind of place, so that the check above can be trusted.
func TestPersonalTextIsFoundWhereverItHides(t *testing.T) {
	t.Parallel()
	ring := testKey(t)
	input, err := codec.DataConverter(ring).ToPayloads(map[string]string{"title": markers[2]})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := converter.GetDefaultDataConverter().ToPayload(markers[2])
	if err != nil {
		t.Fatal(err)
	}
	failed := codec.FailureConverter(ring).ErrorToFailure(temporal.NewApplicationError("cannot store "+markers[2], "internal"))
	sealed := &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{Input: input}}}
	for name, e := range map[string]*historypb.HistoryEvent{
		"a sealed signal": sealed,
		"a failure": {Attributes: &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{
			WorkflowExecutionFailedEventAttributes: &historypb.WorkflowExecutionFailedEventAttributes{Failure: failed}}},
		"a search attribute": {Attributes: &historypb.HistoryEvent_UpsertWorkflowSearchAttributesEventAttributes{
			UpsertWorkflowSearchAttributesEventAttributes: &historypb.UpsertWorkflowSearchAttributesEventAttributes{
				SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"x": plain}}}}},
		"a summary": {UserMetadata: &sdkpb.UserMetadata{Summary: input.Payloads[0]}},
	} {
		if !strings.Contains(readable(t, ring, &historypb.History{Events: []*historypb.HistoryEvent{e, sealedNothing(t, ring)}}), markers[2]) {
			t.Errorf("%s hides it", name)
		}
	}
}

func sealedNothing(t *testing.T, ring *vault.Keyring) *historypb.HistoryEvent {
	t.Helper()
	input, err := codec.DataConverter(ring).ToPayloads("nothing")
	if err != nil {
		t.Fatal(err)
	}
	return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{Input: input}}}
}

func replay(ring *vault.Keyring, h *historypb.History) error {
	r, err := sdkworker.NewWorkflowReplayerWithOptions(sdkworker.WorkflowReplayerOptions{DataConverter: codec.DataConverter(ring),
		FailureConverter: codec.FailureConverter(ring), DisableRegistrationAliasing: true})
	if err != nil {
		return err
	}
	worker.RegisterWorkflows(r)
	return r.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h)
}

// registered collects the names of the workflows that a worker registers.
type registered map[string]bool

func (r registered) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) { r[o.Name] = false }

// TestRecordedHistoriesReplay holds today's workflow code to every history recorded from released code.
func TestRecordedHistoriesReplay(t *testing.T) {
	if *updateFiles {
		t.Skip("skipped: the histories are being recorded")
	}
	t.Parallel()
	ring := testKey(t)
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	have := registered{}
	worker.RegisterWorkflows(have)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
		_ = f.Close()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		have[h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()] = true
		checkHoldsNobody(t, ring, file, h)
		if err := replay(ring, h); err != nil {
			t.Errorf("%s does not replay: %v\nA change to running workflows needs a version: see versions.go.", file, err)
		}
	}
	for name, recorded := range have {
		if !recorded {
			t.Errorf("workflow %s has no recorded history in testdata; record one by make histories", name)
		}
	}
}
