package syncs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// place is where an occurrence is found again: the entry that it is of, and when it begins.
type place struct {
	entry string
	start int64
}

// row is a booking as it is stored.
type row struct {
	external string
	booking  domain.BookingID
	start    time.Time
	end      time.Time
	kind     domain.TimeKind
	version  int64
}

// compare adds to the result what differs between a calendar and the bookings made of it. ch is what changed since the
// first sync: nothing else may have been touched.
func (b *bed) compare(ctx context.Context, r *Result, t target, d *diary, ch *changed) error {
	want, versions := map[place]occurrence{}, map[string]int64{}
	for _, e := range d.entries {
		versions[t.id(e)] = 1
		for _, o := range e.occurrences() {
			want[place{t.id(e), o.span.Start.Unix()}] = o
		}
	}
	if ch != nil {
		for _, e := range ch.edited {
			versions[t.id(e)] = 2
		}
	}
	rows, err := b.rows(ctx, t)
	if err != nil {
		return err
	}
	titles, err := b.titles(ctx, t, rows)
	if err != nil {
		return err
	}
	seen := map[domain.BookingID]bool{}
	extra, wrong := 0, 0
	for _, one := range rows {
		id, _, _ := strings.Cut(one.external, "#")
		at := place{id, one.start.Unix()}
		o, ok := want[at]
		if !ok || seen[one.booking] {
			extra++
			continue
		}
		delete(want, at)
		seen[one.booking] = true
		if !one.end.Equal(o.span.End) || (one.kind == domain.TimeAllDay) != o.whole || titles[one.booking] != o.title || one.version != versions[id] {
			wrong++
		}
	}
	var live int
	if err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM bookings WHERE org_id = $1 AND status <> 'cancelled'", t.org).Scan(&live); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	extra += max(0, live-len(seen))
	r.Lost, r.Duplicated = r.Lost+len(want)+wrong, r.Duplicated+extra
	if len(want)+wrong+extra > 0 {
		b.o.Say(fmt.Sprintf("of %d bookings %d are missing, %d are not as in the calendar, and %d are too many", live, len(want), wrong, extra))
	}
	return nil
}

// rows reads the bookings that an integration shows.
func (b *bed) rows(ctx context.Context, t target) ([]row, error) {
	found, err := b.owner.Query(ctx, `SELECT l.external_id, b.id::text, b.starts_at, b.ends_at, b.time_kind, b.version FROM links l
		JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND b.status <> 'cancelled'`, t.org, t.integration)
	if err != nil {
		return nil, fmt.Errorf("read bookings: %w", err)
	}
	all, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (one row, err error) {
		err = r.Scan(&one.external, &one.booking, &one.start, &one.end, &one.kind, &one.version)
		return one, err
	})
	if err != nil {
		return nil, fmt.Errorf("read bookings: %w", err)
	}
	return all, nil
}

// titles reads what is sealed.
func (b *bed) titles(ctx context.Context, t target, rows []row) (map[domain.BookingID]string, error) {
	out := make(map[domain.BookingID]string, len(rows))
	err := b.db.TenantRead(ctx, t.org, func(ctx context.Context, tx *store.Tx) error {
		for some := range slices.Chunk(rows, 1000) {
			ids := make([]domain.BookingID, len(some))
			for i, r := range some {
				ids[i] = r.booking
			}
			read, err := tx.BookingsByID(ctx, ids)
			if err != nil {
				return err
			}
			for id, one := range read {
				out[id] = one.Details.Title
			}
		}
		return nil
	})
	return out, err
}
