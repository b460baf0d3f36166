package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sharelink"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/stream"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// fakeFlow answers for Temporal. fault, when set, is the answer to everything.
type fakeFlow struct {
	store *store.Store

	mu       sync.Mutex
	fault    error
	resolved []contract.ResolveRequest
	resyncs  []contract.ResyncRequest
	sent     []contract.FailoverRequest
	told     []domain.DeliveryID
	progress *contract.SyncProgress
	wakes    int
	replays  []domain.ReplayState // asked for
}

func (f *fakeFlow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = err
}

func (f *fakeFlow) Ping(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

func (f *fakeFlow) Deliveries(_ context.Context, _ flow.IntegrationRef, s contract.DeliveriesSignal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, s.IDs...)
	return f.fault
}

// set does what the workflow's own step does.
func (f *fakeFlow) set(ctx context.Context, ref flow.IntegrationRef, state domain.IntegrationState, by string) (contract.StateResult, error) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		return contract.StateResult{}, fault
	}
	err := f.store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, ref.ID, state, string(state)+" by "+by)
		return err
	})
	return contract.StateResult{State: state}, err
}

func (f *fakeFlow) Pause(ctx context.Context, ref flow.IntegrationRef, r contract.PauseRequest) (contract.StateResult, error) {
	return f.set(ctx, ref, domain.IntegrationPaused, r.By)
}

func (f *fakeFlow) Resume(ctx context.Context, ref flow.IntegrationRef, r contract.ResumeRequest) (contract.StateResult, error) {
	return f.set(ctx, ref, domain.IntegrationActive, r.By)
}

func (f *fakeFlow) Resync(_ context.Context, _ flow.IntegrationRef, r contract.ResyncRequest) (contract.ResyncResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resyncs = append(f.resyncs, r)
	return contract.ResyncResult{RunID: r.RunID, WorkflowID: contract.SyncWorkflowID(r.RunID)}, f.fault
}

func (f *fakeFlow) Failover(_ context.Context, _ flow.IntegrationRef, r contract.FailoverRequest) (contract.FailoverResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, r)
	return contract.FailoverResult{Mode: domain.FailoverBegun, Moved: true}, f.fault
}

func (f *fakeFlow) Resolve(_ context.Context, _ domain.ConflictID, r contract.ResolveRequest) (contract.ResolveResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		return contract.ResolveResult{}, f.fault
	}
	f.resolved = append(f.resolved, r)
	return contract.ResolveResult{State: domain.ConflictResolving}, nil
}

func (f *fakeFlow) SyncProgress(context.Context, domain.SyncRunID) (contract.SyncProgress, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.progress == nil {
		return contract.SyncProgress{}, domain.E(domain.KindNotFound, "no such workflow")
	}
	return *f.progress, f.fault
}

func (f *fakeFlow) WakeSubscription(context.Context, flow.SubscriptionRef, contract.WakeSignal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wakes++
	return f.fault
}

// setSubscription does what the workflow's own step does.
func (f *fakeFlow) setSubscription(ctx context.Context, ref flow.SubscriptionRef, state domain.SubscriptionState, fromNow bool) (contract.SubscriptionStateResult, error) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		return contract.SubscriptionStateResult{}, fault
	}
	err := f.store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetSubscriptionState(ctx, ref.ID, state, "asked", fromNow)
		return err
	})
	return contract.SubscriptionStateResult{State: state}, err
}

func (f *fakeFlow) PauseSubscription(ctx context.Context, ref flow.SubscriptionRef, _ contract.PauseRequest) (contract.SubscriptionStateResult, error) {
	return f.setSubscription(ctx, ref, domain.SubscriptionPaused, false)
}

func (f *fakeFlow) ResumeSubscription(ctx context.Context, ref flow.SubscriptionRef, r contract.SubscriptionResumeRequest) (contract.SubscriptionStateResult, error) {
	return f.setSubscription(ctx, ref, domain.SubscriptionActive, r.FromNow)
}

func (f *fakeFlow) TestSubscription(_ context.Context, _ flow.SubscriptionRef, r contract.TestRequest) (contract.TestResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return contract.TestResult{Delivered: true, Status: 204, MessageID: "msg_" + string(r.ID)}, f.fault
}

func (f *fakeFlow) PauseReplay(context.Context, domain.ReplayID, contract.PauseRequest) (contract.ReplayStateResult, error) {
	return f.replayState(domain.ReplayPaused)
}

