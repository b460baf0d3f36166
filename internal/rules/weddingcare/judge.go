package weddingcare

import (
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Facts are what is known of a wedding and of everything that it rests on.
type Facts struct {
	Care      domain.WeddingCare
	Status    domain.BookingStatus
	Conflicts []domain.Conflict // that are not over and concern it or its timeline
	Removals  int               // of it that are held for a person
	Edits     int               // of it that wait for a person: changed on both sides
	// Timeline is nil when there is none.
	Timeline    *Timeline
	Connections []Connection
}

// Timeline is the order of the day, as far as it is judged.
type Timeline struct {
	Items       int
	Clashes     int // pairs of items that one vendor cannot keep
	Drifted     int // items that somebody moved or cancelled in a vendor's calendar
	OfVendors   int // items that take a vendor's time
	Unconfirmed int // of them, those that their vendors did not confirm
	Outdated    int // and those that changed since
}

// Connection is a system that the wedding rests on.
type Connection struct {
	Integration domain.Integration
	Health      domain.Health
	Said        Said
	Grant       *Grant // of a consent; nil = it has none
	Credentials []domain.WebhookCredential
	Watches     []domain.Watch // that are not over
	Freshness   domain.Freshness
	ReadFailed  string            // why the last reading failed, "" if it did not
	Deliveries  []domain.Delivery // that tell of the wedding and wait, or were given up
	Unread      int               // that were given up and tell of nobody knows what
	Push        *domain.Push      // of the wedding to it; nil = it is not shown there
}

// Said is what a connection answered when it was asked now.
type Said struct {
	Asked   bool // false: nobody could ask
	Silent  bool // it cannot be asked: its system has no call for it
	Outcome domain.ProbeOutcome
	TookMS  int64
	Cause   domain.ErrorKind
}

// Grant is a consent by which a system is connected.
type Grant struct {
	Active    bool
	ExpiresAt time.Time // of the access token
	Renews    bool      // there is a refresh token
}

// Judge says of everything that the wedding rests on whether it will hold through the day, the worst first.
func Judge(f Facts, now time.Time) []domain.Check {
	loc, err := calendartime.LoadZone(f.Care.Zone)
	if err != nil {
		loc = time.UTC
	}
	j := &judge{now: now, until: f.Care.DayUntil, loc: loc}
	j.wedding(f)
	for _, c := range f.Connections {
		j.connection(c)
	}
	slices.SortStableFunc(j.checks, func(a, b domain.Check) int { return b.State.Level() - a.State.Level() })
	return j.checks
}

type judge struct {
	now, until time.Time
	loc        *time.Location
	about      domain.Integration
	checks     []domain.Check
}

func (j *judge) add(kind domain.CheckKind, state domain.CheckState, do, format string, args ...any) {
	j.checks = append(j.checks, domain.Check{Kind: kind, State: state, IntegrationID: j.about.ID, Name: j.about.Name, Reason: fmt.Sprintf(format, args...), Do: do})
}

func (j *judge) at(t time.Time) string { return t.In(j.loc).Format("Mon 2 Jan 2006, 15:04") }

// counted puts a number before a thing.
func counted(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (j *judge) wedding(f Facts) {
	switch f.Status {
	case domain.StatusConfirmed:
		j.add(domain.CheckConfirmed, domain.CheckOK, "", "the booking is confirmed")
	case domain.StatusTentative, domain.StatusCancelled:
		j.add(domain.CheckConfirmed, domain.CheckAttention, "Confirm the booking, or let it go.", "the booking is %s", f.Status)
	}
	severe := 0
	for _, c := range f.Conflicts {
		if c.Severity.Level() >= domain.SeverityHigh.Level() {
			severe++
		}
	}
	switch n := len(f.Conflicts); {
	case severe > 0:
		j.add(domain.CheckConflicts, domain.CheckBlocking, "Decide them on the dashboard.", "%s of the wedding or its timeline, %d of them severe", counted(n, "conflict is open", "conflicts are open"), severe)
	case n > 0:
		j.add(domain.CheckConflicts, domain.CheckAttention, "Decide them on the dashboard.", "%s of the wedding or its timeline", counted(n, "conflict is open", "conflicts are open"))
	default:
		j.add(domain.CheckConflicts, domain.CheckOK, "", "nothing clashes with it")
	}
	switch {
	case f.Removals > 0:
		j.add(domain.CheckHeld, domain.CheckBlocking, "Approve or restore the held removals.", "a system says that the wedding is gone, along with many other entries; nothing is removed before somebody decides")
	case f.Edits > 0:
		j.add(domain.CheckHeld, domain.CheckAttention, "Choose which version stays.", "it was changed on both sides in %s", counted(f.Edits, "system", "systems"))
	default:
		j.add(domain.CheckHeld, domain.CheckOK, "", "no removal and no edit of it waits for a decision")
	}
	j.timeline(f.Timeline)
	if len(f.Connections) == 0 {
		j.add(domain.CheckConnection, domain.CheckAttention, "Connect the calendar or the booking system of its resource.", "no system is connected that carries the wedding")
	}
}

func (j *judge) timeline(t *Timeline) {
	const look = "Look at the timeline of the wedding."
	switch {
	case t == nil || t.Items == 0:
		j.add(domain.CheckTimeline, domain.CheckAttention, "Write the order of the day, so that vendors can confirm it.", "there is no timeline")
		j.add(domain.CheckVendors, domain.CheckNone, "", "without a timeline there is nothing to confirm")
		return
	case t.Clashes > 0:
		j.add(domain.CheckTimeline, domain.CheckBlocking, look, "%s that one vendor cannot keep both of", counted(t.Clashes, "pair of items", "pairs of items"))
	case t.Drifted > 0:
		j.add(domain.CheckTimeline, domain.CheckAttention, look, "%s moved or cancelled in a vendor's calendar", counted(t.Drifted, "item was", "items were"))
	default:
		j.add(domain.CheckTimeline, domain.CheckOK, "", "the timeline has %s and can be kept", counted(t.Items, "item", "items"))
	}
	switch open := t.Unconfirmed + t.Outdated; {
	case t.OfVendors == 0:
		j.add(domain.CheckVendors, domain.CheckNone, "", "no item takes a vendor's time")
	case open > 0:
		j.add(domain.CheckVendors, domain.CheckAttention, "Send the vendors their links again, or ask them.", "of %s %d are not confirmed and %d changed since they were",
			counted(t.OfVendors, "item of vendors", "items of vendors"), t.Unconfirmed, t.Outdated)
	default:
		j.add(domain.CheckVendors, domain.CheckOK, "", "vendors confirmed %s", counted(t.OfVendors, "item", "all of their items"))
	}
}

func (j *judge) connection(c Connection) {
	j.about = c.Integration
	defer func() { j.about = domain.Integration{} }()
	if !j.connected(c) {
		// What a connection does that does not run says nothing new.
		return
	}
	j.answers(c)
	j.credentials(c)
	j.webhooks(c)
	j.watch(c)
	j.fresh(c)
	j.deliveries(c)
	j.copied(c)
}

func (j *judge) connected(c Connection) bool {
	switch i := c.Integration; i.State {
	case domain.IntegrationActive:
	case domain.IntegrationNeedsReconnect:
		j.add(domain.CheckConnected, domain.CheckBlocking, "Connect it again.", "it does not accept our credentials: nothing is read or written")
		return false
	case domain.IntegrationPaused:
		j.add(domain.CheckConnected, domain.CheckBlocking, "Resume it.", "it is paused: what arrives is kept and not applied")
		return false
	default:
		j.add(domain.CheckConnected, domain.CheckAttention, "Finish connecting it, or remove it.", "it is %s", i.State)
		return false
	}
	switch h := c.Health; h.State {
	case domain.HealthDown:
		j.add(domain.CheckConnected, domain.CheckBlocking, "See whether the system itself works; if it does, look at its settings.", "it is down since %s: %s", j.at(h.Since), h.Reason.Text)
	case domain.HealthFailingOver, domain.HealthPolling:
		j.add(domain.CheckConnected, domain.CheckAttention, "Look why it tells of no news; until then it is read at intervals.", "it tells of no news since %s: %s", j.at(h.Since), h.Reason.Text)
	case domain.HealthDegraded:
		j.add(domain.CheckConnected, domain.CheckAttention, "", "it works, but not well, since %s: %s", j.at(h.Since), h.Reason.Text)
	case domain.HealthMaintenance:
		j.add(domain.CheckConnected, domain.CheckAttention, "See that the maintenance ends before the day.", "it is in maintenance")
	default:
		j.add(domain.CheckConnected, domain.CheckOK, "", "it runs")
	}
	return true
}

func (j *judge) answers(c Connection) {
	s := c.Said
	switch {
	case !s.Asked:
		j.add(domain.CheckAnswers, domain.CheckAttention, "", "nobody could ask it now; it is asked again")
	case s.Silent:
		j.add(domain.CheckAnswers, domain.CheckNone, "", "its system has nothing to ask")
	case s.Outcome == domain.ProbeOK:
		j.add(domain.CheckAnswers, domain.CheckOK, "", "it answered in %d ms", s.TookMS)
	case s.Outcome == domain.ProbeRefused:
		j.add(domain.CheckAnswers, domain.CheckBlocking, "Connect it again.", "it refused our credentials, twice")
	case s.Outcome == domain.ProbeFailed:
		j.add(domain.CheckAnswers, domain.CheckBlocking, "See whether the system itself works; if it does, look at its settings.", "it did not answer, twice (%s)", s.Cause)
	case s.Outcome == domain.ProbeLimited:
		j.add(domain.CheckAnswers, domain.CheckAttention, "", "it answers that we ask too often; it is asked again")
	default:
		j.add(domain.CheckAnswers, domain.CheckAttention, "", "our own connection was in doubt when it was asked; it is asked again")
	}
}

func (j *judge) credentials(c Connection) {
	g := c.Grant
	switch {
	case g == nil:
		j.add(domain.CheckCredentials, domain.CheckNone, "", "its credentials do not expire by themselves")
	case !g.Active:
		j.add(domain.CheckCredentials, domain.CheckBlocking, "Connect it again.", "the consent was withdrawn or ran out")
	case !g.Renews && g.ExpiresAt.Before(j.until):
		j.add(domain.CheckCredentials, domain.CheckBlocking, "Connect it again shortly before the day.", "the consent cannot be renewed and ends %s, before the day does", j.at(g.ExpiresAt))
	case g.Renews && j.now.Sub(g.ExpiresAt) > time.Hour:
		j.add(domain.CheckCredentials, domain.CheckAttention, "Connect it again if this stays.", "the access token ran out %s and was not renewed", j.at(g.ExpiresAt))
	default:
		j.add(domain.CheckCredentials, domain.CheckOK, "", "the consent is valid and is renewed by itself")
	}
}

func (j *judge) webhooks(c Connection) {
	var used, ends *domain.WebhookCredential
	for n := range c.Credentials {
		one := &c.Credentials[n]
		if one.LastUsedAt != nil && (used == nil || one.LastUsedAt.After(*used.LastUsedAt)) {
			used = one
		}
		if one.NotAfter != nil && one.NotAfter.Before(j.until) && (ends == nil || one.NotAfter.Before(*ends.NotAfter)) {
			ends = one
		}
	}
	const do = "Give the system a credential that lasts, or prolong this one."
	switch {
	case len(c.Credentials) == 0:
		j.add(domain.CheckWebhooks, domain.CheckNone, "", "no credential of its webhooks has an end")
	case used != nil && used.NotAfter != nil && used.NotAfter.Before(j.until):
		j.add(domain.CheckWebhooks, domain.CheckBlocking, do, "the credential that its webhooks show is not accepted after %s", j.at(*used.NotAfter))
	case ends != nil && ends.NotAfter.After(j.now):
		j.add(domain.CheckWebhooks, domain.CheckAttention, do, "a credential of its webhooks is not accepted after %s; it is not the one that was shown last", j.at(*ends.NotAfter))
	default:
		j.add(domain.CheckWebhooks, domain.CheckOK, "", "its webhooks are accepted through the day")
	}
}

func (j *judge) watch(c Connection) {
	var w *domain.Watch
	for n := range c.Watches {
		if c.Watches[n].State == domain.WatchActive {
			w = &c.Watches[n]
		}
	}
	switch {
	case len(c.Watches) == 0:
		j.add(domain.CheckWatch, domain.CheckNone, "", "it is not asked to tell of news")
	case w == nil:
		j.add(domain.CheckWatch, domain.CheckAttention, "See the fault of its watch.", "it was asked to tell of news and does not yet; it is read at intervals")
	case w.ExpiresAt != nil && !w.ExpiresAt.After(j.now):
		j.add(domain.CheckWatch, domain.CheckAttention, "See the fault of its watch.", "it stopped telling of news %s; it is read at intervals", j.at(*w.ExpiresAt))
	case w.ExpiresAt != nil && w.ExpiresAt.Before(j.until) && (w.Failures > 0 || !w.RenewAfter.Before(*w.ExpiresAt)):
		j.add(domain.CheckWatch, domain.CheckAttention, "See the fault of its watch.", "it stops telling of news %s, and prolonging that did not work yet", j.at(*w.ExpiresAt))
	case w.ExpiresAt != nil && w.ExpiresAt.Before(j.until):
		j.add(domain.CheckWatch, domain.CheckOK, "", "it tells of news until %s; that is prolonged %s", j.at(*w.ExpiresAt), j.at(w.RenewAfter))
	default:
		j.add(domain.CheckWatch, domain.CheckOK, "", "it tells of news through the day")
	}
}

func (j *judge) fresh(c Connection) {
	f := c.Freshness
	switch i := c.Integration; {
	case c.ReadFailed != "":
		j.add(domain.CheckFresh, domain.CheckAttention, "Read it anew and look at the reason.", "the last reading failed: %s", c.ReadFailed)
	case !i.Direction.Imports() || f.Target == 0:
		j.add(domain.CheckFresh, domain.CheckNone, "", "it is not read by itself")
	case i.LastSyncAt == nil:
		j.add(domain.CheckFresh, domain.CheckAttention, "Read it anew.", "it was never read to its end")
	case f.Late:
		j.add(domain.CheckFresh, domain.CheckAttention, "Read it anew.", "%s (last read %s)", f.LateReason, j.at(*i.LastSyncAt))
	default:
		j.add(domain.CheckFresh, domain.CheckOK, "", "it was last read %s", j.at(*i.LastSyncAt))
	}
}

func (j *judge) deliveries(c Connection) {
	dead, waiting := 0, 0
	for _, d := range c.Deliveries {
		if d.State == domain.DeliveryDead {
			dead++
		} else {
			waiting++
		}
	}
	switch {
	case dead > 0:
		j.add(domain.CheckDeliveries, domain.CheckBlocking, "Mend the cause and replay them.", "%s of this wedding could not be applied", counted(dead, "message", "messages"))
	case waiting > 0:
		j.add(domain.CheckDeliveries, domain.CheckAttention, "", "%s of this wedding did not take effect yet and %s tried again", counted(waiting, "message", "messages"), be(waiting))
	case c.Unread > 0:
		j.add(domain.CheckDeliveries, domain.CheckAttention, "Look at the dead deliveries of the connection.", "%s could not be read; nobody knows whether they tell of this wedding", counted(c.Unread, "message", "messages"))
	default:
		j.add(domain.CheckDeliveries, domain.CheckOK, "", "nothing that it told waits")
	}
}

func be(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (j *judge) copied(c Connection) {
	p := c.Push
	switch {
	case p == nil || p.State == domain.PushDone:
		if p == nil {
			j.add(domain.CheckCopy, domain.CheckNone, "", "the wedding is not written to it")
			return
		}
		j.add(domain.CheckCopy, domain.CheckOK, "", "it shows the wedding as it is")
	case p.State == domain.PushFailed:
		j.add(domain.CheckCopy, domain.CheckBlocking, "Put the entry right there, or mend the cause and write it again.", "the wedding could not be written to it: %s", p.Reason)
	case p.State == domain.PushRetrying:
		j.add(domain.CheckCopy, domain.CheckAttention, "", "the wedding is not up to date there yet: %s", p.Reason)
	default:
		j.add(domain.CheckCopy, domain.CheckAttention, "", "the wedding is about to be written to it")
	}
}
