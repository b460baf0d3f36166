package guard

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Approve decides that held removals are carried out, and begins with it until a time. by is the token's subject, why
// goes into the audit trail. The same decision again goes on where it stood. Errors: KindNotFound, KindConflict when it
// was decided otherwise. Once the decision is stored a system that cannot be reached is no error: Left says how many
// wait, and the keeper goes on.
func (g *Guard) Approve(ctx context.Context, org domain.OrgID, id domain.QuarantineID, by, why string, until time.Time) (domain.Quarantine, error) {
	return g.decide(ctx, org, id, domain.QuarantineApproved, by, why, until)
}

// Restore decides that the bookings stay. Entries that are proved to be missing are written back where the connection
// writes. Otherwise as Approve.
func (g *Guard) Restore(ctx context.Context, org domain.OrgID, id domain.QuarantineID, by, why string, until time.Time) (domain.Quarantine, error) {
	return g.decide(ctx, org, id, domain.QuarantineRestored, by, why, until)
}

func (g *Guard) decide(ctx context.Context, org domain.OrgID, id domain.QuarantineID, state domain.QuarantineState, by, why string, until time.Time) (q domain.Quarantine, err error) {
	err = g.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Quarantine(ctx, id)
		if err != nil {
			return err
		}
		if was.State == domain.QuarantineOpen && !was.ExpiresAt.After(tx.Now) {
			return domain.E(domain.KindConflict, "the quarantine's time is over; the bookings stay")
		}
		var decided bool
		if q, decided, err = tx.DecideQuarantine(ctx, id, state, by, why); err != nil || !decided {
			return err
		}
		if err := tx.Emit(ctx, domain.TopicQuarantineChanged, refs(q)); err != nil {
			return err
		}
		action := map[domain.QuarantineState]string{domain.QuarantineApproved: "quarantine.approve", domain.QuarantineRestored: "quarantine.restore"}[state]
		return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: action, Reason: why, Subject: "quarantine/" + string(id), Before: facts(was), After: facts(q)})
	})
	if err != nil {
		return q, err
	}
	q, err = g.Carry(ctx, org, id, until)
	if domain.KindOf(err) == domain.KindNotFound {
		return q, err
	}
	return q, nil
}

// carryPage is how many held removals are read at once.
const carryPage = 100

// Carry goes on with a decided quarantine until a time, or until nothing is left. An error leaves the rest for later.
func (g *Guard) Carry(ctx context.Context, org domain.OrgID, id domain.QuarantineID, until time.Time) (q domain.Quarantine, err error) {
	after := ""
	for {
		var asked time.Time
		var c connection
		var rows []store.HeldRow
		next := ""
		err := g.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
			if q, err = tx.Quarantine(ctx, id); err != nil || q.Left == 0 || q.State == domain.QuarantineOpen {
				return err
			}
			if c, err = g.open(ctx, tx, q.IntegrationID); err != nil && (domain.KindOf(err) != domain.KindPermanent || c.ID == "") {
				return err
			}
			asked = tx.Now
			rows, next, err = tx.HeldRows(ctx, id, true, store.Page{Limit: carryPage, After: after})
			return err
		})
		if err != nil || q.Left == 0 || q.State == domain.QuarantineOpen {
			return q, err
		}
		for _, row := range rows {
			if !time.Now().Before(until) {
				return g.reread(ctx, org, q)
			}
			if err := g.carryOne(ctx, c, q, row, asked); err != nil {
				again, readErr := g.reread(ctx, org, q)
				if readErr != nil {
					return q, readErr
				}
				return again, err
			}
		}
		if after = next; next == "" {
			break
		}
	}
	// Rows whose entries are known under no link any more have nothing to be carried out.
	err = g.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		left, _, err := tx.HeldRows(ctx, id, true, store.Page{Limit: 1})
		if err != nil || len(left) > 0 {
			return err
		}
		if err := tx.FinishQuarantine(ctx, id); err != nil {
			return err
		}
		if q, err = tx.Quarantine(ctx, id); err != nil {
			return err
		}
		return tx.Emit(ctx, domain.TopicQuarantineChanged, refs(q))
	})
	return q, err
}

func (g *Guard) reread(ctx context.Context, org domain.OrgID, q domain.Quarantine) (domain.Quarantine, error) {
	err := g.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		q, err = tx.Quarantine(ctx, q.ID)
		return err
	})
	return q, err
}

// proof is what the system says about a held entry now.
type proof struct {
	there  bool
	change domain.Change // with there, where the system was asked
	asked  bool
}

// prove asks the system for an entry where it can be asked. Where it cannot, news since the removal was held count.
func (g *Guard) prove(ctx context.Context, c connection, q domain.Quarantine, row store.HeldRow) (p proof, err error) {
	if row.Kind == domain.HeldElsewhere {
		return p, nil // the connection leads to another place, where the entry never was
	}
	reader, ok := provider.ReaderOf(c.opened, row.Link.ExternalID)
	if ok && c.State != domain.IntegrationDeleted {
		if c.State != domain.IntegrationActive {
			return p, domain.E(domain.KindUnavailable, "the integration is %s, so its entries cannot be proved", c.State)
		}
		change, err := reader.Read(ctx, row.Link.ExternalID)
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			return proof{asked: true}, nil
		case err != nil:
			return p, err
		}
		change.Asked = true
		return proof{there: !goes(change), change: change, asked: true}, nil
	}
	news := row.Link.UpdatedAt.After(row.At)
	if row.RemoteVersion > 0 && row.Link.RemoteVersion > 0 {
		news = row.Link.RemoteVersion >= row.RemoteVersion // an older version that came late is no news
	}
	seen := q.Cause.Kind == domain.CauseSyncRun && string(row.Link.SeenRun) > q.Cause.ID
	return proof{there: row.Link.RemovedAt == nil && (seen || news)}, nil
}