func (f *fakeFlow) ResumeReplay(context.Context, domain.ReplayID, contract.ResumeRequest) (contract.ReplayStateResult, error) {
	return f.replayState(domain.ReplayRunning)
}

func (f *fakeFlow) CancelReplay(context.Context, domain.ReplayID, contract.CancelRequest) (contract.ReplayStateResult, error) {
	return f.replayState(domain.ReplayCancelled)
}

// maintenance does what the workflow's own step does.
func (f *fakeFlow) maintenance(ctx context.Context, in contract.MaintenanceInput, d upkeep.Decision) (out contract.MaintenanceStatus, err error) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		return out, fault
	}
	err = f.store.Tenant(ctx, in.OrgID, func(ctx context.Context, tx *store.Tx) error {
		s, err := upkeep.Decide(ctx, tx, in.MaintenanceID, d)
		out = contract.MaintenanceStatus{State: s.State}
		return err
	})
	return out, err
}

func (f *fakeFlow) ApproveMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.ApproveRequest) (contract.MaintenanceStatus, error) {
	return f.maintenance(ctx, in, upkeep.Decision{Verb: upkeep.Approve, By: r.By, ShortNotice: r.ShortNotice})
}

func (f *fakeFlow) CancelMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.CancelRequest) (contract.MaintenanceStatus, error) {
	return f.maintenance(ctx, in, upkeep.Decision{Verb: upkeep.Cancel, By: r.By})
}

func (f *fakeFlow) RescheduleMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.RescheduleRequest) (contract.MaintenanceStatus, error) {
	return f.maintenance(ctx, in, upkeep.Decision{Verb: upkeep.Reschedule, By: r.By, StartsAt: r.StartsAt, EndsAt: r.EndsAt, ShortNotice: r.ShortNotice, Version: r.Version})
}

// onboarding does what the workflow's own step does.
func (f *fakeFlow) onboarding(ctx context.Context, in contract.OnboardInput, change func(o *domain.Onboarding) (bool, error)) (out contract.OnboardStatus, err error) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		return out, fault
	}
	err = f.store.Tenant(ctx, in.OrgID, func(ctx context.Context, tx *store.Tx) error {
		o, _, err := tx.ChangeOnboarding(ctx, in.IntegrationID, false, change)
		out = contract.OnboardStatus{OnboardingID: o.ID, State: o.State, Attempt: o.Attempt}
		return err
	})
	return out, err
}

func (f *fakeFlow) ResumeOnboarding(ctx context.Context, in contract.OnboardInput, r contract.OnboardResumeRequest) (contract.OnboardStatus, error) {
	return f.onboarding(ctx, in, func(o *domain.Onboarding) (bool, error) {
		o.AllowDuplicate = o.AllowDuplicate || r.AllowDuplicate
		return o.Again(), nil
	})
}

func (f *fakeFlow) CancelOnboarding(ctx context.Context, in contract.OnboardInput, _ contract.CancelRequest) (contract.OnboardStatus, error) {
	return f.onboarding(ctx, in, func(o *domain.Onboarding) (bool, error) {
		o.State = domain.OnboardingCancelling
		return true, nil
	})
}

func (f *fakeFlow) replayState(s domain.ReplayState) (contract.ReplayStateResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replays = append(f.replays, s)
	return contract.ReplayStateResult{State: s}, f.fault
}

// testProvider takes one required secret and refuses settings with "wrong" in them.
var testProvider = provider.Registration{
	Name: "plain", Title: "Plain", Doc: "A system for tests.",
	Abilities:      []provider.Ability{{Name: provider.CanList, How: "It is for tests."}},
	Limits:         []string{"It is not there."},
	SettingsSchema: json.RawMessage(`{"type":"object"}`),
	Secrets:        []provider.SecretField{{Name: "key", Doc: "the key", Required: true}, {Name: "extra", Doc: "another"}},
	Validate: func(settings json.RawMessage, _ map[string]string) error {
		if bytes.Contains(settings, []byte("wrong")) {
			return domain.Invalid("settings.mapping.title", "line 1, column 3: undeclared reference to 'wrong'")
		}
		return nil
	},
	Open: func(provider.Connection) (any, error) { return struct{}{}, nil },
}

const testIssuer = "wedsync-test"

var testKey = token.Key{ID: "t1", Secret: bytes.Repeat([]byte{7}, 32)}

