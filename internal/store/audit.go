package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// The audit trail is a chain per organisation: every entry's hash covers the entry before it, and the last hash is kept
// once more in audit_heads. Whoever changes, removes, reorders or adds a line by other means is found out by VerifyAudit.
// Somebody who may write both tables can rewrite the whole chain; only a head kept elsewhere shows that.

var noHash [sha256.Size]byte

// auditDomain separates these hashes from all others and names the version of the form below.
const auditDomain = "wedsync audit v1\x00"

type chained struct {
	domain.AuditEntry
	prev, hash [sha256.Size]byte
}

// hashAudit hashes fields in a fixed order, each preceded by its length, so that no two entries share a form. Maps go by
// sorted key. What PostgreSQL prints for jsonb is never hashed.
func hashAudit(e domain.AuditEntry, org domain.OrgID, prev [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	table := func(m map[string]string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(m)))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			text(k)
			text(m[k])
		}
	}
	b = append(b, auditDomain...)
	b = append(b, prev[:]...)
	text(string(org))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	text(e.At.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano))
	text(e.Actor)
	text(e.Action)
	text(e.Reason)
	text(e.Subject)
	table(e.Before)
	table(e.After)
	return sha256.Sum256(b)
}

// chain numbers and links entries behind a head.
func chain(entries []domain.AuditEntry, org domain.OrgID, seq int64, prev [sha256.Size]byte) []chained {
	out := make([]chained, len(entries))
	for i, e := range entries {
		seq++
		e.Seq = seq
		out[i] = chained{AuditEntry: e, prev: prev, hash: hashAudit(e, org, prev)}
		prev = out[i].hash
	}
	return out
}

// Audit adds a line to the organisation's trail. OrgID, Seq, Prev and Hash are set here, At is the transaction's Now. It
// is written at the end of the transaction. Limits: actor and subject 200 bytes, action 100, reason 1,000, each map 50
// pairs of 2,000 bytes; only ids and plain values, no personal data.
func (tx *Tx) Audit(_ context.Context, e domain.AuditEntry) error {
	e.OrgID, e.At = tx.Org, tx.Now
	e.Before, e.After = maps.Clone(e.Before), maps.Clone(e.After)
	if err := checkAudit(e); err != nil {
		return err
	}
	tx.audits = append(tx.audits, e)
	return nil
}

