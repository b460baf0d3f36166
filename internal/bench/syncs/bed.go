package syncs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// bed is what a run works on.
type bed struct {
	o       Options
	dir     string
	servers *devstack.Stack
	ring    *vault.Keyring
	db      *store.Store
	flow    *flow.Client
	owner   *pgx.Conn
	worker  *workerProcess
	dav     *radicale
	front   *front // before dav
	end     []func()
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	// What is missing is said before anything is started.
	for _, program := range []string{"radicale", "vdirsyncer"} {
		if _, err := find(program); err != nil {
			return nil, err
		}
	}
	if b.dir, err = os.MkdirTemp(o.Dir, "wedsync-bench-sync-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	b.end = append(b.end, func() { _ = os.RemoveAll(b.dir) }) // a leftover in the temporary folder does no harm
	if b.servers, err = devstack.Start(ctx, devstack.Options{DataDir: o.Dir, Ephemeral: true, Private: true, Log: o.Say,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes()}}); err != nil {
		return nil, err
	}
	b.end = append(b.end, func() { _ = b.servers.Stop(context.WithoutCancel(ctx)) }) // its files are thrown away
	if _, err := store.Migrate(ctx, b.servers.DatabaseURL()); err != nil {
		return nil, err
	}
	if b.ring, err = vault.ParseKeys(vault.GenerateKey()); err != nil {
		return nil, err
	}
	if b.db, err = store.Open(ctx, b.servers.DatabaseURL(), b.ring, store.Options{AppName: "bench"}); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.db.Close)
	if b.flow, err = flow.New(flow.Options{Address: b.servers.TemporalAddress(), Ring: b.ring, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.flow.Close)
	if b.owner, err = pgx.Connect(ctx, b.servers.DatabaseURL()); err != nil {
		return nil, fmt.Errorf("connect to look at the outcome: %w", err)
	}
	b.end = append(b.end, func() { _ = b.owner.Close(context.WithoutCancel(ctx)) }) // nothing is pending on it
	if b.dav, err = startRadicale(ctx, b.dir); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.dav.stop)
	b.front = newFront(passOn(b.dav.address))
	b.end = append(b.end, b.front.server.Close)
	if b.worker, err = b.startWorker(ctx); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.worker.stop)
	return b, nil
}

func (b *bed) close() {
	for i := len(b.end) - 1; i >= 0; i-- {
		b.end[i]()
	}
}

// target is a connection to a calendar, in an organisation of its own.
type target struct {
	org         domain.OrgID
	integration domain.IntegrationID
	front       *front
	server      int                   // process of the calendar's server; 0 when it is this one
	id          func(e *entry) string // how the connection names an entry
}

func (b *bed) connect(ctx context.Context, provider string, settings json.RawMessage, secrets map[string]string) (target, error) {
	now := time.Now().UTC()
	t := target{org: domain.NewID[domain.OrgID](now), integration: domain.NewID[domain.IntegrationID](now)}
	if err := b.db.CreateOrganization(ctx, domain.Organization{ID: t.org, Name: "Studio", Zone: home}, "system:bench"); err != nil {
		return t, err
	}
	return t, b.db.Tenant(ctx, t.org, func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: home, Capacity: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		return tx.CreateIntegration(ctx, domain.Integration{ID: t.integration, OrgID: t.org, Name: "Diary", Provider: provider, State: domain.IntegrationActive,
			Direction: domain.DirectionImport, ResourceID: r.ID, Settings: settings}, secrets)
	})
}

// outcome is what a sync cost.
type outcome struct {
	took           time.Duration
	requests       int64
	heap           float64       // the worker's highest, MiB
	worker, server time.Duration // processor time
}

// sync lets the worker sync, as a poll does.
func (b *bed) sync(ctx context.Context, t target) (outcome, error) {
	if err := b.worker.reset(); err != nil {
		return outcome{}, err
	}
	requests, used := t.front.count.Load(), processorOf(t.server)
	run := domain.NewID[domain.SyncRunID](time.Now())
	began := time.Now()
	w, err := b.flow.Temporal().ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: contract.SyncWorkflowID(run), TaskQueue: contract.QueueCore,
		WorkflowTaskTimeout: flow.TaskTimeout}, contract.SyncWorkflow,
		contract.SyncInput{OrgID: t.org, IntegrationID: t.integration, RunID: run, By: "schedule"})
	if err != nil {
		return outcome{}, fmt.Errorf("start sync: %w", err)
	}
	var p contract.SyncProgress
	if err := w.Get(ctx, &p); err != nil {
		return outcome{}, fmt.Errorf("sync: %w", err)
	}
	out := outcome{took: time.Since(began), requests: t.front.count.Load() - requests, server: processorOf(t.server) - used}
	if p.State != domain.SyncDone || p.Rejected > 0 || p.Restarts > 0 || p.Quarantined > 0 {
		return out, fmt.Errorf("the sync ended as %s with %d rejected, %d held and %d restarts", p.State, p.Rejected, p.Quarantined, p.Restarts)
	}
	u, err := b.worker.usage()
	out.heap, out.worker = round(float64(u.Heap)/(1<<20), 1), u.CPU
	return out, err
}