// tenant is an organisation with something of everything.
type tenant struct {
	org         domain.OrgID
	resource    domain.ResourceID
	spare       domain.ResourceID
	integration domain.IntegrationID
	booking     domain.BookingID
	conflict    domain.ConflictID
	edit        domain.EditConflictID
	delivery    domain.DeliveryID
	run         domain.SyncRunID
	sub         domain.SubscriptionID
	replay      domain.ReplayID
	quarantine  domain.QuarantineID // restored, with nothing left
	venue       domain.VenueID
	recipient   domain.RecipientID

	notification domain.NotificationID

	alert   domain.AlertID
	silence domain.SilenceID

	maintenance domain.MaintenanceID // done
}

type bundle struct {
	*testing.T
	store  *store.Store
	flow   *fakeFlow
	server *Server
	hub    *stream.Hub
	log    *lockedBuffer
	url    string
	a, b   tenant
	issuer *token.Issuer
	client *http.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// setup starts a server over a database of its own, with two tenants.
func setup(t *testing.T, change ...func(*Deps)) *bundle {
	t.Helper()
	ring := storetest.Ring(t)
	b := &bundle{T: t, log: &lockedBuffer{}}
	b.store = storetest.Open(t, storetest.URL(t), ring, store.Options{MaxConns: 8, SystemMaxConns: 4})
	b.flow = &fakeFlow{store: b.store}
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.hub = stream.New(b.store, stream.Options{Logger: logger, Poll: 20 * time.Millisecond, Heartbeat: 100 * time.Millisecond})
	verifier, err := token.NewVerifier(token.Options{Issuer: testIssuer, Keys: []token.Key{testKey}})
	if err != nil {
		t.Fatal(err)
	}
	if b.issuer, err = token.NewIssuer(testIssuer, testKey); err != nil {
		t.Fatal(err)
	}
	opener := connect.New(func(string) (provider.Registration, bool) { return testProvider, true }, nil, time.Now, 0)
	d := Deps{Store: b.store, Links: sharelink.New(ring), Flow: b.flow, Holds: &holds.Desk{Store: b.store, Opener: opener}, Hub: b.hub, Tokens: verifier, Providers: []provider.Registration{testProvider}, Logger: logger,
		ApplyManual: b.applyManual, Guard: &guard.Guard{Store: b.store, Opener: opener}, Codec: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := BearerAuthorizer(verifier, time.Now, domain.RoleAdmin)(r); err != nil {
				writeProblem(w, r, err)
			}
		})}
	for _, f := range change {
		f(&d)
	}
	if b.server, err = New(d); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.hub.Run(ctx) }()
	srv := httptest.NewServer(b.server.Handler())
	b.url = srv.URL
	b.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("hub: %v", err)
		}
		srv.Close()
	})
	b.a, b.b = b.tenant(), b.tenant()
	return b
}

func (b *bundle) applyManual(ctx context.Context, org domain.OrgID, actor string, m ManualChange) (out domain.Booking, conflicts []domain.Conflict, err error) {
	err = b.store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		want := domain.Booking{ID: m.ID, OrgID: org}
		was, err := tx.Booking(ctx, m.ID)
		switch {
		case err == nil && was.Version != m.ExpectVersion:
			return domain.E(domain.KindConflict, "the booking has version %d", was.Version)
		case err == nil:
			want = was
		case domain.KindOf(err) != domain.KindNotFound || m.ExpectVersion != 0:
			return err
		}
		want.ResourceID, want.Category, want.Status, want.When = m.ResourceID, m.Category, m.Status, m.When
		want.Details, want.Private, want.Free = m.Details, m.Private, m.Free
		r, err := apply.Manual(ctx, tx, want, actor, m.Reason)
		if err != nil {
			return err
		}
		conflicts = r.Conflicts()
		out, err = tx.Booking(ctx, m.ID)
		return err
	})
	return out, conflicts, err
}

// applyChanges applies a change and returns its booking.
func applyChanges(ctx context.Context, tx *store.Tx, from domain.Integration, c domain.Change) (domain.BookingID, error) {
	r, err := apply.Changes(ctx, tx, from, []domain.Change{c})
	if err != nil {
		return "", err
	}
	return r.Outcomes[0].BookingID, nil
}

// nextSaturday is far enough ahead for nothing to be in the past.
func nextSaturday() time.Time {
	d := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 6, 0)
	return d.AddDate(0, 0, int(time.Saturday-d.Weekday()+7)%7)
}

