package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// View is what a message says, before it has a form. It holds personal data and is kept nowhere.
type View struct {
	Kind       domain.NotifyKind
	Severity   domain.Severity
	WeddingDay bool
	Person     string // who is told
	Resource   string // what it concerns, by name
	System     string // label of a connection
	Clash      domain.ConflictKind
	Rule       domain.AlertKind // of an alert
	Members    int              // connections that an alert of a platform is about, 0 for one of a single connection
	What       string           // the rule and the numbers, or the reason, in words
	When       string           // of a booking on the clock of its place, else in the person's zone
	Bookings   []BookingView
	Ways       []string // out, better ones first
	State      string   // of what is over
	Count      int      // held removals
	Reminders  int      // that joined it
	Link       string   // to the dashboard; "" when this installation has no public address
	Reference  string   // the id of the message
	Items      []View   // of a digest, which has nothing of the above but Person, Link and Reference
}

// BookingView is a booking in a message.
type BookingView struct {
	Title string // "" for a private one
	When  string
}

// Load finds out what a notification says to a person now. over says why it needs no saying any more, "" when it does. link is
// the public address of the dashboard, or "".
func Load(ctx context.Context, tx *store.Tx, who domain.Recipient, n domain.Notification, link string) (v View, over string, err error) {
	loc, err := calendartime.LoadZone(who.Zone)
	if err != nil {
		loc = time.UTC
	}
	l := loader{tx: tx, loc: loc}
	v = View{Kind: n.Kind, Severity: n.Severity, WeddingDay: n.WeddingDay, Person: who.Name, Reminders: n.Reminders, Link: link, Reference: n.MessageID}
	what, id, _ := strings.Cut(n.Subject, "/")
	switch what {
	case "conflict":
		over, err = l.conflict(ctx, &v, domain.ConflictID(id))
	case "edit-conflict":
		over, err = l.edit(ctx, &v, domain.EditConflictID(id))
	case "quarantine":
		over, err = l.quarantine(ctx, &v, domain.QuarantineID(id))
	case "integration":
		over, err = l.integration(ctx, &v, domain.IntegrationID(id))
	case "freshness":
		over, err = l.freshness(ctx, &v, domain.IntegrationID(id))
	case "hold":
		over, err = l.hold(ctx, &v, domain.BookingID(id))
	case "preflight", "wedding":
		over, err = l.wedding(ctx, &v, domain.BookingID(id))
	case "alert":
		over, err = l.alert(ctx, &v, domain.AlertID(id))
	case "maintenance":
		over, err = l.maintenance(ctx, &v, domain.MaintenanceID(id))
	case "recipient":
		// What a sample says is all in the templates.
	default:
		return v, "", domain.E(domain.KindInternal, "a notification about %q cannot be said", what)
	}
	if domain.KindOf(err) == domain.KindNotFound {
		return v, "what it was about is gone", nil
	}
	return v, over, err
}

// SubjectOf is the first part of the subject of notifications of a kind, such as conflict of conflict/<id>.
func SubjectOf(k domain.NotifyKind) string {
	switch k {
	case domain.NotifyEditConflict:
		return "edit-conflict"
	case domain.NotifyQuarantine:
		return "quarantine"
	case domain.NotifyReconnect:
		return "integration"
	case domain.NotifySyncStale:
		return "freshness"
	case domain.NotifyHoldExpiring:
		return "hold"
	case domain.NotifyTest:
		return "recipient"
	case domain.NotifyPreflightFailed, domain.NotifyPreflightPassed:
		return "preflight"
	case domain.NotifyWeddingFrozen, domain.NotifyWeddingOver:
		return "wedding"
	case domain.NotifyAlertOpened, domain.NotifyAlertWorse, domain.NotifyAlertReminder, domain.NotifyAlertEscalated, domain.NotifyAlertAcknowledged, domain.NotifyAlertResolved:
		return "alert"
	case domain.NotifyMaintenanceProposed, domain.NotifyMaintenanceAnnounced, domain.NotifyMaintenanceMoved, domain.NotifyMaintenanceCancelled,
		domain.NotifyMaintenanceStarted, domain.NotifyMaintenanceEnded:
		return "maintenance"
	case domain.NotifyConflictOpened, domain.NotifyConflictReminder, domain.NotifyConflictEscalated, domain.NotifyConflictWorse, domain.NotifyConflictRefused,
		domain.NotifyConflictStuck, domain.NotifyConflictResolved:
	}
	return "conflict"
}

