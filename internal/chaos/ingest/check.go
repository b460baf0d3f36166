package ingest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	bench "github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/domain"
)

// maxNotes bounds the findings told in words.
const maxNotes = 10

// row is a stored delivery.
type row struct {
	id     domain.DeliveryID
	key    rowKey
	state  domain.DeliveryState
	reason string
	ends   int // live events about its end
}

type rowKey struct {
	integration domain.IntegrationID
	dedupe      [32]byte
}

// booking is what an entry became.
type booking struct {
	id         domain.BookingID
	start, end time.Time
	version    int64
}

type entryKey struct {
	integration domain.IntegrationID
	name        string
}

// world is what Postgres and the server hold at the end.
type world struct {
	rows     []row
	entries  map[entryKey][]booking // through their links
	bookings int                    // in all
	outbox   int
	held     int // workflows that the dispatcher has yet to tell something
}

// read asks Postgres and the server.
func (b *bed) read(ctx context.Context) (w world, err error) {
	conn, err := pgx.Connect(ctx, b.Stack.DatabaseURL())
	if err != nil {
		return w, fmt.Errorf("connect to check: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	w.entries = make(map[entryKey][]booking)
	var r row
	var dedupe []byte
	rows, err := conn.Query(ctx, `SELECT d.id::text, d.integration_id::text, d.dedupe, d.state, d.reason, coalesce(e.n, 0)
		FROM deliveries d LEFT JOIN (SELECT refs->>'delivery' AS id, count(*) AS n FROM stream_events
			WHERE topic IN ('delivery.applied', 'delivery.ignored', 'delivery.dead') GROUP BY 1) e ON e.id = d.id::text`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&r.id, &r.key.integration, &dedupe, &r.state, &r.reason, &r.ends}, func() error {
			if copy(r.key.dedupe[:], dedupe) != len(r.key.dedupe) {
				return fmt.Errorf("delivery %s has a key of %d bytes", r.id, len(dedupe))
			}
			w.rows = append(w.rows, r)
			return nil
		})
	}
	if err != nil {
		return w, fmt.Errorf("read deliveries: %w", err)
	}
	var k entryKey
	var v booking
	rows, err = conn.Query(ctx, `SELECT l.integration_id::text, l.external_id, b.id::text, b.starts_at, b.ends_at, b.version
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id WHERE l.removed_at IS NULL AND b.status <> 'cancelled'`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&k.integration, &k.name, &v.id, &v.start, &v.end, &v.version}, func() error {
			w.entries[k] = append(w.entries[k], v)
			return nil
		})
	}
	if err != nil {
		return w, fmt.Errorf("read bookings: %w", err)
	}
	if err := conn.QueryRow(ctx, "SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM outbox)").Scan(&w.bookings, &w.outbox); err != nil {
		return w, fmt.Errorf("count bookings and outbox: %w", err)
	}
	w.held, err = b.dispatcherHolds(ctx)
	return w, err
}

// judge holds what was sent and acknowledged against the world.
func (l *load) judge(w world, r *Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	note := func(to *int, n int, format string, args ...any) {
		*to += n
		if len(r.Notes) < maxNotes {
			r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
		}
	}
	stored := make(map[rowKey][]row, len(w.rows))
	ids := make(map[domain.DeliveryID]bool, len(w.rows))
	for _, v := range w.rows {
		stored[v.key] = append(stored[v.key], v)
		ids[v.id] = true
		switch {
		case v.state != domain.DeliveryApplied:
			note(&r.Stuck, 1, "delivery %s is %s: %s", v.id, v.state, v.reason)
		case v.ends != 1:
			note(&r.Duplicated, 1, "delivery %s took effect %d times", v.id, v.ends)
		}
	}
	explained := 0
	for _, m := range l.messages {
		key := rowKey{l.b.targets[m.entry.target].id, bench.DedupeKey(m.number)}
		have := stored[key]
		explained += len(have)
		if len(have) > 1 {
			note(&r.Duplicated, len(have)-1, "message %d is stored %d times", m.number, len(have))
		}
		m.mu.Lock()
		acks := slices.Clone(m.acks)
		m.mu.Unlock()
		if len(acks) == 0 {
			note(&r.Stuck, 1, "message %d was never acknowledged", m.number)
			continue
		}
		r.Acked++
		slices.Sort(acks)
		acks = slices.DeleteFunc(slices.Compact(acks), func(id domain.DeliveryID) bool { return id == "" })
		known := len(acks)
		if known > 1 {
			note(&r.Duplicated, known-1, "message %d was acknowledged under %d ids", m.number, known)
		}
		missing := slices.DeleteFunc(acks, func(id domain.DeliveryID) bool { return ids[id] })
		switch {
		case len(missing) > 0:
			note(&r.Lost, 1, "message %d was acknowledged as %s, which is not stored", m.number, missing[0])
		case known == 0 && len(have) == 0:
			note(&r.Lost, 1, "message %d was acknowledged and is not stored", m.number)
		}
	}
	if n := len(w.rows) - explained; n > 0 {
		note(&r.Duplicated, n, "%d rows are of no message sent", n)
	}
	accounted := 0
	for _, e := range l.entries {
		have := w.entries[entryKey{l.b.targets[e.target].id, e.name}]
		accounted += len(have)
		if len(e.sent) == 0 {
			continue
		}
		start, end := e.state(len(e.sent))
		switch {
		case len(have) == 0:
			note(&r.Lost, 1, "%s has no booking", e.name)
		case len(have) > 1:
			note(&r.Duplicated, len(have)-1, "%s has %d bookings", e.name, len(have))
		case !have[0].start.Equal(start) || !have[0].end.Equal(end):
			note(&r.Lost, 1, "%s begins %v; sent last was %v", e.name, have[0].start.UTC(), start)
		case have[0].version > int64(len(e.sent)):
			note(&r.Duplicated, 1, "%s was changed %d times by %d messages", e.name, have[0].version, len(e.sent))
		}
	}
	if n := w.bookings - accounted; n > 0 {
		note(&r.Duplicated, n, "%d bookings are of no entry sent", n)
	}
	if w.outbox > 0 {
		note(&r.Stuck, w.outbox, "%d outbox rows are left", w.outbox)
	}
	if w.held > 0 {
		note(&r.Stuck, w.held, "the dispatcher holds work for %d workflows", w.held)
	}
}