func (b *bundle) tenant() tenant {
	b.Helper()
	now := time.Now()
	x := tenant{org: domain.NewID[domain.OrgID](now), resource: domain.NewID[domain.ResourceID](now), spare: domain.NewID[domain.ResourceID](now),
		integration: domain.NewID[domain.IntegrationID](now), delivery: domain.NewID[domain.DeliveryID](now), run: domain.NewID[domain.SyncRunID](now),
		sub: domain.NewID[domain.SubscriptionID](now), replay: domain.NewID[domain.ReplayID](now)}
	ctx := b.Context()
	b.must(b.store.CreateOrganization(ctx, domain.Organization{ID: x.org, Name: "Lens & Light", Zone: "Europe/London"}, "system:test"))
	b.must(b.store.Tenant(ctx, x.org, func(ctx context.Context, tx *store.Tx) error {
		for _, r := range []domain.Resource{{ID: x.resource, Name: "Photographer One"}, {ID: x.spare, Name: "Photographer Two"}} {
			r.Kind, r.Zone, r.Capacity, r.OneWeddingADay = domain.ResourcePerson, "Europe/London", 1, true
			if err := tx.CreateResource(ctx, r); err != nil {
				return err
			}
		}
		if err := tx.CreateIntegration(ctx, domain.Integration{ID: x.integration, Name: "Studio CRM", Provider: "plain", Direction: domain.DirectionImport,
			ResourceID: x.resource, StateReason: "created"}, map[string]string{"key": "very-secret-value"}); err != nil {
			return err
		}
		if _, _, err := tx.CreateReplay(ctx, domain.Replay{ID: x.replay, Rate: 50, RequestedBy: "test", Reason: "test"}); err != nil {
			return err
		}
		q, _, _, err := tx.Hold(ctx, store.NewHold{Integration: x.integration, Cause: domain.Cause{Kind: domain.CauseSettings, ID: string(x.integration)}, Reason: "test"})
		if err != nil {
			return err
		}
		if _, _, err := tx.DecideQuarantine(ctx, q.ID, domain.QuarantineRestored, "test", "test"); err != nil {
			return err
		}
		x.quarantine = q.ID
		x.recipient, x.notification = domain.NewID[domain.RecipientID](now), domain.NewID[domain.NotificationID](now)
		if err := tx.CreateRecipient(ctx, domain.Recipient{ID: x.recipient, Name: "Planner Pia", Zone: "Europe/London", CreatedBy: "test",
			Addresses: domain.NotifyAddresses{Email: "pia@example.com"}}, newSecret(now).Secret); err != nil {
			return err
		}
		if _, err := tx.AddNotification(ctx, domain.Notification{ID: x.notification, RecipientID: x.recipient, Channel: domain.ChannelEmail, Kind: domain.NotifyReconnect,
			Severity: domain.SeverityHigh, Subject: "integration/" + string(x.integration), Fact: "test", State: domain.NotificationSent}); err != nil {
			return err
		}
		x.alert, x.silence = domain.NewID[domain.AlertID](now), domain.NewID[domain.SilenceID](now)
		if err := tx.SaveAlert(ctx, domain.Alert{ID: x.alert, Kind: domain.AlertConnection, Scope: domain.Scope{Kind: domain.ScopeIntegration, Target: string(x.integration)},
			State: domain.AlertOpen, Severity: domain.SeverityHigh, Technical: domain.SeverityHigh, Reason: "down", OpenedAt: now}, true, "opened"); err != nil {
			return err
		}
		if _, err := tx.CreateSilence(ctx, domain.Silence{ID: x.silence, Scope: domain.Scope{Kind: domain.ScopePlatform, Target: "custom"}, StartsAt: now, EndsAt: now.Add(time.Hour),
			Zone: "UTC", Reason: "test", CreatedBy: "test"}); err != nil {
			return err
		}
		x.maintenance = domain.NewID[domain.MaintenanceID](now)
		if _, err := tx.SaveMaintenance(ctx, domain.Maintenance{ID: x.maintenance, Scopes: []domain.Scope{{Kind: domain.ScopeOrganization}}, StartsAt: now.Add(-2 * time.Hour),
			EndsAt: now.Add(-time.Hour), State: domain.MaintenanceDone, Approval: domain.ApprovalByPerson, Reason: "test", RequestedBy: "test", EndedAt: &now}, true, ""); err != nil {
			return err
		}
		x.venue = domain.NewID[domain.VenueID](now)
		if err := tx.CreateVenue(ctx, domain.Venue{ID: x.venue, Name: "Hall of " + string(x.venue), Point: domain.Point{Lat: 51, Lon: -2}}); err != nil {
			return err
		}
		key := newSecret(now)
		if err := tx.CreateSubscription(ctx, domain.Subscription{ID: x.sub, URL: "https://receiver.example/" + string(x.sub), CreatedBy: "test"}, []store.SubscriptionKey{key}); err != nil {
			return err
		}
		_, _, err = tx.StartSyncRun(ctx, domain.SyncRun{ID: x.run, IntegrationID: x.integration, RequestedBy: "schedule"})
		return err
	}))
	at := nextSaturday()
	book := func(category domain.Category, from, to int, title string) domain.BookingID {
		id := domain.NewID[domain.BookingID](time.Now())
		_, conflicts, err := b.applyManual(ctx, x.org, "system:test", ManualChange{ID: id, ResourceID: x.resource, Category: category, Status: domain.StatusConfirmed,
			When:    domain.When{Span: domain.Span{Start: at.Add(time.Duration(from) * time.Hour), End: at.Add(time.Duration(to) * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
			Details: domain.Details{Title: title}, Reason: "test"})
		b.must(err)
		for _, c := range conflicts {
			x.conflict = c.ID
		}
		return id
	}
	book(domain.CategoryWedding, 10, 20, "Wedding of Ada")
	x.booking = book(domain.CategoryConsultation, 14, 15, "Coffee with Bo")
	if x.conflict == "" {
		b.Fatal("two bookings at one time made no conflict")
	}
	b.must(b.store.Tenant(ctx, x.org, func(ctx context.Context, tx *store.Tx) error {
		if err := careFor(ctx, tx, x.booking, x.resource); err != nil {
			return err
		}
		x.edit = domain.NewID[domain.EditConflictID](tx.Now)
		return tx.StoreEffects(ctx, store.Effects{Edits: []domain.EditConflict{{ID: x.edit, IntegrationID: x.integration, BookingID: x.booking, ExternalID: "e",
			Kind: domain.EditRemoved, State: domain.EditOpen, There: domain.Change{Op: domain.OpRemove, ExternalID: "e"}, DetectedAt: tx.Now, UpdatedAt: tx.Now}}})
	}))
	_, err := b.store.InsertDeliveries(ctx, []store.NewDelivery{{ID: x.delivery, OrgID: x.org, IntegrationID: x.integration, Dedupe: [32]byte{1}, Size: 5,
		ReceivedAt: time.Now(), Content: b.store.SealDelivery(x.org, x.delivery, map[string]string{"content-type": "application/json"}, []byte(`{"a"}`))}})
	b.must(err)
	return x
}

func (b *bundle) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) token(org domain.OrgID, role domain.Role) string {
	b.Helper()
	raw, err := b.issuer.Mint(token.Grant{Org: org, Role: role, Subject: string(role) + "@example.test"}, time.Hour, time.Now())
	b.must(err)
	return raw
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("read %s: %v", r.body, err)
	}
}

type option func(*http.Request)

func header(k, v string) option { return func(r *http.Request) { r.Header.Set(k, v) } }

// do sends a request as somebody; raw is a token or "".
func (b *bundle) do(method, path, raw, body string, opts ...option) reply {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, strings.NewReader(body))
	b.must(err)
	if raw != "" {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, o := range opts {
		o(req)
	}
	res, err := b.client.Do(req)
	b.must(err)
	defer func() { b.must(res.Body.Close()) }()
	r := reply{status: res.StatusCode, header: res.Header}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return r // has no end
	}
	r.body, err = io.ReadAll(res.Body)
	b.must(err)
	return r
}

// problem checks that r is a problem of a status and code, and returns it.
func (r reply) problem(t testing.TB, status int, code string) Problem {
	t.Helper()
	var p Problem
	if r.status != status || r.header.Get("Content-Type") != problemType {
		t.Fatalf("got %d %s %s, want problem %d", r.status, r.header.Get("Content-Type"), r.body, status)
	}
	r.into(t, &p)
	if p.Status != status || p.Code != code || p.Title == "" || p.Type != "/docs#problem-"+code || p.RequestID == "" {
		t.Fatalf("problem %+v, want code %s and a request id", p, code)
	}
	return p
}
