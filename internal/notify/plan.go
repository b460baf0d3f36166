package notify

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	rules "github.com/wedsync/wedsync/internal/rules/notify"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	factsAtOnce = 100
	// aboutAtOnce bounds the earlier notifications of one subject that are looked at: every person in every way, a few times.
	aboutAtOnce = 2000
	purgeAtOnce = 500
	// LookEvery is how often connections are looked at for being stale, which no event tells of.
	LookEvery = 15 * time.Minute
)

// Planned is what a plan came to.
type Planned struct {
	Facts  int       // that were looked at
	Added  int       // notifications, suppressed ones included
	More   bool      // facts wait still
	LookAt time.Time // when to look for stale connections; zero = nobody wants to know
}

// Plan takes facts that wait and writes the notifications that follow from them. With look it also looks for connections that
// have become stale. Running it again finds nothing to do.
func Plan(ctx context.Context, tx *store.Tx, look bool) (Planned, error) {
	facts, err := tx.TakeFacts(ctx, factsAtOnce)
	if err != nil {
		return Planned{}, err
	}
	p := &planner{tx: tx}
	if p.people, err = tx.ActiveRecipients(ctx); err != nil {
		return Planned{}, err
	}
	for _, f := range facts {
		if err := p.fact(ctx, f); err != nil {
			return Planned{}, err
		}
	}
	out := Planned{Facts: len(facts), More: len(facts) == factsAtOnce}
	if p.wantStale() {
		if look {
			if err := p.stale(ctx); err != nil {
				return Planned{}, err
			}
		}
		out.LookAt = tx.Now.Add(LookEvery)
	}
	out.Added = p.added
	return out, tx.PurgeNotifications(ctx, purgeAtOnce)
}

type planner struct {
	tx     *store.Tx
	people []domain.Recipient
	added  int
}

// matter is a fact with what it is about.
type matter struct {
	rules.Fact
	subject string
	key     string                      // what makes it the same fact
	only    map[domain.RecipientID]bool // nil = everybody
	by      []domain.NotifyChannel      // nil = in every way that the person wants
	at      time.Time                   // when it is to be told; zero = now
	until   string                      // what it waits for, where that is later
	told    []domain.Notification       // that say the same already
}

func (p *planner) fact(ctx context.Context, f store.Fact) error {
	var err error
	switch f.Topic {
	case domain.TopicConflictOpened, domain.TopicConflictUpdated, domain.TopicConflictReminder, domain.TopicConflictEscalated,
		domain.TopicConflictRefused, domain.TopicConflictStuck, domain.TopicConflictClosed:
		err = p.conflict(ctx, f)
	case domain.TopicEditConflict:
		err = p.edit(ctx, domain.EditConflictID(f.Refs["edit_conflict"]))
	case domain.TopicQuarantineOpened, domain.TopicQuarantineChanged:
		err = p.quarantine(ctx, domain.QuarantineID(f.Refs["quarantine"]))
	case domain.TopicIntegrationChanged:
		err = p.integration(ctx, domain.IntegrationID(f.Refs["integration"]))
	case domain.TopicHoldChanged:
		err = p.hold(ctx, domain.BookingID(f.Refs["booking"]))
	case domain.TopicAlertChanged:
		err = p.alert(ctx, f)
	case domain.TopicMaintenance:
		err = p.maintenance(ctx, f)
	case domain.TopicWeddingChanged, domain.TopicWeddingPreflight, domain.TopicWeddingHandOver:
		err = p.wedding(ctx, f)
	}
	if domain.KindOf(err) == domain.KindNotFound {
		return nil // it is gone, and so is the reason to tell anybody
	}
	return err
}

