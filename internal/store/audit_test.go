package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) audit(org domain.OrgID, n int) {
	b.t.Helper()
	for i := range n {
		b.tenant(org, func(tx *Tx) error {
			return tx.Audit(b.t.Context(), domain.AuditEntry{Actor: "user/1", Action: "integration.pause", Reason: "über Nacht", Subject: fmt.Sprint("integration/", i),
				Before: map[string]string{"state": "active", "version": "1", "a": ""}, After: map[string]string{"state": "paused"}})
		})
		b.clock.advance(time.Second + 1500*time.Nanosecond)
	}
}

func TestAuditTrailIsChainedAndVerifies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org, other := b.org(), b.org()
	b.audit(org, 4)
	b.tenant(org, func(tx *Tx) error { // several lines in one transaction
		for range 3 {
			if err := tx.Audit(t.Context(), domain.AuditEntry{Actor: "system:apply", Action: "conflict.open"}); err != nil {
				return err
			}
		}
		return nil
	})
	for id, want := range map[domain.OrgID]int64{org: 8, other: 1} {
		if n, err := b.VerifyAudit(t.Context(), id); err != nil || n != want {
			t.Fatalf("%d entries hold, want %d, %v", n, want, err)
		}
	}
	b.tenant(org, func(tx *Tx) error {
		first, next, err := tx.AuditEntries(t.Context(), Page{Limit: 5})
		if err != nil {
			return err
		}
		rest, end, err := tx.AuditEntries(t.Context(), Page{Limit: 5, After: next})
		all := append(first, rest...)
		if len(all) != 8 || end != "" || all[0].Seq != 8 || all[7].Seq != 1 || all[7].Prev != strings.Repeat("0", 64) || all[6].Prev != all[7].Hash {
			t.Errorf("got %+v", all)
		}
		want := domain.AuditEntry{OrgID: org, Seq: 2, At: all[6].At, Actor: "user/1", Action: "integration.pause", Reason: "über Nacht", Subject: "integration/0",
			Before: map[string]string{"state": "active", "version": "1", "a": ""}, After: map[string]string{"state": "paused"}, Prev: all[7].Hash, Hash: all[6].Hash}
		if diff := cmp.Diff(want, all[6]); diff != "" {
			t.Error(diff)
		}
		return err
	})
}

func TestConcurrentWritersMakeOneChain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		wg.Go(func() {
			for range 10 {
				errs[w] = errors.Join(errs[w], b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
					return tx.Audit(ctx, domain.AuditEntry{Actor: fmt.Sprint(w), Action: "a.b"})
				}))
			}
		})
	}
	wg.Wait()
	b.must(errors.Join(errs...))
	if n, err := b.VerifyAudit(t.Context(), org); err != nil || n != 41 {
		t.Fatalf("%d entries hold, %v", n, err)
	}
}

