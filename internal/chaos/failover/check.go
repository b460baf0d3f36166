package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxNotes bounds the findings told in words.
const maxNotes = 10

// book is the log of one simulator.
type book struct {
	integration domain.IntegrationID
	entries     []entry
}

// booking is what an entry became here.
type booking struct {
	id      domain.BookingID
	begin   time.Time
	gone    bool
	changes []time.Time // of the ledger, the oldest first
}

type key struct {
	integration domain.IntegrationID
	name        string
}

// world is what the tables hold at the end.
type world struct {
	entries   map[key][]booking
	bookings  int // in all
	waiting   int // webhooks that are not at their end
	dead      int
	failovers int
	caughtUp  int
	repairs   int
}

// read asks Postgres.
func (b *bed) read(ctx context.Context) (w world, err error) {
	conn, err := pgx.Connect(ctx, b.Stack.DatabaseURL())
	if err != nil {
		return w, fmt.Errorf("connect to check: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	ledger := map[domain.BookingID][]time.Time{}
	var id domain.BookingID
	var at time.Time
	rows, err := conn.Query(ctx, "SELECT booking_id::text, at FROM booking_changes ORDER BY booking_id, version")
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
			ledger[id] = append(ledger[id], at)
			return nil
		})
	}
	if err != nil {
		return w, fmt.Errorf("read the ledger: %w", err)
	}
	w.entries = map[key][]booking{}
	var k key
	var v booking
	var removed bool
	rows, err = conn.Query(ctx, `SELECT l.integration_id::text, l.external_id, b.id::text, b.starts_at, b.status = 'cancelled', l.removed_at IS NOT NULL
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id WHERE NOT l.mirror`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&k.integration, &k.name, &v.id, &v.begin, &v.gone, &removed}, func() error {
			one := v
			one.gone, one.changes = v.gone || removed, ledger[v.id]
			w.entries[k] = append(w.entries[k], one)
			return nil
		})
	}
	if err != nil {
		return w, fmt.Errorf("read bookings: %w", err)
	}
	err = conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM deliveries WHERE state IN ('received', 'retrying')),
		(SELECT count(*) FROM deliveries WHERE state = 'dead'), (SELECT count(*) FROM failover_episodes WHERE kind = 'failover'),
		(SELECT coalesce(sum(caught_up), 0) FROM failover_episodes), (SELECT count(*) FROM audit_entries WHERE action = 'integration.repair')`).
		Scan(&w.bookings, &w.waiting, &w.dead, &w.failovers, &w.caughtUp, &w.repairs)
	if err != nil {
		return w, fmt.Errorf("count what is left: %w", err)
	}
	return w, nil
}

// judge holds the logs of the simulators against the world.
func judge(books []book, w world, r *Result) {
	note := func(to *int, n int, format string, args ...any) {
		*to += n
		if len(r.Notes) < maxNotes {
			r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
		}
	}
	r.Failovers, r.CaughtUp, r.Repairs = w.failovers, w.caughtUp, w.repairs
	accounted := 0
	for _, b := range books {
		for _, e := range b.entries {
			r.Changes += len(e.states)
			have := w.entries[key{b.integration, e.name}]
			accounted += len(have)
			last := e.states[len(e.states)-1]
			switch {
			case len(have) == 0 && last.gone:
				continue // it came and went between two looks
			case len(have) == 0:
				note(&r.Lost, 1, "%s has no booking", e.name)
				continue
			case len(have) > 1:
				note(&r.Duplicated, len(have)-1, "%s has %d bookings", e.name, len(have))
				continue
			}
			v := have[0]
			switch {
			case v.gone != last.gone:
				note(&r.Lost, 1, "%s is gone: %t there, %t here", e.name, last.gone, v.gone)
			case !v.gone && !v.begin.Equal(last.begin):
				note(&r.Lost, 1, "%s begins %v here and %v there", e.name, v.begin.UTC(), last.begin.UTC())
			}
			if n := len(v.changes) - len(e.states); n > 0 {
				note(&r.Duplicated, n, "%s was changed %d times here and %d times there", e.name, len(v.changes), len(e.states))
			}
			r.MaxLag = max(r.MaxLag, lag(e, v.changes).Seconds())
		}
	}
	r.MaxLag = float64(int64(r.MaxLag*10)) / 10
	if n := w.bookings - accounted; n > 0 {
		note(&r.Duplicated, n, "%d bookings are of no entry", n)
	}
	if w.waiting+w.dead > 0 {
		note(&r.Lost, w.waiting+w.dead, "%d webhooks wait and %d are dead", w.waiting, w.dead)
	}
}

// lag is the longest time from a change to the next line of the ledger: its own, or of a later change that made it needless.
func lag(e entry, changes []time.Time) (longest time.Duration) {
	for _, s := range e.states {
		for _, at := range changes {
			if !at.Before(s.at) {
				longest = max(longest, at.Sub(s.at))
				break
			}
		}
	}
	return longest
}

// settle waits until the checker finds nothing, or ctx ends: what is left then is its to report.
func (b *bed) settle(ctx context.Context) error {
	began := time.Now()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		w, err := b.read(ctx) // an error is tried again here, and reported by the read after this
		var r Result
		if err == nil {
			if judge(b.books(), w, &r); r.Lost == 0 {
				b.o.Say(fmt.Sprintf("at rest after %v", time.Since(began).Round(100*time.Millisecond)))
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return ctx.Err()
			}
			return nil
		}
		if err := b.Alive(); err != nil {
			return err
		}
	}
}