func (p *planner) conflict(ctx context.Context, f store.Fact) error {
	id := domain.ConflictID(f.Refs["conflict"])
	c, err := p.tx.Conflict(ctx, id)
	if err != nil {
		return err
	}
	m := matter{subject: "conflict/" + string(id), Fact: rules.Fact{Severity: c.Severity, Resources: []domain.ResourceID{c.ResourceID}}}
	about, err := p.tx.NotificationsAbout(ctx, m.subject, aboutAtOnce)
	if err != nil {
		return err
	}
	if !c.State.Open() {
		m.only = map[domain.RecipientID]bool{}
		for _, n := range about {
			if n.State == domain.NotificationSent {
				m.only[n.RecipientID] = true
			}
		}
		if _, err := p.tx.SettleSubject(ctx, m.subject, "the conflict was "+string(c.State)+" before this was sent", false); err != nil {
			return err
		}
		m.Kind, m.key = domain.NotifyConflictResolved, m.subject+"/resolved"
		return p.tell(ctx, m, nil)
	}
	switch f.Topic {
	case domain.TopicConflictOpened:
		m.Kind, m.key = domain.NotifyConflictOpened, m.subject+"/opened"
	case domain.TopicConflictReminder:
		m.Kind, m.key = domain.NotifyConflictReminder, m.subject+"/reminder/"+f.Refs["number"]
	case domain.TopicConflictEscalated:
		m.Kind, m.key = domain.NotifyConflictEscalated, m.subject+"/deadline/"+f.Refs["deadline"]
	case domain.TopicConflictRefused, domain.TopicConflictStuck:
		// A decision may be refused several times; each is news.
		m.Kind, m.key = domain.NotifyConflictRefused, m.subject+"/refused/"+f.At.UTC().Format(time.RFC3339Nano)
		if f.Topic == domain.TopicConflictStuck {
			m.Kind, m.key = domain.NotifyConflictStuck, m.subject+"/stuck/"+f.At.UTC().Format(time.RFC3339Nano)
		}
		if m.Severity.Level() < domain.SeverityHigh.Level() {
			m.Severity = domain.SeverityHigh
		}
	default:
		highest := 0
		for _, n := range about {
			if n.Kind != domain.NotifyConflictRefused && n.Kind != domain.NotifyConflictStuck {
				highest = max(highest, n.Severity.Level())
			}
		}
		if highest == 0 || c.Severity.Level() <= highest {
			return nil
		}
		m.Kind, m.key = domain.NotifyConflictWorse, m.subject+"/severity/"+string(c.Severity)
	}
	date, err := p.tx.WeddingDateOf(ctx, id)
	if err != nil {
		return err
	}
	if day, err := calendartime.ParseDate(date); err == nil {
		loc, err := p.zoneOf(ctx, c.ResourceID)
		if err != nil {
			return err
		}
		days := rules.WeddingDays(p.tx.Now, loc)
		start := calendartime.DayStart(day, loc)
		m.WeddingDay = !start.Before(days.Start) && start.Before(days.End)
	}
	return p.tell(ctx, m, about)
}

func (p *planner) zoneOf(ctx context.Context, id domain.ResourceID) (*time.Location, error) {
	r, err := p.tx.Resource(ctx, id)
	if err != nil {
		return nil, err
	}
	return calendartime.LoadZone(r.Zone)
}

// weddingNear reports whether a resource has a wedding today or tomorrow.
func (p *planner) weddingNear(ctx context.Context, id domain.ResourceID) (bool, error) {
	loc, err := p.zoneOf(ctx, id)
	if err != nil {
		return false, err
	}
	return p.tx.WeddingStartsIn(ctx, id, rules.WeddingDays(p.tx.Now, loc))
}

func (p *planner) edit(ctx context.Context, id domain.EditConflictID) error {
	e, err := p.tx.EditConflict(ctx, id)
	if err != nil {
		return err
	}
	m := matter{subject: "edit-conflict/" + string(id), key: "edit-conflict/" + string(id)}
	if e.State != domain.EditOpen {
		_, err := p.tx.SettleSubject(ctx, m.subject, "the edit conflict was "+string(e.State)+" before this was sent", false)
		return err
	}
	b, err := p.tx.Booking(ctx, e.BookingID)
	if err != nil {
		return err
	}
	m.Fact = rules.Fact{Kind: domain.NotifyEditConflict, Severity: domain.SeverityMedium, Resources: []domain.ResourceID{b.ResourceID}}
	if b.Category == domain.CategoryWedding {
		m.Severity = domain.SeverityHigh
		loc, err := p.zoneOf(ctx, b.ResourceID)
		if err != nil {
			return err
		}
		days := rules.WeddingDays(p.tx.Now, loc)
		m.WeddingDay = !b.When.Start.Before(days.Start) && b.When.Start.Before(days.End)
	}
	return p.tell(ctx, m, nil)
}

