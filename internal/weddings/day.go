package weddings

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	movesAtOnce = 500
	notesAtOnce = 2000
	// closedAtOnce bounds the conflicts of a day that are over.
	closedAtOnce = 200
	// lateAfter is how long something that a connection told may wait on the day before it is noted as late.
	lateAfter = 5 * time.Minute
	// askAgain is how long after a connection was to be read at once that is asked for again, while no reading worked.
	askAgain = 5 * time.Minute
)

// watch keeps probes fast and the log of the day up to date, and returns the connections that are to be polled at once.
func (l *looker) watch(ctx context.Context) ([]domain.IntegrationID, error) {
	tx := l.tx
	reach, err := reachOf(ctx, tx, l.b)
	if err != nil {
		return nil, err
	}
	ids := idsOf(reach)
	gone, err := tx.PutWeddingConnections(ctx, l.c.BookingID, ids, l.c.StartsAt, l.c.DayUntil)
	if err != nil {
		return nil, err
	}
	if err := l.calm(ctx, gone); err != nil {
		return nil, err
	}
	healths, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return nil, err
	}
	until := l.c.DayUntil
	if most := tx.Now.Add(mostBoost); until.After(most) {
		until = most
	}
	var fresh []domain.IntegrationID
	for _, id := range ids {
		// A boost of another wedding may last longer. One of a wedding of weeks is prolonged a day before it ends.
		h := healths[id]
		if h.BoostUntil != nil && h.BoostEvery > 0 && h.BoostEvery <= weddingcare.ProbeEvery && !h.BoostUntil.Before(until.Add(-slack(l.c, until))) {
			continue
		}
		if err := tx.BoostProbes(ctx, id, weddingcare.ProbeEvery, until); err != nil {
			return nil, err
		}
		fresh = append(fresh, id)
	}
	g := &gatherer{looker: l, ids: ids, names: namesOf(reach)}
	if len(fresh) > 0 {
		g.note(domain.NoteCare, false, tx.Now, "booking/"+string(l.c.BookingID), "boost/"+tx.Now.Format(time.RFC3339Nano),
			"%d connections are asked every %d seconds until the day is over", len(fresh), int(weddingcare.ProbeEvery/time.Second))
	}
	return g.gather(ctx, healths)
}

// release ends what the day had set up, but for connections that another wedding's day still needs.
func (l *looker) release(ctx context.Context, keep []domain.IntegrationID) error {
	gone, err := l.tx.PutWeddingConnections(ctx, l.c.BookingID, keep, l.c.StartsAt, l.c.DayUntil)
	if err != nil {
		return err
	}
	return l.calm(ctx, gone)
}

func (l *looker) calm(ctx context.Context, gone []domain.IntegrationID) error {
	if len(gone) == 0 {
		return nil
	}
	days, err := l.tx.WeddingDays(ctx)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if _, needed := days[id]; needed {
			continue
		}
		if err := l.tx.BoostProbes(ctx, id, 0, time.Time{}); err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
	}
	return nil
}

// namesOf are labels by subject.
func namesOf(reach []domain.Integration) map[string]string {
	out := map[string]string{}
	for _, i := range reach {
		out["integration/"+string(i.ID)] = i.Name
	}
	return out
}

// gatherer brings the log of a day up to date.
type gatherer struct {
	*looker
	ids   []domain.IntegrationID
	names map[string]string
	notes []domain.WeddingNote
}

