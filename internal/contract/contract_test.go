package contract

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2027, 6, 12, 9, 30, 0, 0, time.UTC)

const id = "01900000-0000-7000-8000-00000000000"

func ptr[T any](v T) *T { return &v }

// words are all that travels, every field filled.
func words() map[string]any {
	resync := ResyncRequest{RunID: id + "4", Full: true, By: "admin-1"}
	when := &domain.When{Span: domain.Span{Start: at, End: at.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}
	resolve := ResolveRequest{Action: domain.ActionMove, BookingID: id + "5", ResourceID: id + "6", When: when, Until: &at, DecisionID: id + "7", By: "admin-1", Version: 3}
	counts := IntegrationCounts{Signals: 1, Applied: 2, Ignored: 3, Dead: 4, Retried: 5, Pushed: 6, Syncs: 7}
	beat := &ProbeBeat{At: at, Targets: 1, Probes: 2, Failed: 3, Moves: 4, LagMS: 5, Busy: 6, Limit: 64, Suspects: map[domain.IntegrationID]int{id + "2": 2}}
	moved := HealthMoved{OrgID: id + "1", IntegrationID: id + "2", From: domain.HealthUp, To: domain.HealthDown, Reason: domain.HealthNoAnswer, At: at}
	progress := SyncProgress{State: domain.SyncRunning, Phase: "pull", Pages: 1, Seen: 2, Applied: 3, Unchanged: 4, Removed: 5, Proved: 6, Quarantined: 7,
		Rejected: 8, Restarts: 9, Expected: 10, StartedAt: at, PerSecond: 11.5, ETA: &at}
	config := &IntegrationConfig{Provider: "custom", State: domain.IntegrationActive, PollSeconds: 300, CanPull: true, CanWrite: true, Version: 3,
		WatchesDue: at, PullWanted: at, QuickPull: true, WorkHold: &domain.WorkHold{By: id + "b", Until: at},
		Failover: &FailoverConfig{Mode: domain.FailoverPolling, Due: at, MutedUntil: at}}
	return map[string]any{
		"deliveries_signal": DeliveriesSignal{IDs: []domain.DeliveryID{id + "1"}, More: true},
		"pushes_signal":     PushesSignal{Count: 2},
		"changed_signal":    ChangedSignal{Version: 3},
		"synced_signal":     SyncedSignal{RunID: id + "4", State: domain.SyncDone},
		"recheck_signal":    RecheckSignal{BookingID: id + "5"},
		"integration_input": IntegrationInput{OrgID: id + "1", IntegrationID: id + "2", Carried: &IntegrationCarried{Deliveries: true, Pushes: true,
			DeliveriesDue: at, PushesDue: at, NextPoll: at, Resyncs: []ResyncRequest{resync}, Runs: 2, Counts: counts, Failures: 1,
			Current: ptr(domain.SyncRunID(id + "4")), LastRun: ptr(domain.SyncRunID(id + "3")), Config: config, Rested: true}},
		"integration_status": IntegrationStatus{State: domain.IntegrationPaused, Counts: counts, DeliveriesDue: at, PushesDue: at, NextPoll: at,
			WatchesDue: at, Current: ptr(domain.SyncRunID(id + "4")), LastRun: ptr(domain.SyncRunID(id + "3")), Failures: 1, Runs: 2},
		"failover_request": FailoverRequest{To: FailoverToPolling, Cause: domain.OverByPerson, Hold: true, By: "admin-1"},
		"failover_result":  FailoverResult{Mode: domain.FailoverBegun, Moved: true},
		"pause_request":    PauseRequest{By: "admin-1"},
		"resume_request":   ResumeRequest{By: "admin-1"},
		"state_result":     StateResult{State: domain.IntegrationPaused},
		"resync_request":   resync,
		"resync_result":    ResyncResult{RunID: id + "4", WorkflowID: SyncWorkflowID(id + "4"), Queued: 1},
		"sync_input":       SyncInput{OrgID: id + "1", IntegrationID: id + "2", RunID: id + "4", Full: true, By: "admin-1", Carried: &progress},
		"sync_progress":    progress,
		"conflict_input": ConflictInput{OrgID: id + "1", ConflictID: id + "8", WeddingDate: "2027-06-12", Severity: domain.SeverityHigh,
			Carried: &ConflictCarried{State: domain.ConflictResolving, Reminders: 2, NextAlarm: at, RemindAt: at, Pending: &resolve, Recheck: true}},
		"conflict_status": ConflictStatus{State: domain.ConflictOpen, Severity: domain.SeverityHigh, Step: "waiting for a decision", Reminders: 2, NextAlarm: at,
			DeadlineAt: at, Escalated: true, IgnoredUntil: at, Decided: "admin-1 decided cancel"},
		"resolve_request": resolve,
		"resolve_result":  ResolveResult{State: domain.ConflictResolving},
		"subscription_input": SubscriptionInput{OrgID: id + "1", SubscriptionID: id + "9", Carried: &SubscriptionCarried{Work: true, Check: true,
			RetryAt: at, Runs: 2, Failures: 1, Counts: SubscriptionCounts{Wakes: 1, Sent: 2, Failed: 3, Tests: 4}}},
		"subscription_status": SubscriptionStatus{State: domain.SubscriptionActive, Counts: SubscriptionCounts{Wakes: 1, Sent: 2, Failed: 3, Tests: 4},
			RetryAt: at, Failures: 1, Runs: 2},
		"wake_signal":                 WakeSignal{Changed: true},
		"subscription_resume_request": SubscriptionResumeRequest{By: "admin-1", FromNow: true},
		"subscription_state_result":   SubscriptionStateResult{State: domain.SubscriptionPaused},
		"test_request":                TestRequest{ID: id + "a", By: "admin-1"},
		"test_result":                 TestResult{Delivered: true, Status: 204, Error: "e", TookMillis: 12, MessageID: "msg_1"},
		"replay_input": ReplayInput{OrgID: id + "1", ReplayID: id + "9", Carried: &ReplayProgress{State: domain.ReplayPaused, DryRun: true, Rate: 50,
			Total: 4, Seen: 3, Replayed: 2, Skipped: 1, Pages: 5}},
		"replay_progress":     ReplayProgress{State: domain.ReplayDone, DryRun: true, Rate: 50, Total: 4, Seen: 3, Replayed: 2, Skipped: 1, Pages: 5},
		"cancel_request":      CancelRequest{By: "admin-1"},
		"replay_state_result": ReplayStateResult{State: domain.ReplayCancelled},
		"timeline_input":      TimelineInput{OrgID: id + "1", BookingID: id + "7"},
		"wedding_input":       WeddingInput{OrgID: id + "1", BookingID: id + "7"},
		"wedding_status": WeddingStatus{State: domain.CareFrozen, Date: "2027-06-12", Preflight: domain.CheckAttention, FreezeAt: at, DayFrom: at, DayUntil: at,
			NextAt: at},
		"hold_input":    HoldInput{OrgID: id + "1", BookingID: id + "7"},
		"hold_status":   HoldStatus{State: domain.HoldLive, ExpiresAt: at},
		"onboard_input": OnboardInput{OrgID: id + "1", IntegrationID: id + "2", Carried: &OnboardCarried{Runs: 2, Tries: 3}},
		"onboard_status": OnboardStatus{OnboardingID: id + "3", State: domain.OnboardingWaiting, Step: domain.OnboardProbe, Attempt: 2, Kind: domain.KindInvalid,
			RunID: id + "4", RetryAt: at, Runs: 2},
		"onboard_resume_request": OnboardResumeRequest{By: "admin-1", AllowDuplicate: true},
		"notify_input": NotifyInput{OrgID: id + "1", Carried: &NotifyCarried{Plan: true, DueAt: at, LookAt: at, RetryAt: at, Runs: 2, Failures: 1,
			Counts: NotifyCounts{Wakes: 1, Facts: 2, Added: 3, Sent: 4, Failed: 5, Suppressed: 6}}},
		"notify_status": NotifyStatus{Counts: NotifyCounts{Wakes: 1, Facts: 2, Added: 3, Sent: 4, Failed: 5, Suppressed: 6}, DueAt: at, LookAt: at, Sending: true,
			Failures: 1, Runs: 2},
		"probe_input":   ProbeInput{Shard: 3, Carried: &ProbeCarried{Runs: 2, Failures: 1, RetryAt: at, Beat: beat, Moves: 4, Recent: []HealthMoved{moved}}},
		"probe_status":  ProbeStatus{Shard: 3, Running: true, Moves: 4, Recent: []HealthMoved{moved}, Beat: beat, Failures: 1, Runs: 2},
		"probe_beat":    *beat,
		"health_signal": HealthSignal{Moves: []HealthMoved{moved}, More: 5},
		"alerts_input": AlertsInput{OrgID: id + "1", Carried: &AlertsCarried{Woken: true, LookAt: at, LookedAt: at, Runs: 2, Failures: 1,
			Counts: AlertsCounts{Wakes: 1, Looks: 2, Changed: 3, Told: 4}}},
		"maintenance_input": MaintenanceInput{OrgID: id + "1", MaintenanceID: id + "b", Carried: &MaintenanceCarried{Runs: 2, Failures: 1, RetryAt: at}},
		"maintenance_status": MaintenanceStatus{State: domain.MaintenanceReplaying, StartsAt: at, EndsAt: at, DueAt: at, Connections: 1, Held: 2, Left: 3, Failures: 4, Runs: 5,
			Version: 6},
		"approve_request":    ApproveRequest{By: "admin-1", ShortNotice: true},
		"reschedule_request": RescheduleRequest{By: "admin-1", StartsAt: at, EndsAt: at, ShortNotice: true, Version: 3},
		"alerts_status":      AlertsStatus{Counts: AlertsCounts{Wakes: 1, Looks: 2, Changed: 3, Told: 4}, Watched: 5, Open: 6, LookAt: at, LookedAt: at, Failures: 1, Runs: 2},
	}
}

// TestFieldNamesStay holds the JSON of everything that running workflows have in their histories. A change here breaks
// them unless old names are still read.
func TestFieldNamesStay(t *testing.T) {
	t.Parallel()
	all := words()
	for name, value := range all {
		file := filepath.Join("testdata", name+".json")
		got, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%s has no golden file: %v", name, err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is written otherwise than before (-was +is):\n%s", name, diff)
		}
		back := reflect.New(reflect.TypeOf(value))
		d := json.NewDecoder(bytes.NewReader(want))
		d.DisallowUnknownFields()
		if err := d.Decode(back.Interface()); err != nil {
			t.Errorf("read %s: %v", name, err)
		}
		if diff := cmp.Diff(value, back.Elem().Interface()); diff != "" {
			t.Errorf("%s does not come back as it was:\n%s", name, diff)
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(all) {
		t.Errorf("%d golden files for %d words", len(files), len(all))
	}
}

// TestGoldenFilesFillEveryField keeps a new field from slipping past its golden file as a zero value.
func TestGoldenFilesFillEveryField(t *testing.T) {
	t.Parallel()
	var check func(name string, v reflect.Value)
	check = func(name string, v reflect.Value) {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || v.Type() == reflect.TypeOf(at) {
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is empty in its golden value", name, f.Name)
				continue
			}
			check(name+"."+f.Name, v.Field(i))
		}
	}
	for name, value := range words() {
		check(name, reflect.ValueOf(value))
	}
}