func (p *planner) quarantine(ctx context.Context, id domain.QuarantineID) error {
	q, err := p.tx.Quarantine(ctx, id)
	if err != nil {
		return err
	}
	m := matter{subject: "quarantine/" + string(id), key: "quarantine/" + string(id)}
	if q.State != domain.QuarantineOpen {
		_, err := p.tx.SettleSubject(ctx, m.subject, "it was "+string(q.State)+" before this was sent", false)
		return err
	}
	i, err := p.tx.Integration(ctx, q.IntegrationID)
	if err != nil {
		return err
	}
	m.Fact = rules.Fact{Kind: domain.NotifyQuarantine, Severity: domain.SeverityHigh, Resources: []domain.ResourceID{i.ResourceID}}
	if m.WeddingDay, err = p.weddingNear(ctx, i.ResourceID); err != nil {
		return err
	}
	return p.tell(ctx, m, nil)
}

func (p *planner) integration(ctx context.Context, id domain.IntegrationID) error {
	i, err := p.tx.Integration(ctx, id)
	if err != nil {
		return err
	}
	m := matter{subject: "integration/" + string(id), key: "needs_reconnect/" + string(id)}
	if i.State != domain.IntegrationNeedsReconnect {
		_, err := p.tx.SettleSubject(ctx, m.subject, "the connection was "+string(i.State)+" before this was sent", true)
		return err
	}
	m.Fact = rules.Fact{Kind: domain.NotifyReconnect, Severity: domain.SeverityHigh, Resources: []domain.ResourceID{i.ResourceID}}
	if m.WeddingDay, err = p.weddingNear(ctx, i.ResourceID); err != nil {
		return err
	}
	return p.tell(ctx, m, nil)
}

const (
	// holdNotice is how long before its end people are told of a hold, and holdLife the shortest life of one that they are told
	// of: whoever holds a time for minutes is about to confirm it.
	holdNotice = time.Hour
	holdLife   = 4 * time.Hour
)

// hold has people told before a hold ends. The notification waits until then, and is settled when the hold changes.
func (p *planner) hold(ctx context.Context, id domain.BookingID) error {
	h, err := p.tx.HoldOf(ctx, id)
	if err != nil {
		return err
	}
	m := matter{subject: "hold/" + string(id), key: "hold/" + string(id), at: h.ExpiresAt.Add(-holdNotice), until: "waits until an hour before the hold ends"}
	if _, err := p.tx.SettleSubject(ctx, m.subject, "the hold changed before this was sent", true); err != nil {
		return err
	}
	if !h.Live(p.tx.Now) || h.ExpiresAt.Sub(h.CreatedAt) < holdLife {
		return nil
	}
	b, err := p.tx.Booking(ctx, id)
	if err != nil {
		return err
	}
	m.Fact = rules.Fact{Kind: domain.NotifyHoldExpiring, Severity: domain.SeverityMedium, Resources: []domain.ResourceID{b.ResourceID}}
	return p.tell(ctx, m, nil)
}

// wantStale reports whether anybody wants to know of connections that are behind.
func (p *planner) wantStale() bool {
	for _, who := range p.people {
		for _, r := range rules.Decide(who, rules.Fact{Kind: domain.NotifySyncStale, Severity: domain.SeverityCritical, Resources: who.Resources}, p.tx.Now) {
			if r.State != domain.NotificationSuppressed {
				return true
			}
		}
	}
	return false
}