type loader struct {
	tx  *store.Tx
	loc *time.Location // the person's, or of the place of what is told of
}

func (l loader) conflict(ctx context.Context, v *View, id domain.ConflictID) (over string, err error) {
	c, err := l.tx.Conflict(ctx, id)
	if err != nil {
		return "", err
	}
	switch v.Kind {
	case domain.NotifyConflictResolved:
		if c.State.Open() {
			return "the conflict is open again", nil
		}
	case domain.NotifyConflictRefused:
		if !c.State.Open() {
			return "the conflict is " + string(c.State) + " already", nil
		}
	case domain.NotifyConflictStuck:
		if c.State != domain.ConflictStuck {
			return "the conflict is " + string(c.State) + " by now", nil
		}
	default:
		if c.State != domain.ConflictOpen && c.State != domain.ConflictStuck {
			return "the conflict is " + string(c.State) + " already", nil
		}
	}
	r, err := l.tx.Resource(ctx, c.ResourceID)
	if err != nil {
		return "", err
	}
	// One clock for all, so that they can be compared: that of the explanation.
	l.loc = weddingday.ZoneOf("", r.Zone)
	v.Resource, v.Clash, v.What, v.When, v.State = r.Name, c.Kind, c.Explanation, l.span(c.Overlap), string(c.State)
	for _, id := range []domain.BookingID{c.BookingID, c.OtherID} {
		if id == "" {
			continue
		}
		b, err := l.tx.Booking(ctx, id)
		if err != nil {
			return "", err
		}
		v.Bookings = append(v.Bookings, l.booking(b))
	}
	for i, a := range c.Alternatives {
		if i == 3 || v.Kind == domain.NotifyConflictResolved {
			break
		}
		way := "move to " + l.span(a.When.Span)
		if a.Action == domain.ActionReassign {
			other, err := l.tx.Resource(ctx, a.ResourceID)
			if err != nil {
				return "", err
			}
			way = "give it to " + other.Name
		}
		v.Ways = append(v.Ways, way)
	}
	return "", nil
}

func (l loader) booking(b domain.Booking) BookingView {
	out := BookingView{When: l.span(b.When.Span)}
	if !b.Private {
		out.Title = b.Details.Title
	}
	if out.Title == "" && !b.Private {
		out.Title = string(b.Category)
	}
	return out
}

func (l loader) edit(ctx context.Context, v *View, id domain.EditConflictID) (over string, err error) {
	e, err := l.tx.EditConflict(ctx, id)
	if err != nil {
		return "", err
	}
	if e.State != domain.EditOpen {
		return "the edit conflict is " + string(e.State) + " already", nil
	}
	b, err := l.tx.Booking(ctx, e.BookingID)
	if err != nil {
		return "", err
	}
	i, err := l.tx.Integration(ctx, e.IntegrationID)
	if err != nil {
		return "", err
	}
	r, err := l.tx.Resource(ctx, b.ResourceID)
	if err != nil {
		return "", err
	}
	l.loc = weddingday.ZoneOf(b.When.Zone, r.Zone)
	v.System, v.Bookings, v.What = i.Name, []BookingView{l.booking(b)}, differs(b, e)
	return "", nil
}

