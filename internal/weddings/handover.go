package weddings

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
)

// handOver ends the day: what happened up to now is gathered a last time, the report is stored and told of, and everything that the
// day had set up ends.
func (l *looker) handOver(ctx context.Context) (Looked, error) {
	tx := l.tx
	if l.c.State == "" {
		// It was made or moved so late that it had no day here.
		return l.finish(ctx, domain.CareEnded, "its day is over")
	}
	if err := tx.SaveWeddingCare(ctx, l.c); err != nil {
		return Looked{}, err
	}
	reach, err := reachOf(ctx, tx, l.b)
	if err != nil {
		return Looked{}, err
	}
	ids := idsOf(reach)
	healths, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return Looked{}, err
	}
	g := &gatherer{looker: l, ids: ids, names: namesOf(reach)}
	if _, err := g.gather(ctx, healths); err != nil {
		return Looked{}, err
	}
	log, err := tx.WeddingNotes(ctx, l.c.BookingID, l.c.DayFrom, notesAtOnce)
	if err != nil {
		return Looked{}, err
	}
	left, err := g.left(ctx, healths)
	if err != nil {
		return Looked{}, err
	}
	for subject, name := range namesOf(reach) {
		g.names["copy/"+subject[len("integration/"):]] = name
	}
	report := weddingcare.Report(l.c, log, left, g.names, tx.Now)
	if err := tx.SaveHandOver(ctx, report); err != nil {
		return Looked{}, err
	}
	if err := tx.PurgeWeddings(ctx, purgeAtOnce); err != nil {
		return Looked{}, err
	}
	quiet := "false"
	if report.Quiet {
		quiet = "true"
	}
	if err := tx.Emit(ctx, domain.TopicWeddingHandOver, map[string]string{"booking": string(l.c.BookingID), "date": l.c.Date, "quiet": quiet, "told": "handed_over"}); err != nil {
		return Looked{}, err
	}
	return l.finish(ctx, domain.CareHandedOver, "the day of the wedding is over")
}

// left is what somebody still has to do.
func (g *gatherer) left(ctx context.Context, healths map[domain.IntegrationID]domain.Health) ([]domain.DayLeft, error) {
	var out []domain.DayLeft
	add := func(subject, what, do string) {
		out = append(out, domain.DayLeft{Subject: subject, What: what, Do: do})
	}
	concerned, err := bookingsOf(ctx, g.tx, g.c.BookingID)
	if err != nil {
		return nil, err
	}
	known, err := g.tx.ConflictsAmong(ctx, concerned)
	if err != nil {
		return nil, err
	}
	for _, c := range known.Open {
		add("conflict/"+string(c.ID), "a "+string(c.Severity)+" conflict is "+string(c.State)+": "+c.Explanation, "Decide it on the dashboard.")
	}
	about, err := g.tx.DeliveriesAbout(ctx, g.c.BookingID, aboutAtOnce)
	if err != nil {
		return nil, err
	}
	for _, d := range about {
		_, name := g.name(d.IntegrationID)
		if d.State == domain.DeliveryDead {
			add("delivery/"+string(d.ID), "a message of "+name+" about the wedding could not be applied: "+d.Reason, "Mend the cause and replay it, or discard it.")
		} else {
			add("delivery/"+string(d.ID), "a message of "+name+" about the wedding still waits", "It is tried again by itself; look at its reason if it stays.")
		}
	}
	unread, err := g.tx.UnreadDeliveries(ctx, g.ids, g.c.DayFrom.Add(-48*time.Hour))
	if err != nil {
		return nil, err
	}
	pushes, err := g.tx.PushesOf(ctx, g.c.BookingID)
	if err != nil {
		return nil, err
	}
	for _, p := range pushes {
		if p.State != domain.PushDone {
			_, name := g.name(p.IntegrationID)
			add("copy/"+string(p.IntegrationID), name+" does not show the wedding as it is: "+orElse(p.Reason, "it is about to be written"), "Put the entry right there if it stays.")
		}
	}
	for _, id := range g.ids {
		subject, name := g.name(id)
		switch h := healths[id]; h.State {
		case domain.HealthDown, domain.HealthNeedsReconnect, domain.HealthFailingOver, domain.HealthPolling, domain.HealthDegraded:
			add(subject, name+" "+became[h.State]+": "+h.Reason.Text, "Look at its health.")
		}
		if unread[id] > 0 {
			add(subject, "messages of "+name+" could not be read; nobody knows what they tell of", "Look at its dead deliveries.")
		}
	}
	removals, edits, err := undecided(ctx, g.tx, g.c.BookingID)
	if err != nil {
		return nil, err
	}
	wedding := "booking/" + string(g.c.BookingID)
	if removals > 0 {
		add(wedding, "a system says that the wedding is gone, and that is held", "Approve or restore the held removals.")
	}
	if edits > 0 {
		add(wedding, "the wedding was changed on both sides", "Choose which version stays.")
	}
	return out, nil
}
