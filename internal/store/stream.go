package store

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// ChannelStream is notified after a commit that added live events, see [Store.Listen].
const ChannelStream = "wedsync_stream"

// MaxStream is the most events that one read of the stream returns.
const MaxStream = 5000

// Emit adds an event to the organisation's live stream. It is written at the end of the transaction, after the events
// emitted before it, and readers are notified once for all of them. refs holds ids and plain states only.
func (tx *Tx) Emit(_ context.Context, topic domain.Topic, refs map[string]string) error {
	if topic == "" || len(topic) > 60 {
		return domain.Invalid("topic", "must have 1 to 60 characters")
	}
	if len(refs) > 20 {
		return domain.Invalid("refs", "at most 20, has %d", len(refs))
	}
	kept := make(map[string]string, len(refs))
	for k, v := range refs {
		if err := checkText("refs", k+v, 500); err != nil {
			return err
		}
		kept[k] = v
	}
	tx.events = append(tx.events, domain.Event{OrgID: tx.Org, Topic: topic, At: tx.Now, Refs: kept})
	return nil
}

// queueEvents writes the gathered events and notifies readers of the stream and of the outbox.
func (tx *Tx) queueEvents(b *pgx.Batch) {
	if len(tx.events) == 0 && len(tx.outbox) == 0 {
		return
	}
	var channels []string
	if len(tx.outbox) > 0 {
		channels = append(channels, ChannelOutbox)
	}
	if len(tx.events) > 0 {
		channels = append(channels, ChannelStream)
	}
	if len(tx.events) == 0 {
		b.Queue("SELECT pg_notify(c, '') FROM unnest($1::text[]) c", channels)
		return
	}
	b.Queue(`WITH written AS (
			INSERT INTO stream_events (org_id, topic, at, refs)
			SELECT $1, topic, $2, refs FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY v(topic, refs, n) ORDER BY n)
		SELECT pg_notify(c, '') FROM unnest($5::text[]) c`,
		tx.Org, tx.Now, column(tx.events, func(e domain.Event) string { return string(e.Topic) }),
		column(tx.events, func(e domain.Event) map[string]string { return e.Refs }), channels)
}

// Cursors are "<transaction id>-<number in the table>". Both are positions in a total order that only the database
// hands out.
func streamCursor(xid uint64, seq int64) string {
	return strconv.FormatUint(xid, 10) + "-" + strconv.FormatInt(seq, 10)
}

func parseStreamCursor(s string) (xid uint64, seq int64, err error) {
	if s == "" {
		return 0, 0, nil
	}
	left, right, ok := strings.Cut(s, "-")
	xid, err1 := strconv.ParseUint(left, 10, 64)
	seq, err2 := strconv.ParseInt(right, 10, 64)
	if !ok || err1 != nil || err2 != nil || seq < 0 || xid > math.MaxInt64 || len(s) > 60 {
		return 0, 0, domain.Invalid("cursor", "is not a cursor of the live stream")
	}
	return xid, seq, nil
}

// StreamAfter returns the committed events after cursor ("" = from the oldest kept), of one organisation or of all for
// "", up to limit (1..5000), and the cursor to go on from, which is cursor itself when there is nothing new. Every event
// is returned exactly once to a reader that goes on from the cursors it got: one whose transaction is not yet older than
// all running ones is held back, together with everything after it. A limit that was reached means that there may be
// more. A malformed cursor is KindInvalid.
//
// Events older than the kept time are gone without notice, see [Store.PurgeStream]. After a restore into another cluster
// the transaction ids start anew: empty the table then.
func (s *Store) StreamAfter(ctx context.Context, cursor string, org domain.OrgID, limit int) ([]domain.Event, string, error) {
	xid, seq, err := parseStreamCursor(cursor)
	if err != nil {
		return nil, cursor, err
	}
	if limit < 1 || limit > MaxStream {
		return nil, cursor, domain.Invalid("limit", "must be 1 to %d, is %d", MaxStream, limit)
	}
	const query = `SELECT xid, seq, org_id, topic, at, refs FROM stream_events
		WHERE (xid, seq) > ($1, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())`
	var rows pgx.Rows
	if org == "" {
		rows, err = s.system.Query(ctx, query+" ORDER BY xid, seq LIMIT $3", xid, seq, limit)
	} else {
		rows, err = s.system.Query(ctx, query+" AND org_id = $4 ORDER BY xid, seq LIMIT $3", xid, seq, limit, org)
	}
	events, err := collect(rows, err, scanEvent)
	if err != nil {
		return nil, cursor, fault("read live events", err)
	}
	if len(events) > 0 {
		cursor = events[len(events)-1].Cursor
	}
	return events, cursor, nil
}

func scanEvent(row pgx.Row) (e domain.Event, err error) {
	var xid uint64
	var seq int64
	err = row.Scan(&xid, &seq, &e.OrgID, &e.Topic, &e.At, &e.Refs)
	e.Cursor, e.At = streamCursor(xid, seq), e.At.UTC()
	return e, err
}

// StreamHead returns the cursor behind all events that can be read now. A reader that starts from it meets everything
// that becomes readable later.
func (s *Store) StreamHead(ctx context.Context) (string, error) {
	var xid uint64
	if err := s.system.QueryRow(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())").Scan(&xid); err != nil {
		return "", fault("read head of live stream", err)
	}
	return streamCursor(xid, 0), nil
}

// PurgeStream removes up to limit events that happened before a time, and returns how many.
func (s *Store) PurgeStream(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.system.Exec(ctx, `DELETE FROM stream_events e USING
		(SELECT xid, seq FROM stream_events WHERE at < $1 ORDER BY at LIMIT $2) old WHERE e.xid = old.xid AND e.seq = old.seq`, before, limit)
	return int(tag.RowsAffected()), fault("purge live events", err)
}