// differs says what a booking is here and there. An entry that is gone, or a wedding no more, is asked about while a wedding
// is near even if nobody changed it here; a copy's texts are reduced and tell no category.
func differs(b domain.Booking, e domain.EditConflict) string {
	there := e.There
	switch {
	case e.Kind == domain.EditRemoved:
		return "It is gone there, and kept here until somebody decides."
	case e.ThereIsSource && b.Category == domain.CategoryWedding && b.Blocks() && (there.Category != domain.CategoryWedding || there.Free):
		return "There it is no wedding that takes time any more, and here it stays one until somebody decides."
	}
	return "It was changed here, and there too, since both agreed."
}

func (l loader) quarantine(ctx context.Context, v *View, id domain.QuarantineID) (over string, err error) {
	q, err := l.tx.Quarantine(ctx, id)
	if err != nil {
		return "", err
	}
	if q.State != domain.QuarantineOpen {
		return "the quarantine is " + string(q.State) + " already", nil
	}
	i, err := l.tx.Integration(ctx, q.IntegrationID)
	if err != nil {
		return "", err
	}
	v.System, v.Count, v.What = i.Name, q.Held, q.Reason
	v.When = "nothing is removed before somebody decides; without a decision everything stays after " + l.moment(q.ExpiresAt)
	return "", nil
}

func (l loader) integration(ctx context.Context, v *View, id domain.IntegrationID) (over string, err error) {
	i, err := l.tx.Integration(ctx, id)
	if err != nil {
		return "", err
	}
	if i.State != domain.IntegrationNeedsReconnect {
		return "the connection is " + string(i.State) + " by now", nil
	}
	v.System, v.What = i.Name, i.StateReason
	return "", nil
}

func (l loader) freshness(ctx context.Context, v *View, id domain.IntegrationID) (over string, err error) {
	i, err := l.tx.Integration(ctx, id)
	if err != nil {
		return "", err
	}
	measured, err := l.tx.Freshness(ctx, id)
	if err != nil {
		return "", err
	}
	f := freshness.Of(l.tx.Now, i, measured[id])
	if !f.Late {
		return "the connection caught up", nil
	}
	v.System, v.What = i.Name, f.LateReason
	if i.LastSyncAt != nil {
		v.When = "last read " + l.moment(*i.LastSyncAt)
	}
	return "", nil
}

func (l loader) hold(ctx context.Context, v *View, id domain.BookingID) (over string, err error) {
	h, err := l.tx.HoldOf(ctx, id)
	if err != nil {
		return "", err
	}
	switch {
	case h.State != domain.HoldLive:
		return "the hold is " + string(h.State) + " by now", nil
	case !h.Live(l.tx.Now):
		return "the hold has ended", nil
	}
	b, err := l.tx.Booking(ctx, id)
	if err != nil {
		return "", err
	}
	r, err := l.tx.Resource(ctx, b.ResourceID)
	if err != nil {
		return "", err
	}
	l.loc = weddingday.ZoneOf(b.When.Zone, r.Zone)
	v.Resource, v.What, v.When, v.Bookings = r.Name, "It ends at "+l.moment(h.ExpiresAt)+".", l.span(b.When.Span), []BookingView{l.booking(b)}
	return "", nil
}

const momentForm = "Mon 2 January 2006, 15:04"

func (l loader) moment(t time.Time) string {
	return fmt.Sprintf("%s (%s)", t.In(l.loc).Format(momentForm), l.loc)
}

// span says a stretch of time; the day is said once when it is one.
func (l loader) span(s domain.Span) string {
	from, to := s.Start.In(l.loc), s.End.In(l.loc)
	end := to.Format("15:04")
	if from.YearDay() != to.YearDay() || from.Year() != to.Year() {
		end = to.Format(momentForm)
	}
	return fmt.Sprintf("%s to %s (%s)", from.Format(momentForm), end, l.loc)
}

