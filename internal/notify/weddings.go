package notify

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	rules "github.com/wedsync/wedsync/internal/rules/notify"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// wedding has people told of what a preflight found, of the freeze of a wedding, and of the report of its day.
func (p *planner) wedding(ctx context.Context, f store.Fact) error {
	id := domain.BookingID(f.Refs["booking"])
	c, err := p.tx.WeddingCare(ctx, id, false)
	if err != nil {
		return err
	}
	m := matter{subject: "wedding/" + string(id), Fact: rules.Fact{Severity: domain.SeverityMedium, Resources: []domain.ResourceID{c.ResourceID}}}
	// Each is news, so the time makes the difference.
	at := "/" + f.At.UTC().Format(time.RFC3339Nano)
	switch f.Topic {
	case domain.TopicWeddingChanged:
		m.Kind, m.key = domain.NotifyWeddingFrozen, m.subject+"/frozen"+at
	case domain.TopicWeddingHandOver:
		m.Kind, m.key = domain.NotifyWeddingOver, m.subject+"/over"+at
		if f.Refs["quiet"] != "true" {
			m.Severity = domain.SeverityHigh
		}
	case domain.TopicWeddingPreflight:
		m.subject = "preflight/" + string(id)
		loc, err := calendartime.LoadZone(c.Zone)
		if err != nil {
			loc = time.UTC
		}
		days := rules.WeddingDays(p.tx.Now, loc)
		m.WeddingDay = !c.StartsAt.Before(days.Start) && c.StartsAt.Before(days.End)
		if f.Refs["told"] == string(weddingcare.TellPassed) {
			return p.passed(ctx, m, at)
		}
		m.Kind, m.key = domain.NotifyPreflightFailed, m.subject+"/failed"+at
		m.Severity = weddingcare.Severity(domain.CheckState(f.Refs["state"]), c.State)
		m.Urgent = m.Severity == domain.SeverityCritical
	}
	return p.tell(ctx, m, nil)
}

// passed tells those who were told of the failure. Who was not told yet hears of neither.
func (p *planner) passed(ctx context.Context, m matter, at string) error {
	about, err := p.tx.NotificationsAbout(ctx, m.subject, aboutAtOnce)
	if err != nil {
		return err
	}
	m.Kind, m.key, m.only = domain.NotifyPreflightPassed, m.subject+"/passed"+at, map[domain.RecipientID]bool{}
	for _, n := range about {
		if n.Kind == domain.NotifyPreflightFailed && (n.State == domain.NotificationSent || n.Attempts > 0) {
			m.only[n.RecipientID] = true
		}
	}
	if _, err := p.tx.SettleSubject(ctx, m.subject, "a later preflight passed before this was sent", false); err != nil {
		return err
	}
	return p.tell(ctx, m, nil)
}

// shownChecks is how many findings a message names.
const shownChecks = 5

func (l loader) wedding(ctx context.Context, v *View, id domain.BookingID) (over string, err error) {
	c, err := l.tx.WeddingCare(ctx, id, false)
	if err != nil {
		return "", err
	}
	r, err := l.tx.Resource(ctx, c.ResourceID)
	if err != nil {
		return "", err
	}
	b, err := l.tx.Booking(ctx, id)
	if err != nil {
		return "", err
	}
	l.loc = weddingday.ZoneOf(c.Zone, r.Zone)
	v.Resource, v.When, v.State, v.Bookings = r.Name, l.span(domain.Span{Start: c.StartsAt, End: c.EndsAt}), string(c.State), []BookingView{l.booking(b)}
	switch v.Kind {
	case domain.NotifyWeddingFrozen:
		if c.State != domain.CareFrozen && c.State != domain.CareDay {
			return "the wedding is " + string(c.State) + " by now", nil
		}
		v.What = l.moment(c.DayUntil)
		return "", nil
	case domain.NotifyWeddingOver:
		h, err := l.tx.HandOver(ctx, id)
		if err != nil {
			return "", err
		}
		v.What, v.Count = h.Summary, len(h.Open)
		for n, o := range h.Open {
			if n < shownChecks {
				v.Ways = append(v.Ways, o.What+". "+o.Do)
			}
		}
		return "", nil
	}
	if c.State.Over() || c.PreflightID == "" {
		return "the wedding is " + string(c.State) + " by now", nil
	}
	p, err := l.tx.Preflight(ctx, id, c.PreflightID)
	if err != nil {
		return "", err
	}
	wrong := p.State.Level() >= domain.CheckAttention.Level()
	switch {
	case v.Kind == domain.NotifyPreflightFailed && !wrong:
		return "a later preflight passed", nil
	case v.Kind == domain.NotifyPreflightPassed && wrong:
		return "a later preflight found something again", nil
	}
	v.What = weddingcare.Outcome(p)
	for _, one := range p.Checks {
		if one.State.Level() < domain.CheckAttention.Level() || len(v.Ways) == shownChecks {
			break
		}
		way := one.Reason + "."
		if one.Name != "" {
			way = one.Name + ": " + way
		}
		if one.Do != "" {
			way += " " + one.Do
		}
		v.Ways = append(v.Ways, way)
	}
	return "", nil
}