func TestEveryTamperingIsFound(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, sql string
		seq       int64
		problem   string
	}{
		{"changed reason", "UPDATE audit_entries SET reason = 'other' WHERE org_id = $1 AND seq = 3", 3, "changed"},
		{"changed time by a microsecond", "UPDATE audit_entries SET at = at + interval '1 microsecond' WHERE org_id = $1 AND seq = 3", 3, "changed"},
		{"changed map", `UPDATE audit_entries SET after = '{"state": "active"}' WHERE org_id = $1 AND seq = 3`, 3, "changed"},
		{"moved pair between maps", `UPDATE audit_entries SET before = before - 'a', after = after || '{"a": ""}' WHERE org_id = $1 AND seq = 3`, 3, "changed"},
		{"changed hash", "UPDATE audit_entries SET hash = sha256('x') WHERE org_id = $1 AND seq = 3", 3, "changed"},
		{"changed link", "UPDATE audit_entries SET prev = sha256('x') WHERE org_id = $1 AND seq = 3", 3, "does not follow"},
		{"removed from the middle", "DELETE FROM audit_entries WHERE org_id = $1 AND seq = 3", 3, "missing"},
		{"removed first", "DELETE FROM audit_entries WHERE org_id = $1 AND seq = 1", 1, "missing"},
		{"removed last", "DELETE FROM audit_entries WHERE org_id = $1 AND seq = 6", 6, "missing"},
		{"removed all", "DELETE FROM audit_entries WHERE org_id = $1", 1, "missing"},
		{"removed and closed up", `WITH gone AS (DELETE FROM audit_entries WHERE org_id = $1 AND seq = 6)
			UPDATE audit_entries SET seq = 60 WHERE org_id = $1 AND seq = 5`, 5, "missing"},
		{"reordered", `UPDATE audit_entries a SET at = o.at, actor = o.actor, action = o.action, reason = o.reason, subject = o.subject, before = o.before,
			after = o.after, prev = o.prev, hash = o.hash FROM audit_entries o
			WHERE a.org_id = $1 AND o.org_id = $1 AND (a.seq, o.seq) IN ((3, 4), (4, 3))`, 3, "does not follow"},
		{"appended with a wrong hash", `INSERT INTO audit_entries SELECT org_id, 7, at, actor, action, reason, subject, before, after, hash, sha256('x')
			FROM audit_entries WHERE org_id = $1 AND seq = 6`, 7, "changed"},
		{"appended without a link", `INSERT INTO audit_entries SELECT org_id, 7, at, actor, action, reason, subject, before, after, sha256('x'), sha256('x')
			FROM audit_entries WHERE org_id = $1 AND seq = 6`, 7, "does not follow"},
		{"head with another hash", "UPDATE audit_heads SET hash = sha256('x') WHERE org_id = $1", 6, "head"},
		{"head further on", "UPDATE audit_heads SET seq = 9 WHERE org_id = $1", 7, "missing"},
		{"head set back", "UPDATE audit_heads SET seq = 4 WHERE org_id = $1", 5, "other means"},
		{"no head", "DELETE FROM audit_heads WHERE org_id = $1", 6, "no head"},
	}
	b := setup(t)
	owner := b.owner()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			org := b.org()
			b.audit(org, 5)
			tag, err := owner.Exec(t.Context(), c.sql, org)
			if err != nil || tag.RowsAffected() == 0 {
				t.Fatalf("tampering touched %d rows, %v", tag.RowsAffected(), err)
			}
			n, err := b.VerifyAudit(t.Context(), org)
			var fault *AuditFault
			if !errors.As(err, &fault) || fault.Seq != c.seq || fault.Org != org || !strings.Contains(fault.Problem, c.problem) {
				t.Fatalf("%d hold, %v; want entry %d, %q", n, err, c.seq, c.problem)
			}
		})
	}
}

func TestAppendedWithAValidHashIsStoppedByTheHead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	b.audit(org, 2)
	// Somebody who knows the form writes a perfect entry, but not the head.
	b.must(b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		seq, prev, err := tx.lockAuditHead(ctx)
		if err != nil {
			return err
		}
		forged := &pgx.Batch{}
		queueEntries(forged, chain([]domain.AuditEntry{{OrgID: org, At: tx.Now, Actor: "mallory", Action: "x.y"}}, org, seq, prev))
		return tx.SendBatch(ctx, forged).Close()
	}))
	var fault *AuditFault
	if _, err := b.VerifyAudit(t.Context(), org); !errors.As(err, &fault) || fault.Seq != 4 {
		t.Fatalf("got %v", err)
	}
}

func TestAuditRefusesWhatItCannotKeepExactly(t *testing.T) {
	t.Parallel()
	tx := &Tx{}
	for field, e := range map[string]domain.AuditEntry{
		"actor":  {Action: "a"},
		"action": {Actor: "a"},
		"reason": {Actor: "a", Action: "b", Reason: "nul \x00"},
		"before": {Actor: "a", Action: "b", Before: map[string]string{"k": "\xff"}},
		"after":  {Actor: "a", Action: "b", After: map[string]string{"k": strings.Repeat("x", 2001)}},
	} {
		err := tx.Audit(t.Context(), e)
		wantKind(t, err, domain.KindInvalid)
		if domain.FieldOf(err) != field {
			t.Errorf("field %q, want %q", domain.FieldOf(err), field)
		}
	}
}

func TestHashSeparatesEveryField(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) domain.AuditEntry {
			text := rapid.StringN(0, 3, -1)
			table := rapid.MapOfN(text, text, 0, 2)
			return domain.AuditEntry{Seq: rapid.Int64Range(1, 3).Draw(t, "seq"), Actor: text.Draw(t, "actor"), Action: text.Draw(t, "action"),
				Reason: text.Draw(t, "reason"), Subject: text.Draw(t, "subject"), Before: table.Draw(t, "before"), After: table.Draw(t, "after")}
		})
		a, b := entry.Draw(t, "a"), entry.Draw(t, "b")
		if same := hashAudit(a, "o", noHash) == hashAudit(b, "o", noHash); same != cmp.Equal(a, b) {
			t.Fatalf("same hash %t for\n%+v\n%+v", same, a, b)
		}
	})
}