func (p *planner) stale(ctx context.Context) error {
	for page := (store.Page{Limit: store.MaxPage}); ; {
		list, next, err := p.tx.Integrations(ctx, page)
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(list))
		for n, i := range list {
			ids[n] = i.ID
		}
		measured, err := p.tx.Freshness(ctx, ids...)
		if err != nil {
			return err
		}
		for _, i := range list {
			if err := p.staleOne(ctx, i, freshness.Of(p.tx.Now, i, measured[i.ID])); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}

func (p *planner) staleOne(ctx context.Context, i domain.Integration, f domain.Freshness) error {
	m := matter{subject: "freshness/" + string(i.ID), key: "stale/" + string(i.ID),
		Fact: rules.Fact{Kind: domain.NotifySyncStale, Severity: domain.SeverityMedium, Resources: []domain.ResourceID{i.ResourceID}}}
	if !f.Late {
		_, err := p.tx.SettleSubject(ctx, m.subject, "the connection caught up before this was sent", true)
		return err
	}
	var err error
	if m.WeddingDay, err = p.weddingNear(ctx, i.ResourceID); err != nil {
		return err
	}
	if m.WeddingDay {
		m.Severity = domain.SeverityHigh
	}
	return p.tell(ctx, m, nil)
}

// tell writes the notifications of a matter. about are the earlier ones of its subject, which a reminder looks at.
func (p *planner) tell(ctx context.Context, m matter, about []domain.Notification) error {
	at := p.tx.Now
	if m.at.After(at) {
		at = m.at
	}
	for _, who := range p.people {
		if m.only != nil && !m.only[who.ID] {
			continue
		}
		for _, r := range rules.Decide(who, m.Fact, at) {
			if m.by != nil && !slices.Contains(m.by, r.Channel) {
				continue
			}
			if r.State == domain.NotificationQueued && at.After(p.tx.Now) {
				r.State, r.Reason = domain.NotificationHeld, m.until
			}
			n := domain.Notification{ID: domain.NewID[domain.NotificationID](p.tx.Now), RecipientID: who.ID, Channel: r.Channel, Kind: m.Kind, Severity: m.Severity,
				WeddingDay: m.WeddingDay, Subject: m.subject, Fact: m.key, State: r.State, Reason: r.Reason, Digest: r.Digest}
			if r.State.Waiting() {
				due := r.Due
				n.DueAt = &due
			}
			if (m.Kind == domain.NotifyConflictReminder || m.Kind == domain.NotifyAlertReminder) && r.State.Waiting() {
				if err := p.remind(ctx, &n, about); err != nil {
					return err
				}
			}
			if err := p.joinTold(ctx, &n, m.told); err != nil {
				return err
			}
			if n.Channel == domain.ChannelLive && n.State == domain.NotificationQueued {
				// The event that tells of it is the delivery; it is written with it.
				n.State, n.DueAt, n.SentAt = domain.NotificationSent, nil, &p.tx.Now
			}
			added, err := p.tx.AddNotification(ctx, n)
			if err != nil {
				return err
			}
			if added {
				p.added++
			}
		}
	}
	return nil
}

// remind lets a reminder join one that waits, and leaves people alone who said that they know.
func (p *planner) remind(ctx context.Context, n *domain.Notification, about []domain.Notification) error {
	suppress := func(why string) {
		n.State, n.Reason, n.DueAt, n.Digest = domain.NotificationSuppressed, why, nil, false
	}
	for _, had := range about {
		if had.RecipientID == n.RecipientID && had.AcknowledgedAt != nil && had.Severity.Level() >= n.Severity.Level() {
			suppress("acknowledged by " + had.AcknowledgedBy)
			return nil
		}
	}
	for _, had := range about {
		if had.RecipientID != n.RecipientID || had.Channel != n.Channel || !had.State.Waiting() {
			continue
		}
		had.Severity, had.WeddingDay = n.Severity, n.WeddingDay
		err := p.tx.JoinNotification(ctx, had, *n.DueAt)
		if domain.KindOf(err) == domain.KindNotFound {
			continue // sent meanwhile
		}
		suppress("joined the one that still waited")
		return err
	}
	return nil
}
