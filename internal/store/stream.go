package store

import (
	"context"
	"errors"
	"math"
	"slices"
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
// A cursor of one organisation is KindGoneToken when events of it after the cursor were purged ([Store.PurgeStream]), and
// when the cursor lies ahead of this database, as after a restore into another cluster. The cursor returned beside the
// error is where what is still kept begins.
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
	var events []domain.Event
	if org == "" {
		rows, queryErr := s.system.Query(ctx, query+" ORDER BY xid, seq LIMIT $3", xid, seq, limit)
		events, err = collect(rows, queryErr, scanEvent)
	} else {
		events, err = s.streamOf(ctx, query+" AND org_id = $4 ORDER BY xid, seq LIMIT $3", xid, seq, limit, org)
	}
	if domain.KindOf(err) == domain.KindGoneToken {
		var gone *goneCursor
		errors.As(err, &gone)
		return nil, gone.from, err
	}
	if err != nil {
		return nil, cursor, fault("read live events", err)
	}
	if len(events) > 0 {
		cursor = events[len(events)-1].Cursor
	}
	return events, cursor, nil
}

// goneCursor says where what is still kept begins.
type goneCursor struct{ from string }

func (g *goneCursor) Error() string { return "events are kept from " + g.from + " on" }

// streamOf reads the events first and what was purged after that: the other way round a purge in between would go
// unnoticed.
func (s *Store) streamOf(ctx context.Context, query string, xid uint64, seq int64, limit int, org domain.OrgID) (events []domain.Event, err error) {
	b := &pgx.Batch{}
	b.Queue(query, xid, seq, limit, org).Query(func(rows pgx.Rows) (err error) {
		events, err = collect(rows, nil, scanEvent)
		return err
	})
	if xid == 0 && seq == 0 {
		return events, s.system.SendBatch(ctx, b).Close()
	}
	var floorXID uint64
	var floorSeq int64
	var ahead bool
	b.Queue(`SELECT coalesce(f.xid, '0'::xid8), coalesce(f.seq, 0), $2::xid8 > pg_snapshot_xmax(pg_current_snapshot())
		FROM (SELECT 1) x LEFT JOIN stream_floors f ON f.org_id = $1`, org, xid).QueryRow(func(row pgx.Row) error {
		return row.Scan(&floorXID, &floorSeq, &ahead)
	})
	if err := s.system.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	if ahead || xid < floorXID || xid == floorXID && seq < floorSeq {
		return nil, domain.E(domain.KindGoneToken, "the cursor is no longer known: %w", &goneCursor{streamCursor(floorXID, floorSeq)})
	}
	return events, nil
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

// PurgeStream removes up to limit events that happened before a time, and returns how many. Readers whose cursor lies
// before what was removed of their organisation are told so, see [Store.StreamAfter].
func (s *Store) PurgeStream(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int
	err := s.system.QueryRow(ctx, `WITH gone AS (DELETE FROM stream_events e USING
			(SELECT xid, seq FROM stream_events WHERE at < $1 ORDER BY at LIMIT $2) old WHERE e.xid = old.xid AND e.seq = old.seq
			RETURNING e.org_id, e.xid, e.seq, e.at),
		newest AS (SELECT DISTINCT ON (org_id) org_id, xid, seq, at FROM gone ORDER BY org_id, xid DESC, seq DESC),
		floors AS (INSERT INTO stream_floors AS f (org_id, xid, seq, at) SELECT org_id, xid, seq, at FROM newest
			ON CONFLICT (org_id) DO UPDATE SET xid = excluded.xid, seq = excluded.seq, at = excluded.at
			WHERE (f.xid, f.seq) < (excluded.xid, excluded.seq))
		SELECT count(*) FROM gone`, before, limit).Scan(&n)
	return n, fault("purge live events", err)
}

// MaxAccepted is how many deliveries one event of topic delivery.accepted names. With more a row would no longer fit
// into its page.
const MaxAccepted = 40

// Accepted are deliveries of one integration that were stored.
type Accepted struct {
	Org         domain.OrgID
	Integration domain.IntegrationID
	IDs         []domain.DeliveryID
}

// AnnounceAccepted adds events of topic delivery.accepted to the live streams of their organisations, [MaxAccepted]
// deliveries to an event, all of them in one commit. Given again after an error it may announce twice.
func (s *Store) AnnounceAccepted(ctx context.Context, all []Accepted) error {
	var orgs []domain.OrgID
	var refs []map[string]string
	for _, a := range all {
		for ids := range slices.Chunk(a.IDs, MaxAccepted) {
			var list strings.Builder
			for i, id := range ids {
				if i > 0 {
					list.WriteByte(',')
				}
				list.WriteString(string(id))
			}
			orgs = append(orgs, a.Org)
			refs = append(refs, map[string]string{"integration": string(a.Integration), "deliveries": list.String(), "count": strconv.Itoa(len(ids))})
		}
	}
	if len(orgs) == 0 {
		return nil
	}
	_, err := s.system.Exec(ctx, `WITH written AS (
			INSERT INTO stream_events (org_id, topic, at, refs)
			SELECT org, $2, $3, refs FROM unnest($1::uuid[], $4::jsonb[]) WITH ORDINALITY v(org, refs, n) ORDER BY n)
		SELECT pg_notify($5, '')`, arrayOf(orgs), string(domain.TopicDeliveryAccepted), s.timestamp(), arrayOf(refs), ChannelStream)
	return fault("announce accepted deliveries", err)
}