// carryOne gives one held removal its outcome. Its entry is asked for after the moment asked; when it was changed here
// since then, the removal is left for later.
func (g *Guard) carryOne(ctx context.Context, c connection, q domain.Quarantine, row store.HeldRow, asked time.Time) error {
	p, err := g.prove(ctx, c, q, row)
	if err != nil {
		return err
	}
	return g.Store.Tenant(ctx, c.OrgID, func(ctx context.Context, tx *store.Tx) error {
		undone, err := tx.LockRemoval(ctx, q.ID, row.LinkID)
		if err != nil || !undone {
			return err
		}
		links, err := tx.LinksOf(ctx, row.BookingID)
		if err != nil {
			return err
		}
		var outcome domain.HeldOutcome
		switch {
		case p.there:
			outcome = domain.HeldBack
			if p.asked {
				var r apply.Result
				r, err = apply.Page(ctx, tx, c.Integration, []domain.Change{p.change}, asked, causeOf(q))
				if err == nil && r.Reread {
					err = domain.E(domain.KindUnavailable, "the entry changed here while it was asked for")
				}
			}
		case q.State == domain.QuarantineApproved:
			outcome, err = remove(ctx, tx, c.Integration, q, row, links)
		default:
			outcome, err = restore(ctx, tx, c.Integration, row, links)
		}
		if err != nil {
			return err
		}
		left, err := tx.SettleRemoval(ctx, q.ID, row.LinkID, outcome)
		if err != nil || left > 0 {
			return err
		}
		return tx.Emit(ctx, domain.TopicQuarantineChanged, refs(q))
	})
}

func causeOf(q domain.Quarantine) domain.Cause {
	return domain.Cause{Kind: domain.CauseQuarantine, ID: string(q.ID)}
}

// own reports whether a booking has a live entry that is no copy of ours: in one integration, or in any for "".
func own(links []domain.Link, in domain.IntegrationID) bool {
	for _, l := range links {
		if !l.Mirror && l.RemovedAt == nil && (in == "" || l.IntegrationID == in) {
			return true
		}
	}
	return false
}

// remove carries an approved removal out.
func remove(ctx context.Context, tx *store.Tx, i domain.Integration, q domain.Quarantine, row store.HeldRow, links []domain.Link) (domain.HeldOutcome, error) {
	if row.Kind != domain.HeldElsewhere {
		_, err := apply.Changes(ctx, tx, i, []domain.Change{{Op: domain.OpRemove, ExternalID: row.Link.ExternalID, RemoteVersion: row.RemoteVersion}}, causeOf(q))
		return domain.HeldRemoved, err
	}
	switch {
	case own(links, i.ID):
		return domain.HeldBack, nil // the new place has it too
	case own(links, ""):
		return domain.HeldKept, nil // another system has it
	}
	booking, err := tx.Booking(ctx, row.BookingID)
	if err != nil {
		return "", err
	}
	if booking.Status == domain.StatusCancelled {
		return domain.HeldRemoved, nil
	}
	booking.Status = domain.StatusCancelled
	_, err = apply.Manual(ctx, tx, booking, q.DecidedBy, "held removals were approved", causeOf(q))
	return domain.HeldRemoved, err
}

// restore keeps the booking of a held removal and, where the connection writes, wishes that it be written back.
func restore(ctx context.Context, tx *store.Tx, i domain.Integration, row store.HeldRow, links []domain.Link) (domain.HeldOutcome, error) {
	for _, l := range links {
		if l.ID == row.LinkID && l.RemovedAt == nil && row.Kind != domain.HeldElsewhere {
			// Since when it is missing: later removals do not count together with it.
			l.RemovedAt, l.UpdatedAt = &row.At, tx.Now
			if err := tx.StoreLinks(ctx, []domain.Link{l}); err != nil {
				return "", err
			}
		} else if l.IntegrationID == i.ID && l.RemovedAt == nil && !l.Mirror {
			return domain.HeldBack, nil // known there under another id
		}
	}
	booking, err := tx.Booking(ctx, row.BookingID)
	if err != nil {
		return "", err
	}
	if !i.Direction.Exports() || i.Copies != domain.CopiesKept || i.State == domain.IntegrationDeleted || !booking.Blocks() || booking.ResourceID != i.ResourceID {
		return domain.HeldKept, nil
	}
	if err := tx.StorePushes(ctx, []domain.Push{{ID: domain.NewID[domain.PushID](tx.Now), IntegrationID: i.ID, BookingID: booking.ID, Op: domain.PushPut,
		WantVersion: booking.Version, UpdatedAt: tx.Now}}); err != nil {
		return "", err
	}
	return domain.HeldWritten, tx.Enqueue(ctx, store.OutboxPush, string(i.ID), string(booking.ID), tx.Now)
}
