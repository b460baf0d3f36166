// Package guard stands before deletions. One failed fetch read as "everything is gone", a calendar that was unshared, or
// a connection pointed at another account must not empty a year of bookings, so removals that are many at once, by number
// and by share ([domain.Guard]), are held until a person decides; so is each removal while a wedding is near or on (package
// freeze). The bookings stay as they are meanwhile.
//
//   - [Sift] and [SiftAbsent] take out of what a system reports, or left out of a full listing, what is to be held. They
//     work in the caller's transaction, before package apply.
//   - [Moved] holds everything that a connection brought when its settings lead to another account or calendar.
//     [Settle] finds out whether they do, also when a new consent filled them in.
//   - [Guard.Approve] and [Guard.Restore] carry a decision out, entry by entry: each is asked for once more where the
//     system can be asked, and one that is there after all is left alone. What is left undone (the system cannot be
//     reached, the process died) is gone on with by [Keeper], which also ends quarantines that nobody decided. Ending
//     never deletes.
//   - [Guard.Plan] tells what reading a system now would do, and stores nothing.
//
// Everything may be repeated: an entry has one outcome, and removals that are held already are not held twice. Errors
// have a domain.ErrorKind and hold ids only. Test it on real Postgres (go test ./internal/guard).
package guard

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// Guard carries decisions out and makes plans. Its methods may be called by many goroutines.
type Guard struct {
	Store  *store.Store
	Opener *connect.Opener
}

// connection is an integration with what its provider can do; opened is nil when its settings do not work.
type connection struct {
	domain.Integration
	opened any
}

func (g *Guard) open(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (c connection, err error) {
	if c.Integration, err = tx.Integration(ctx, id); err != nil {
		return c, err
	}
	res, err := tx.Resource(ctx, c.ResourceID)
	if err != nil {
		return c, err
	}
	c.opened, err = g.Opener.Open(c.Integration, res.Zone, func() (map[string]string, error) { return tx.IntegrationSecrets(ctx, id) })
	return c, err
}

func refs(q domain.Quarantine) map[string]string {
	return map[string]string{"quarantine": string(q.ID), "integration": string(q.IntegrationID), "state": string(q.State)}
}

// facts is what the audit trail keeps of a quarantine.
func facts(q domain.Quarantine) map[string]string {
	return map[string]string{"integration": string(q.IntegrationID), "state": string(q.State), "held": strconv.Itoa(q.Held), "left": strconv.Itoa(q.Left),
		"missing": strconv.Itoa(q.Missing), "known": strconv.Itoa(q.Known), "cause": string(q.Cause.Kind) + "/" + q.Cause.ID}
}

// hold stores what is held, and tells of it when there is more than before.
func hold(ctx context.Context, tx *store.Tx, h store.NewHold, by string) (domain.Quarantine, error) {
	q, opened, added, err := tx.Hold(ctx, h)
	if err != nil || added == 0 {
		return q, err
	}
	action, topic := "quarantine.add", domain.TopicQuarantineChanged
	if opened {
		action, topic = "quarantine.open", domain.TopicQuarantineOpened
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: action, Reason: h.Reason, Subject: "quarantine/" + string(q.ID), After: facts(q)}); err != nil {
		return q, err
	}
	return q, tx.Emit(ctx, topic, refs(q))
}

// Since is the time from which removals of an integration count together: the window before now, or the whole of a run
// that began earlier. begun is zero where there is no run.
func Since(now, begun time.Time) time.Time {
	since := now.Add(-domain.GuardWindow)
	if !begun.IsZero() && begun.Before(since) {
		return begun
	}
	return since
}