func checkAudit(e domain.AuditEntry) error {
	if e.Actor == "" {
		return domain.Invalid("actor", "is required")
	}
	if e.Action == "" {
		return domain.Invalid("action", "is required")
	}
	for _, f := range []struct {
		name, text string
		limit      int
	}{{"actor", e.Actor, 200}, {"action", e.Action, 100}, {"reason", e.Reason, 1000}, {"subject", e.Subject, 200}} {
		if err := checkText(f.name, f.text, f.limit); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		m    map[string]string
	}{{"before", e.Before}, {"after", e.After}} {
		if len(f.m) > 50 {
			return domain.Invalid(f.name, "at most 50 pairs, has %d", len(f.m))
		}
		for k, v := range f.m {
			if err := checkText(f.name, k+v, 2000); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tx *Tx) queueAudit(ctx context.Context, b *pgx.Batch) error {
	if len(tx.audits) == 0 {
		return nil
	}
	seq, prev, err := tx.lockAuditHead(ctx)
	if err != nil {
		return fault("lock audit trail", err)
	}
	entries := chain(tx.audits, tx.Org, seq, prev)
	last := entries[len(entries)-1]
	queueEntries(b, entries)
	b.Queue("UPDATE audit_heads SET seq = $2, hash = $3 WHERE org_id = $1", tx.Org, last.Seq, last.hash[:])
	return nil
}

const auditHeadQuery = "SELECT seq, hash FROM audit_heads WHERE org_id = $1 FOR UPDATE"

// auditHead is the end of the chain, locked by this transaction.
type auditHead struct {
	seq  int64
	hash [sha256.Size]byte
}

// queueAuditHead locks and reads the head along with other statements, to save a round trip at the end.
func (tx *Tx) queueAuditHead(b *pgx.Batch) {
	if tx.head != nil {
		return
	}
	b.Queue(auditHeadQuery, tx.Org).QueryRow(func(row pgx.Row) error {
		var h auditHead
		var hash []byte
		err := row.Scan(&h.seq, &hash)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // the first line of the organisation; lockAuditHead makes the head
		}
		if err == nil && copy(h.hash[:], hash) == len(h.hash) {
			tx.head = &h
		}
		return err
	})
}

// lockAuditHead makes writers of one organisation queue, so that the chain has no forks.
func (tx *Tx) lockAuditHead(ctx context.Context) (seq int64, prev [sha256.Size]byte, err error) {
	const query = auditHeadQuery
	if tx.head != nil {
		return tx.head.seq, tx.head.hash, nil
	}
	var hash []byte
	err = tx.QueryRow(ctx, query, tx.Org).Scan(&seq, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err := tx.Exec(ctx, "INSERT INTO audit_heads (org_id, seq, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING", tx.Org, noHash[:]); err != nil {
			return 0, prev, err
		}
		err = tx.QueryRow(ctx, query, tx.Org).Scan(&seq, &hash)
	}
	if err != nil {
		return 0, prev, err
	}
	if copy(prev[:], hash) != len(prev) {
		return 0, prev, errors.New("audit head has a hash of another length")
	}
	return seq, prev, nil
}

func queueEntries(b *pgx.Batch, entries []chained) {
	b.Queue(`INSERT INTO audit_entries (org_id, seq, at, actor, action, reason, subject, before, after, prev, hash)
		SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
			$8::jsonb[], $9::jsonb[], $10::bytea[], $11::bytea[])`,
		column(entries, func(e chained) domain.OrgID { return e.OrgID }),
		column(entries, func(e chained) int64 { return e.Seq }),
		column(entries, func(e chained) time.Time { return e.At }),
		column(entries, func(e chained) string { return e.Actor }),
		column(entries, func(e chained) string { return e.Action }),
		column(entries, func(e chained) string { return e.Reason }),
		column(entries, func(e chained) string { return e.Subject }),
		column(entries, func(e chained) map[string]string { return pairs(e.Before) }),
		column(entries, func(e chained) map[string]string { return pairs(e.After) }),
		column(entries, func(e chained) []byte { return e.prev[:] }),
		column(entries, func(e chained) []byte { return e.hash[:] }))
}

func pairs(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

const auditColumns = "org_id, seq, at, actor, action, reason, subject, before, after, prev, hash"

func scanAudit(row pgx.Row) (domain.AuditEntry, error) {
	var e domain.AuditEntry
	var prev, hash []byte
	err := row.Scan(&e.OrgID, &e.Seq, &e.At, &e.Actor, &e.Action, &e.Reason, &e.Subject, &e.Before, &e.After, &prev, &hash)
	e.At, e.Prev, e.Hash = e.At.UTC(), hex.EncodeToString(prev), hex.EncodeToString(hash)
	return e, err
}

// AuditEntries lists the trail, newest first.
func (tx *Tx) AuditEntries(ctx context.Context, p Page) ([]domain.AuditEntry, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	before := int64(1<<63 - 1)
	if p.After != "" {
		if before, err = strconv.ParseInt(p.After, 10, 64); err != nil || before < 1 {
			return nil, "", badCursor()
		}
	}
	rows, err := tx.Query(ctx, "SELECT "+auditColumns+" FROM audit_entries WHERE org_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
		tx.Org, before, limit+1)
	all, err := collect(rows, err, scanAudit)
	if err != nil {
		return nil, "", fault("list audit trail", err)
	}
	all, next := cut(all, limit, func(e domain.AuditEntry) string { return strconv.FormatInt(e.Seq, 10) })
	return all, next, nil
}

// AuditFault says where a trail is not what was written.
type AuditFault struct {
	Org     domain.OrgID
	Seq     int64 // the first bad or missing entry
	Problem string
}

// Error names the organisation, the entry and the problem.
func (f *AuditFault) Error() string {
	return fmt.Sprintf("audit trail of %s: entry %d %s", f.Org, f.Seq, f.Problem)
}

// VerifyAudit reads the whole trail of an organisation in one snapshot and returns how many entries hold. The error is
// an [AuditFault] (found by errors.As) for the first that is changed, missing, out of order or added by other means, and
// for a head that does not fit.
func (s *Store) VerifyAudit(ctx context.Context, org domain.OrgID) (n int64, err error) {
	err = s.tenantSnapshot(ctx, org, func(ctx context.Context, tx *Tx) error {
		n = 0
		prev := noHash
		rows, err := tx.Query(ctx, "SELECT "+auditColumns+" FROM audit_entries WHERE org_id = $1 ORDER BY seq", org)
		if err != nil {
			return fault("read audit trail", err)
		}
		defer rows.Close()
		for rows.Next() {
			e, err := scanAudit(rows)
			if err != nil {
				return fault("read audit trail", err)
			}
			hash := hashAudit(e, org, prev)
			switch {
			case e.Seq != n+1:
				return &AuditFault{org, n + 1, "is missing"}
			case e.Prev != hex.EncodeToString(prev[:]):
				return &AuditFault{org, e.Seq, "does not follow the entry before it"}
			case e.Hash != hex.EncodeToString(hash[:]):
				return &AuditFault{org, e.Seq, "was changed: its hash does not match"}
			}
			n, prev = e.Seq, hash
		}
		if err := rows.Err(); err != nil {
			return fault("read audit trail", err)
		}
		var seq int64
		var head []byte
		err = tx.QueryRow(ctx, "SELECT seq, hash FROM audit_heads WHERE org_id = $1", org).Scan(&seq, &head)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if n > 0 {
				return &AuditFault{org, n, "has no head behind it"}
			}
			return nil
		case err != nil:
			return fault("read audit head", err)
		case seq > n:
			return &AuditFault{org, n + 1, "is missing: the head says that there are more"}
		case seq < n:
			return &AuditFault{org, seq + 1, "is behind the head: it was added by other means"}
		case !bytes.Equal(head, prev[:]):
			return &AuditFault{org, n, "does not match the head"}
		}
		return nil
	})
	return n, err
}