func TestNamesOnTheWireStay(t *testing.T) {
	t.Parallel()
	got := strings.Join([]string{IntegrationWorkflow, SyncWorkflow, ConflictWorkflow, ReplayWorkflow, UpdateCancel, ReplayWorkflowID("r"), strings.Join(Queues(), " "), SignalDeliveries, SignalPushes, SignalChanged,
		SignalSynced, SignalRecheck, UpdatePause, UpdateResume, UpdateResync, UpdateResolve, QueryStatus, QueryProgress,
		IntegrationWorkflowID("i"), SyncWorkflowID("s"), ConflictWorkflowID("c"), AttrOrg, AttrIntegration, AttrProvider, AttrState, AttrWeddingDate,
		SubscriptionWorkflow, SignalWake, UpdateTest, SubscriptionWorkflowID("n"), TimelineWorkflow, SignalFollow, TimelineWorkflowID("b"),
		HoldWorkflow, SignalHold, HoldWorkflowID("b"), NotifyWorkflow, NotifyWorkflowID("o"), ProbeWorkflow, SignalHealth, ProbeWorkflowID(3),
		OnboardWorkflow, SignalOnboarding, OnboardWorkflowID("i"),
		AlertsWorkflow, AlertsWorkflowID("o"),
		MaintenanceWorkflow, UpdateApprove, UpdateReschedule, MaintenanceWorkflowID("m"),
		WeddingWorkflow, SignalWedding, WeddingWorkflowID("b")}, " ")
	const want = "Integration Sync Conflict Replay Cancel replay/r wedsync-core wedsync-sync wedsync-push wedsync-broadcast wedsync-probe deliveries pushes changed synced recheck Pause Resume Resync Resolve " +
		"status progress integration/i sync/s conflict/c WedsyncOrg WedsyncIntegration WedsyncProvider WedsyncState WedsyncWeddingDate " +
		"Subscription wake Test subscription/n Timeline follow timeline/b Hold hold hold/b Notify notify/o Probe health probe/3 Onboard onboarding onboard/i Alerts alerts/o Maintenance Approve Reschedule maintenance/m Wedding wedding wedding/b"
	if got != want {
		t.Errorf("names are\n%s\nwant\n%s", got, want)
	}
	if n := len(SearchAttributes()); n != 5 {
		t.Errorf("%d search attributes", n)
	}
}

func TestWorkflowIDsAreReadBack(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct {
		kind, id string
		ok       bool
	}{
		IntegrationWorkflowID(id + "1"): {"integration", id + "1", true},
		SyncWorkflowID(id + "1"):        {"sync", id + "1", true},
		"sync/":                         {},
		"sync/1":                        {},
		"":                              {},
		id + "1":                        {},
	} {
		if kind, got, ok := ParseWorkflowID(s); kind != want.kind || got != want.id || ok != want.ok {
			t.Errorf("%q: %q %q %v", s, kind, got, ok)
		}
	}
}
