package store

import (
	"context"
	"errors"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestATransactionLeavesItsConnectionClean(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	boom := errors.New("boom")
	count := func(tx *Tx) (n int, err error) {
		err = tx.QueryRow(t.Context(), "SELECT count(*) FROM stream_events").Scan(&n)
		return n, err
	}
	emit := func(ctx context.Context, tx *Tx) error {
		return tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": "one"})
	}
	for name, c := range map[string]struct {
		fn   func(ctx context.Context, tx *Tx) error
		want func(error) bool
	}{
		"nothing asked": {func(context.Context, *Tx) error { return nil }, func(err error) bool { return err == nil }},
		"nothing asked, and an error": {func(context.Context, *Tx) error { return boom },
			func(err error) bool { return errors.Is(err, boom) }},
		"an error after a statement": {func(ctx context.Context, tx *Tx) error {
			_, err := count(tx)
			return errors.Join(err, boom)
		}, func(err error) bool { return errors.Is(err, boom) }},
		"a statement that the server refuses": {func(ctx context.Context, tx *Tx) error {
			_, err := tx.Exec(ctx, "SELECT 1/0")
			return err
		}, func(err error) bool { return err != nil }},
		"a refusal that nobody looked at": {func(ctx context.Context, tx *Tx) error {
			_, _ = tx.Exec(ctx, "SELECT 1/0")
			return emit(ctx, tx)
		}, func(err error) bool { return err != nil }},
		"a first batch that the server refuses": {func(ctx context.Context, tx *Tx) error {
			r := tx.Reads()
			r.b.Queue("SELECT 1/0")
			return r.Do(ctx)
		}, func(err error) bool { return err != nil }},
		"its only statements are the last": {emit, func(err error) bool { return err == nil }},
		"the caller leaves": {func(ctx context.Context, tx *Tx) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if _, err := count(tx); err != nil {
				return err
			}
			cancel()
			_, err := tx.Exec(ctx, "SELECT 1")
			return err
		}, func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			err := b.Tenant(t.Context(), org, c.fn)
			if !c.want(err) {
				t.Fatal(err)
			}
			for _, conn := range b.app.AcquireAllIdle(t.Context()) {
				if status := conn.Conn().PgConn().TxStatus(); status != 'I' {
					t.Errorf("a connection went back in state %c", status)
				}
				conn.Release()
			}
		})
	}
	// One of them was told to store an event, and one tried to after a refusal.
	b.tenant(org, func(tx *Tx) error {
		n, err := count(tx)
		if n != 1 {
			t.Errorf("%d events stored, want 1", n)
		}
		return err
	})
}
