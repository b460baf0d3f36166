package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// downSignals is a Temporal that can be up or down.
type downSignals struct {
	mu   sync.Mutex
	down bool
	ids  []domain.DeliveryID
}

func (s *downSignals) Deliveries(_ context.Context, _ flow.IntegrationRef, sig contract.DeliveriesSignal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return domain.E(domain.KindUnavailable, "Temporal is down")
	}
	s.ids = append(s.ids, sig.IDs...)
	return nil
}
func (*downSignals) Pushes(context.Context, flow.IntegrationRef, contract.PushesSignal) error {
	return nil
}
func (*downSignals) Changed(context.Context, flow.IntegrationRef, contract.ChangedSignal) error {
	return nil
}
func (*downSignals) StartReplay(context.Context, contract.ReplayInput) error { return nil }
func (*downSignals) TellHold(context.Context, contract.HoldInput) error      { return nil }

func (*downSignals) TellWedding(context.Context, contract.WeddingInput) error    { return nil }
func (*downSignals) TellOnboarding(context.Context, contract.OnboardInput) error { return nil }

func (*downSignals) FollowTimeline(context.Context, contract.TimelineInput) error { return nil }
func (*downSignals) WakeNotify(context.Context, domain.OrgID) error               { return nil }
func (*downSignals) WakeAlerts(context.Context, domain.OrgID) error               { return nil }
func (*downSignals) WakeMaintenance(context.Context, contract.MaintenanceInput) error {
	return nil
}
func (*downSignals) StartConflict(context.Context, contract.ConflictInput) error { return nil }
func (*downSignals) RecheckConflict(context.Context, domain.ConflictID, contract.RecheckSignal) error {
	return nil
}

func (s *downSignals) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *downSignals) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func TestAThousandCopiesOverRealPostgresAreOneRowWhichIsSignalledWhenTemporalReturns(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.Options{})
	now := time.Now()
	org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: "Studio", Zone: "UTC", CreatedAt: now}
	resource := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC",
		Capacity: 1, CreatedAt: now, UpdatedAt: now, Version: 1}
	id := domain.NewID[domain.IntegrationID](now)
	if err := db.CreateOrganization(t.Context(), org, "system:test"); err != nil {
		t.Fatalf("create organisation: %v", err)
	}
	err := db.Tenant(t.Context(), org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.CreateResource(ctx, resource), tx.CreateIntegration(ctx, domain.Integration{ID: id, Name: "CRM", Provider: "custom",
			Direction: domain.DirectionImport, ResourceID: resource.ID, Settings: crmsim.MinimalWebhookSettings()},
			map[string]string{"webhook_secret": intakeSecret}))
	})
	if err != nil {
		t.Fatalf("create integration: %v", err)
	}
	signals := &downSignals{down: true}
	box, err := inbox.New(inbox.Deps{Store: db, Signals: signals, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("make inbox: %v", err)
	}
	in, err := NewIntake(IntakeDeps{Record: db.IntakeRecord, Versions: db.IntegrationVersions, Provider: intakeProvider,
		Seal: db.SealDelivery, Put: box.Writer.Put, Log: slog.New(slog.DiscardHandler), Limits: IntakeLimits{InFlight: 2000}})
	if err != nil {
		t.Fatalf("make intake: %v", err)
	}
	e := echo.New()
	e.POST("/v1/webhooks/:integration", in.Handle)
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)

	const copies = 1000
	got := make([]receipt, copies)
	var all sync.WaitGroup
	turn := make(chan struct{}, 200) // connections at once
	for i := range copies {
		req := signedHook(t, s.URL+"/v1/webhooks/"+string(id), "msg_same", `{"type":"event.created"}`, now)
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			var err error
			if got[i], err = tryPost(req); err != nil {
				t.Errorf("copy %d: %v", i, err)
			}
		})
	}
	all.Wait()
	accepted := 0
	for i, r := range got {
		if r.ID == "" || r.ID != got[0].ID || r.Status != http.StatusAccepted && r.Status != http.StatusOK {
			t.Errorf("copy %d: %+v; want 200 or 202 with id %s", i, r, got[0].ID)
		}
		if r.Status == http.StatusAccepted {
			accepted++
		}
	}
	var waiting []domain.RawDelivery
	err = db.Tenant(t.Context(), org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		waiting, err = tx.WaitingDeliveries(ctx, id, 10)
		return err
	})
	if err != nil || accepted != 1 || len(waiting) != 1 || waiting[0].ID != got[0].ID ||
		string(waiting[0].Body) != `{"type":"event.created"}` || waiting[0].Headers["webhook-id"] != "msg_same" {
		t.Errorf("%d accepted, %d rows, %v; want one of each, as sent", accepted, len(waiting), err)
	}
	if signals.seen() != 0 {
		t.Error("signalled while Temporal was down")
	}
	signals.set(false)
	for deadline := time.Now().Add(30 * time.Second); signals.seen() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not signalled within 30 s of Temporal's return")
		}
	}
	if err := errors.Join(in.Drain(t.Context()), box.Drain(t.Context())); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := signals.seen(); n != 1 {
		t.Errorf("%d ids signalled; want 1", n)
	}
}
