package inbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// Outbox holds what transactions want to be told to Temporal: store.Store, or a fake in tests.
type Outbox interface {
	// ClaimOutbox takes up to limit due rows; they come back after a lease unless they are deleted.
	ClaimOutbox(ctx context.Context, limit int) ([]store.OutboxRow, error)
	DeleteOutbox(ctx context.Context, ids []int64) error
	// Listen calls fn whenever rows may have been added, until ctx ends.
	Listen(ctx context.Context, channel string, fn func()) error
}

// RelayOptions tune a Relay. The zero value of every field takes its default.
type RelayOptions struct {
	// Conflict reads what starting a conflict's workflow needs. KindNotFound drops the row: the conflict is gone.
	// Required where conflicts are detected; without it rows of that kind are left alone.
	Conflict func(ctx context.Context, org domain.OrgID, id domain.ConflictID) (contract.ConflictInput, error)
	// Every is the time between looks when no notification comes, default 1 s; Gap the least time between two looks,
	// default 20 ms, in which rows for one workflow add up.
	Every time.Duration
	Gap   time.Duration
	// Limit bounds one claim, default 500.
	Limit int
	// MaxPending bounds the rows claimed and not yet told, default 20,000.
	MaxPending int
}

func (o *RelayOptions) defaults() {
	setDefault(&o.Every, time.Second)
	setDefault(&o.Gap, 20*time.Millisecond)
	setDefault(&o.Limit, 500)
	setDefault(&o.MaxPending, 20_000)
}

// ConflictReader reads from db what [RelayOptions.Conflict] asks for.
func ConflictReader(db *store.Store) func(ctx context.Context, org domain.OrgID, id domain.ConflictID) (contract.ConflictInput, error) {
	return func(ctx context.Context, org domain.OrgID, id domain.ConflictID) (contract.ConflictInput, error) {
		in := contract.ConflictInput{OrgID: org, ConflictID: id}
		err := db.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			c, err := tx.Conflict(ctx, id)
			if err != nil {
				return err
			}
			in.Severity = c.Severity
			err = tx.QueryRow(ctx, "SELECT coalesce(to_char(wedding_date, 'YYYY-MM-DD'), '') FROM conflicts WHERE org_id = $1 AND id = $2",
				org, id).Scan(&in.WeddingDate)
			if err != nil {
				return domain.E(domain.KindUnavailable, "read the wedding date: %w", err)
			}
			return nil
		})
		return in, err
	}
}

// Relay passes outbox rows on to workflows and deletes them once they are told. A row may be told twice when a server
// dies in between, and by two servers when telling takes longer than the lease.
type Relay struct {
	db  Outbox
	d   *Dispatcher
	o   RelayOptions
	log *slog.Logger
	m   *metrics

	wake chan struct{}
	told []int64 // to delete
	bad  bool
}

func newRelay(db Outbox, d *Dispatcher, o RelayOptions, log *slog.Logger, m *metrics) *Relay {
	o.defaults()
	return &Relay{db: db, d: d, o: o, log: log, m: m, wake: make(chan struct{}, 1)}
}

func (r *Relay) run(ctx context.Context) {
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() {
		// Ends with ctx only; without notifications the looks every second go on.
		_ = r.db.Listen(ctx, store.ChannelOutbox, func() {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		})
	})
	every := time.NewTicker(r.o.Every)
	defer every.Stop()
	for {
		err := r.look(ctx)
		switch {
		case ctx.Err() != nil:
			r.last(ctx)
			return
		case err != nil && !r.bad:
			r.log.Warn("the outbox cannot be read; it goes on trying", "error", err)
		case err == nil && r.bad:
			r.log.Info("the outbox can be read again")
		}
		r.bad = err != nil
		wake := r.wake
		if err != nil {
			wake = nil // a notification does not repair storage
		}
		select {
		case <-wake:
			gap := time.NewTimer(r.o.Gap)
			select {
			case <-gap.C:
			case <-ctx.Done():
				gap.Stop()
			}
		case <-r.d.told:
		case <-every.C:
		case <-ctx.Done():
		}
	}
}