func (g *gatherer) note(kind domain.NoteKind, bad bool, at time.Time, subject, key, format string, args ...any) {
	g.notes = append(g.notes, domain.WeddingNote{At: at, Kind: kind, Bad: bad, Subject: subject, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (g *gatherer) name(id domain.IntegrationID) (subject, name string) {
	subject = "integration/" + string(id)
	if name = g.names[subject]; name == "" {
		name = "a connection"
	}
	return subject, name
}

// gather notes what happened since the last time. Each thing has a key of its own, so it is noted once.
func (g *gatherer) gather(ctx context.Context, healths map[domain.IntegrationID]domain.Health) (failOver []domain.IntegrationID, err error) {
	if err := g.health(ctx, healths); err != nil {
		return nil, err
	}
	log, err := g.tx.WeddingNotes(ctx, g.c.BookingID, g.c.DayFrom, notesAtOnce)
	if err != nil {
		return nil, err
	}
	going := map[string]domain.WeddingNote{} // what failed and is not over, by subject
	asked := map[string]time.Time{}          // when a connection was last to be read at once
	for _, n := range log {
		switch {
		case n.Kind == domain.NoteFailover:
			asked[n.Subject] = n.At
		case n.Kind != domain.NoteConflict && n.Kind != domain.NoteDelivery && n.Kind != domain.NoteCopy:
		case n.Bad:
			going[n.Subject] = n
		default:
			delete(going, n.Subject)
		}
	}
	for _, id := range g.ids {
		subject, _ := g.name(id)
		if at, had := asked[subject]; healths[id].State == domain.HealthFailingOver && (!had || g.tx.Now.Sub(at) >= askAgain) {
			failOver = append(failOver, id)
		}
	}
	if err := errors.Join(g.conflicts(ctx, going), g.deliveries(ctx, going), g.copies(ctx, going), g.alerts(ctx)); err != nil {
		return nil, err
	}
	_, err = g.tx.AddWeddingNotes(ctx, g.c.BookingID, g.notes)
	return failOver, err
}

// health notes moves of health.
func (g *gatherer) health(ctx context.Context, healths map[domain.IntegrationID]domain.Health) error {
	first := g.c.HealthSeq == 0
	for {
		moves, err := g.tx.HealthMovesOf(ctx, g.ids, g.c.HealthSeq, g.c.DayFrom, movesAtOnce)
		if err != nil {
			return err
		}
		for _, m := range moves {
			g.c.HealthSeq = max(g.c.HealthSeq, m.Seq)
			subject, name := g.name(m.IntegrationID)
			kind, bad := domain.NoteHealth, false
			switch m.To {
			case domain.HealthDown, domain.HealthNeedsReconnect, domain.HealthFailingOver, domain.HealthDegraded, domain.HealthPolling:
				bad = true
			case domain.HealthUnknown, domain.HealthPaused, domain.HealthMaintenance:
				kind = domain.NoteCare // neither a failure nor its end
			case domain.HealthUp:
			}
			g.note(kind, bad, m.At, subject, fmt.Sprintf("health/%d", m.Seq), "%s %s: %s", name, became[m.To], m.Reason.Text)
		}
		if len(moves) < movesAtOnce {
			break
		}
	}
	if !first {
		return nil
	}
	if g.c.HealthSeq == 0 {
		g.c.HealthSeq = -1 // nothing moved yet, and the beginning was looked at
	}
	// What was wrong when the day began counts as noticed then.
	for _, id := range g.ids {
		h := healths[id]
		bad := h.State == domain.HealthDown || h.State == domain.HealthNeedsReconnect || h.State == domain.HealthFailingOver || h.State == domain.HealthPolling || h.State == domain.HealthDegraded
		if !bad || !h.Since.Before(g.c.DayFrom) {
			continue
		}
		subject, name := g.name(id)
		g.note(domain.NoteHealth, true, g.c.DayFrom, subject, "began/"+string(id)+"/"+g.c.DayFrom.Format(time.RFC3339), "%s %s already when the day began: %s", name, became[h.State], h.Reason.Text)
	}
	return nil
}

var became = map[domain.HealthState]string{
	domain.HealthUp: "works", domain.HealthDown: "is down", domain.HealthNeedsReconnect: "must be connected again", domain.HealthFailingOver: "tells of no news",
	domain.HealthPolling: "is read at intervals instead of telling of news", domain.HealthDegraded: "does not work well", domain.HealthUnknown: "is not known to work",
	domain.HealthPaused: "is paused", domain.HealthMaintenance: "is in maintenance",
}

func (g *gatherer) conflicts(ctx context.Context, going map[string]domain.WeddingNote) error {
	concerned, err := bookingsOf(ctx, g.tx, g.c.BookingID)
	if err != nil {
		return err
	}
	known, err := g.tx.ConflictsAmong(ctx, concerned)
	if err != nil {
		return err
	}
	open := map[string]bool{}
	opened := func(c domain.Conflict) (subject string, at time.Time) {
		subject, at = "conflict/"+string(c.ID), later(c.DetectedAt, g.c.DayFrom)
		g.note(domain.NoteConflict, true, at, subject, subject+"/opened", "a %s conflict: %s", c.Severity, c.Explanation)
		return subject, at
	}
	for _, c := range known.Open {
		subject, _ := opened(c)
		open[subject] = true
	}
	// Those that came and went between two looks belong into the report as well.
	closed, err := g.tx.ConflictsClosedSince(ctx, concerned, g.c.DayFrom, closedAtOnce)
	if err != nil {
		return err
	}
	for _, c := range closed {
		subject := "conflict/" + string(c.ID)
		if _, noted := going[subject]; noted || open[subject] || c.DetectedAt.Before(g.c.DayFrom) {
			continue
		}
		_, at := opened(c)
		g.note(domain.NoteConflict, false, *c.ClosedAt, subject, subject+"/closed/"+at.Format(time.RFC3339Nano), "the conflict is %s", c.State)
	}
	for subject, n := range going {
		if n.Kind != domain.NoteConflict || open[subject] {
			continue
		}
		at, what := g.tx.Now, "it is gone"
		c, err := g.tx.Conflict(ctx, domain.ConflictID(strings.TrimPrefix(subject, "conflict/")))
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		if err == nil {
			what = "the conflict is " + string(c.State)
			if c.ClosedAt != nil {
				at = *c.ClosedAt
			}
		}
		g.note(domain.NoteConflict, false, at, subject, subject+"/closed/"+n.At.Format(time.RFC3339Nano), "%s", what)
	}
	return nil
}

func (g *gatherer) deliveries(ctx context.Context, going map[string]domain.WeddingNote) error {
	about, err := g.tx.DeliveriesAbout(ctx, g.c.BookingID, aboutAtOnce)
	if err != nil {
		return err
	}
	waiting := map[string]bool{}
	for _, d := range about {
		subject := "delivery/" + string(d.ID)
		waiting[subject] = true
		_, name := g.name(d.IntegrationID)
		switch {
		case d.State == domain.DeliveryDead:
			g.note(domain.NoteDelivery, true, later(d.ReceivedAt, g.c.DayFrom), subject, subject+"/dead", "a message of %s about the wedding could not be applied: %s", name, d.Reason)
		case g.tx.Now.Sub(d.ReceivedAt) > lateAfter:
			g.note(domain.NoteDelivery, true, later(d.ReceivedAt, g.c.DayFrom), subject, subject+"/late", "a message of %s about the wedding is late: %s", name, orElse(d.Reason, "it waits"))
		}
	}
	for subject, n := range going {
		if n.Kind == domain.NoteDelivery && !waiting[subject] {
			g.note(domain.NoteDelivery, false, g.tx.Now, subject, subject+"/over", "the message is no longer waited for")
		}
	}
	return nil
}

func (g *gatherer) copies(ctx context.Context, going map[string]domain.WeddingNote) error {
	pushes, err := g.tx.PushesOf(ctx, g.c.BookingID)
	if err != nil {
		return err
	}
	bad := map[string]bool{}
	for _, p := range pushes {
		if p.State != domain.PushFailed && p.State != domain.PushRetrying {
			continue
		}
		subject := "copy/" + string(p.IntegrationID)
		bad[subject] = true
		_, name := g.name(p.IntegrationID)
		g.note(domain.NoteCopy, true, later(p.UpdatedAt, g.c.DayFrom), subject, fmt.Sprintf("%s/%d/%s", subject, p.WantVersion, p.State), "%s does not show the wedding as it is: %s", name, p.Reason)
	}
	for subject, n := range going {
		if n.Kind == domain.NoteCopy && !bad[subject] {
			_, name := g.name(domain.IntegrationID(strings.TrimPrefix(subject, "copy/")))
			g.note(domain.NoteCopy, false, g.tx.Now, subject, subject+"/over/"+n.At.Format(time.RFC3339Nano), "%s shows the wedding as it is", name)
		}
	}
	return nil
}

func (g *gatherer) alerts(ctx context.Context) error {
	all, err := g.tx.AlertsOf(ctx, g.ids, g.c.DayFrom)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.ToldAt == nil || a.ToldAt.Before(g.c.DayFrom) {
			continue
		}
		subject := "integration/" + a.Scope.Target
		key := "alert/" + string(a.ID) + "/" + a.OpenedAt.Format(time.RFC3339Nano)
		g.note(domain.NoteAlert, false, *a.ToldAt, subject, key+"/told", "people were told (%s)", a.ToldSeverity)
		// When more people were told is not kept; it was before somebody said that they look after it.
		raised := g.tx.Now
		if a.AcknowledgedAt != nil && a.AcknowledgedAt.Before(raised) {
			raised = *a.AcknowledgedAt
		}
		for level := 1; level <= a.Level; level++ {
			g.note(domain.NoteAlert, false, raised, subject, fmt.Sprintf("%s/level/%d", key, level), "more people were told, because nobody had said that they look after it")
		}
		if a.AcknowledgedAt != nil {
			g.note(domain.NoteAlert, false, *a.AcknowledgedAt, subject, key+"/acknowledged", "somebody said that they look after it")
		}
	}
	return nil
}

// slack is by how much a boost may end before the one that would be made now.
func slack(c domain.WeddingCare, until time.Time) time.Duration {
	if until.Before(c.DayUntil) {
		return 24 * time.Hour
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// FailoverOutcome is what became of the wish that a connection be read at once.
type FailoverOutcome struct {
	Integration domain.IntegrationID
	Fault       string // why it could not be; "" = it is
}

// FailedOver notes what became of connections that were to be polled at once, with an audit line for each.
func FailedOver(ctx context.Context, tx *store.Tx, wedding domain.BookingID, outcomes []FailoverOutcome) error {
	var notes []domain.WeddingNote
	for _, o := range outcomes {
		subject, text, after := "integration/"+string(o.Integration), "it is read at once, without waiting for its news", "asked"
		if o.Fault != "" {
			text, after = "it could not be read at once: "+o.Fault, "refused"
		}
		notes = append(notes, domain.WeddingNote{At: tx.Now, Kind: domain.NoteFailover, Subject: subject, Text: text,
			Key: "failover/" + string(o.Integration) + "/" + tx.Now.Format(time.RFC3339Nano)})
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: actor, Action: "wedding.failover", Reason: "it told of no news on the day of a wedding", Subject: subject,
			After: map[string]string{"booking": string(wedding), "failover": after}}); err != nil {
			return err
		}
	}
	_, err := tx.AddWeddingNotes(ctx, wedding, notes)
	return err
}
