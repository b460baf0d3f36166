package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

// maxTries bounds how often one transaction is run.
const maxTries = 5

// Tx is one transaction of one tenant. It belongs to the goroutine that runs the function given to [Store.Tenant], and
// must not be kept.
type Tx struct {
	*session
	Org domain.OrgID
	Now time.Time // one instant for the whole transaction; UTC, whole microseconds

	sealer *vault.Sealer
	events []domain.Event
	audits []domain.AuditEntry
	head   *auditHead // once it was locked along with other statements
	outbox []outboxLine
}

// Tenant runs fn in a transaction that sees and writes rows of org only, at READ COMMITTED, and commits when fn returns
// nil. fn is run again, up to 5 times with a short random pause, when the server reports a deadlock or a serialisation
// failure, so it must not do anything that a rollback does not undo. fn's error is returned with its kind.
func (s *Store) Tenant(ctx context.Context, org domain.OrgID, fn func(ctx context.Context, tx *Tx) error) error {
	return s.tenant(ctx, org, "begin isolation level read committed read write", fn)
}

// TenantRead is [Store.Tenant] for reading only: a write is an error.
func (s *Store) TenantRead(ctx context.Context, org domain.OrgID, fn func(ctx context.Context, tx *Tx) error) error {
	return s.tenant(ctx, org, "begin isolation level read committed read only", fn)
}

// tenantSnapshot is TenantRead with one snapshot for all statements.
func (s *Store) tenantSnapshot(ctx context.Context, org domain.OrgID, fn func(ctx context.Context, tx *Tx) error) error {
	return s.tenant(ctx, org, "begin isolation level repeatable read read only", fn)
}

func (s *Store) tenant(ctx context.Context, org domain.OrgID, begin string, fn func(ctx context.Context, tx *Tx) error) error {
	if _, ok := domain.ParseUUID(string(org)); !ok {
		return domain.Invalid("org_id", "must be a UUID in lower-case canonical form (36 characters)")
	}
	for try := 1; ; try++ {
		err := s.tenantOnce(ctx, org, begin, fn)
		if err == nil || try == maxTries || !repeatable(err) {
			return err
		}
		if err := pause(ctx, time.Duration(try)*time.Duration(2+rand.IntN(8))*time.Millisecond); err != nil {
			return fault("repeat transaction", err)
		}
	}
}

func (s *Store) tenantOnce(ctx context.Context, org domain.OrgID, begin string, fn func(ctx context.Context, tx *Tx) error) error {
	conn, err := s.app.Acquire(ctx)
	if err != nil {
		return fault("begin transaction", err)
	}
	tx := &Tx{session: &session{conn: conn, begin: begin, org: string(org)}, Org: org, Now: s.timestamp(), sealer: s.ring.Org(string(org))}
	defer tx.end(ctx)
	if err := fn(ctx, tx); err != nil {
		return safe(err)
	}
	return tx.finish(ctx)
}

// finish writes what the transaction has gathered and commits, in one round trip: outbox, audit trail, live events, and
// the notification. The audit head is locked here and not earlier, so that transactions of one tenant queue behind each
// other only for their last moment.
func (tx *Tx) finish(ctx context.Context) error {
	b, err := tx.gathered(ctx)
	if err != nil {
		return err
	}
	return fault("write outbox, audit trail and live events, and commit", tx.commit(ctx, b))
}

func (tx *Tx) gathered(ctx context.Context) (*pgx.Batch, error) {
	b := &pgx.Batch{}
	// Alerts rest on health, whoever moves it.
	if slices.ContainsFunc(tx.events, func(e domain.Event) bool { return e.Topic == domain.TopicHealthChanged }) {
		if err := tx.WakeAlerts(ctx); err != nil {
			return nil, err
		}
	}
	tx.queueOutbox(b)
	tx.queueFacts(b)
	if err := tx.queueAudit(ctx, b); err != nil {
		return nil, err
	}
	tx.queueEvents(b)
	return b, nil
}

// safe keeps an error of fn as it is unless it carries a server error that was not translated, whose text may quote
// values.
func safe(err error) error {
	var known *domain.Error
	var server *pgconn.PgError
	if !errors.As(err, &known) && errors.As(err, &server) {
		return fault("in transaction", err)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// inSystem runs fn in one transaction of the system role.
func (s *Store) inSystem(ctx context.Context, doing string, fn func(tx pgx.Tx) error) error {
	return fault(doing, pgx.BeginFunc(ctx, s.system, fn))
}