// look deletes what has been told and claims what is due.
func (r *Relay) look(ctx context.Context) error {
	if err := r.forget(ctx); err != nil {
		return err
	}
	for r.d.pendingRows() < r.o.MaxPending {
		rows, err := r.db.ClaimOutbox(ctx, r.o.Limit)
		if err != nil {
			return domain.E(domain.KindOf(err), "claim outbox: %w", err)
		}
		for i := range rows {
			r.pass(ctx, &rows[i])
		}
		if len(rows) < r.o.Limit {
			break
		}
	}
	return r.forget(ctx)
}

// forget deletes rows that have been told. Rows that cannot be deleted now are kept for the next time.
func (r *Relay) forget(ctx context.Context) error {
	r.told = append(r.told, r.d.takeDone()...)
	if len(r.told) == 0 {
		return nil
	}
	if err := r.db.DeleteOutbox(ctx, r.told); err != nil {
		// Beyond the bound they come back by their lease and are told again.
		r.told = r.told[max(0, len(r.told)-r.o.MaxPending):]
		return domain.E(domain.KindOf(err), "delete told outbox rows: %w", err)
	}
	r.m.relayed.Add(float64(len(r.told)))
	r.told = r.told[:0]
	return nil
}

// last deletes what has been told when the process is going.
func (r *Relay) last(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := r.forget(end); err != nil {
		r.log.Warn("told outbox rows stay behind; they are told again", "error", err)
	}
}

// pass adds a row to the errand of its workflow.
func (r *Relay) pass(ctx context.Context, row *store.OutboxRow) {
	rows := []int64{row.ID}
	ref := flow.IntegrationRef{Org: row.Org, ID: domain.IntegrationID(row.Target)}
	switch row.Kind {
	case store.OutboxPush:
		r.d.tellIntegration(ref, errand{pushes: 1, rows: rows, pushTraces: addTrace(nil, row.Trace)})
	case store.OutboxIntegrationChanged:
		r.d.tellIntegration(ref, errand{changed: true, rows: rows})
	case store.OutboxDelivery:
		r.d.tellIntegration(ref, errand{deliveries: true, ids: []domain.DeliveryID{domain.DeliveryID(row.Ref)}, rows: rows, traces: addTrace(nil, row.Trace)})
	case store.OutboxDeliveries:
		r.d.tellIntegration(ref, errand{deliveries: true, more: true, rows: rows, traces: addTrace(nil, row.Trace)})
	case store.OutboxReplayStart:
		r.d.startReplay(contract.ReplayInput{OrgID: row.Org, ReplayID: domain.ReplayID(row.Target)}, row.ID)
	case store.OutboxTimeline:
		r.d.followTimeline(contract.TimelineInput{OrgID: row.Org, BookingID: domain.BookingID(row.Target)}, row.ID)
	case store.OutboxHold:
		r.d.tellHold(contract.HoldInput{OrgID: row.Org, BookingID: domain.BookingID(row.Target)}, row.ID)
	case store.OutboxOnboarding:
		r.d.tellOnboarding(contract.OnboardInput{OrgID: row.Org, IntegrationID: domain.IntegrationID(row.Target)}, row.ID)
	case store.OutboxNotify:
		r.d.wakeNotify(row.Org, row.ID)
	case store.OutboxAlerts:
		r.d.wakeAlerts(row.Org, row.ID)
	case store.OutboxMaintenance:
		r.d.wakeMaintenance(contract.MaintenanceInput{OrgID: row.Org, MaintenanceID: domain.MaintenanceID(row.Target)}, row.ID)
	case store.OutboxWedding:
		r.d.tellWedding(contract.WeddingInput{OrgID: row.Org, BookingID: domain.BookingID(row.Target)}, row.ID)
	case store.OutboxConflictRecheck:
		r.d.tellConflict(row.Org, domain.ConflictID(row.Target), errand{recheck: []domain.BookingID{domain.BookingID(row.Ref)}, rows: rows})
	case store.OutboxConflictStart:
		if r.o.Conflict == nil {
			return
		}
		in, err := r.o.Conflict(ctx, row.Org, domain.ConflictID(row.Target))
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			r.told = append(r.told, row.ID)
		case err != nil:
			r.log.Warn("a new conflict cannot be read; it is tried again", "conflict", row.Target, "error", err)
		default:
			r.d.tellConflict(row.Org, in.ConflictID, errand{start: &in, rows: rows})
		}
	default:
		r.log.Error("outbox row of a kind this program does not know", "kind", string(row.Kind), "row", row.ID)
	}
}