// Sample is a view with made-up content, for looking at templates.
func Sample(kind domain.NotifyKind, who domain.Recipient, now time.Time, link string) View {
	loc, err := calendartime.LoadZone(who.Zone)
	if err != nil {
		loc = time.UTC
	}
	l := loader{loc: loc}
	start := now.UTC().Truncate(24*time.Hour).AddDate(0, 1, 0).Add(13 * time.Hour)
	span := domain.Span{Start: start, End: start.Add(4 * time.Hour)}
	v := View{Kind: kind, Severity: domain.SeverityHigh, Person: who.Name, Link: link, Reference: "sample"}
	switch kind {
	case domain.NotifyConflictOpened, domain.NotifyConflictReminder, domain.NotifyConflictEscalated, domain.NotifyConflictWorse, domain.NotifyConflictRefused,
		domain.NotifyConflictStuck, domain.NotifyConflictResolved:
		v.Resource, v.Clash, v.What, v.When, v.State = "Sample resource", domain.ConflictOverlap, "both take the same time for 4 h", l.span(span), string(domain.ConflictResolved)
		v.Bookings = []BookingView{{"Sample wedding", l.span(span)}, {"", l.span(span)}}
		v.Ways = []string{"give it to Second sample", "move to " + l.span(domain.Span{Start: span.Start.AddDate(0, 0, 1), End: span.End.AddDate(0, 0, 1)})}
	case domain.NotifyEditConflict:
		v.System, v.What, v.Bookings = "Sample calendar", "It was changed here, and there too, since both agreed.", []BookingView{{"Sample wedding", l.span(span)}}
	case domain.NotifyQuarantine:
		v.System, v.Count, v.What, v.When = "Sample calendar", 12, "12 of 30 known entries are gone at once", "nothing is removed before somebody decides"
	case domain.NotifyReconnect:
		v.System, v.What = "Sample calendar", "the system no longer accepts our credentials"
	case domain.NotifyAlertOpened, domain.NotifyAlertWorse, domain.NotifyAlertReminder, domain.NotifyAlertEscalated, domain.NotifyAlertAcknowledged, domain.NotifyAlertResolved:
		v.System, v.Rule, v.What, v.When, v.State = "Sample calendar", domain.AlertConnection, "down since 2026-06-01 10:00 UTC: no answer", l.moment(now), string(domain.AlertResolved)
	case domain.NotifyPreflightFailed:
		v.Resource, v.What, v.When = "Sample resource", "One thing puts the wedding in danger.", l.span(span)
		v.Ways = []string{"Sample calendar: it did not answer, twice. See whether the system itself works; if it does, look at its settings."}
	case domain.NotifyPreflightPassed:
		v.Resource, v.What, v.When = "Sample resource", "Everything that was checked will hold through the day.", l.span(span)
	case domain.NotifyWeddingFrozen:
		v.Resource, v.What, v.When = "Sample resource", l.moment(span.End), l.span(span)
	case domain.NotifyWeddingOver:
		v.Resource, v.What, v.When = "Sample resource", "Nothing failed on the day, and nothing is left to do.", l.span(span)
	case domain.NotifyHoldExpiring:
		v.Resource, v.What, v.When = "Sample resource", "It ends at "+l.moment(now.Add(time.Hour))+".", l.span(span)
	case domain.NotifyMaintenanceProposed, domain.NotifyMaintenanceAnnounced, domain.NotifyMaintenanceMoved, domain.NotifyMaintenanceCancelled,
		domain.NotifyMaintenanceStarted, domain.NotifyMaintenanceEnded:
		v.System, v.What, v.When, v.State = "Sample calendar", "the calendar moves to a new server", l.span(span), "everything that was held is done"
	case domain.NotifyTest:
	case domain.NotifySyncStale:
		v.System, v.What, v.When = "Sample calendar", "the system was last read longer ago than it should be", "last read "+l.moment(now.Add(-time.Hour))
	}
	return v
}
