package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
)

// This file carries a recovery drill on, within the step that judges its connection.

// mostLain bounds the webhooks that a drill looks at one by one.
const mostLain = 1000

// drill carries the running drill of the connection on, if there is one.
func (k *overseer) drill(ctx context.Context) error {
	now := k.tx.Now
	d, err := k.tx.RunningDrill(ctx, k.i.ID)
	if domain.KindOf(err) == domain.KindNotFound {
		if !k.f.Muted(now) {
			k.f.MutedUntil = nil
		}
		return nil
	}
	if err != nil {
		return err
	}
	e := failover.DrillEvidence{Drill: d, Failover: k.f, Active: k.i.State == domain.IntegrationActive}
	if d.NoticedAt != nil {
		since, err := k.tx.PushEvidence(ctx, k.i.ID, *d.NoticedAt)
		if err != nil {
			return err
		}
		e.Polls = since.Polls
	}
	if d.UnmutedAt != nil {
		lain, err := k.tx.Lain(ctx, k.i.ID, d.BeganAt, *d.UnmutedAt, mostLain)
		if err != nil {
			return err
		}
		for _, l := range lain {
			if l.State == domain.DeliveryReceived {
				e.Left++
			}
		}
	}
	var step failover.DrillStep
	switch why := k.refuses(contract.FailoverToPolling); {
	case why != "" && e.Active && d.State == domain.DrillWatching:
		step = failover.DrillStep{State: domain.DrillCancelled, Unmute: true, Why: why}
	default:
		step = failover.DecideDrill(now, e, k.s)
	}
	return k.drilled(ctx, d, step)
}

// drilled carries a step out.
func (k *overseer) drilled(ctx context.Context, d domain.Drill, step failover.DrillStep) error {
	now := k.tx.Now
	if step.Ask {
		k.f.PullWantedAt, d.AskedAt = &now, &now
	}
	if step.Over && k.f.Mode == domain.FailoverUsual {
		if err := k.carry(ctx, failover.Decision{Mode: domain.FailoverBegun, Cause: domain.OverDrill, Pull: true, Clear: true, Due: now.Add(time.Minute),
			Reason: "a drill lets what the system posts lie, and nothing gave it away"}, "system:drill"); err != nil {
			return err
		}
	}
	if step.State == domain.DrillPolling && d.NoticedAt == nil {
		at := k.f.Since
		d.NoticedAt, d.NoticedItself = &at, k.f.Cause != domain.OverDrill
	}
	if k.f.Mode == domain.FailoverPolling && d.PollingAt == nil {
		d.PollingAt = &now
	}
	if step.Unmute && d.UnmutedAt == nil {
		d.UnmutedAt, d.Posted, k.f.MutedUntil = &now, k.f.MutedNotices, nil
	}
	if step.Return && (k.f.Mode == domain.FailoverPolling || k.f.Mode == domain.FailoverBegun) {
		if err := k.carry(ctx, failover.Decision{Mode: domain.FailoverReturning, Cause: domain.OverDrill, Pull: true, Clear: true, Due: now.Add(k.s.Poll),
			Reason: "the drill is over"}, "system:drill"); err != nil {
			return err
		}
	}
	if step.Why != "" {
		d.Verdict = step.Why
	}
	d.State = step.State
	if step.Report {
		if err := k.report(ctx, &d); err != nil {
			return err
		}
	}
	if d.State.Ended() {
		d.EndedAt = &now
		if err := k.tx.Audit(ctx, domain.AuditEntry{Actor: "system:drill", Action: "drill.ended", Reason: d.Verdict, Subject: "integration/" + string(k.i.ID),
			After: map[string]string{"drill": string(d.ID), "state": string(d.State)}}); err != nil {
			return err
		}
	}
	if due := step.Due; !due.IsZero() && (k.f.DueAt == nil || due.Before(*k.f.DueAt)) {
		k.f.DueAt = &due
	}
	return k.tx.SaveDrill(ctx, d)
}

// report looks what became of everything that lay. A webhook that took effect only when it counted again told of something that
// polls had missed; one that took effect although a poll had brought its change before took effect twice.
func (k *overseer) report(ctx context.Context, d *domain.Drill) error {
	if d.UnmutedAt == nil {
		return nil
	}
	lain, err := k.tx.Lain(ctx, k.i.ID, d.BeganAt, *d.UnmutedAt, mostLain)
	if err != nil {
		return err
	}
	d.Posted += int64(len(lain))
	runs, err := k.tx.SyncsIn(ctx, k.i.ID, d.BeganAt, *d.UnmutedAt)
	if err != nil {
		return err
	}
	last := d.BeganAt
	for _, r := range runs {
		d.Changes += int64(r.Applied + r.Removed)
		if r.EndedAt != nil {
			// What changed just after the reading before had to wait for this one.
			d.MaxLag = max(d.MaxLag, r.EndedAt.Sub(last))
			last = r.StartedAt
		}
	}
	for _, l := range lain {
		effect, _, _ := strings.Cut(l.Reason, ":")
		if l.State != domain.DeliveryApplied || !reconcile.Effect(effect).Changes() {
			continue
		}
		brought, err := k.brought(ctx, l.Entity, l.ReceivedAt, *d.UnmutedAt)
		if err != nil {
			return err
		}
		if brought {
			d.Duplicated++
		} else {
			d.Lost++
		}
	}
	if d.Lost+d.Duplicated > 0 && d.State == domain.DrillDone {
		d.State = domain.DrillFailed
	}
	if d.Verdict == "" {
		d.Verdict = verdictOf(*d)
	}
	return nil
}

// brought reports whether a reading changed the booking of an entry between two times.
func (k *overseer) brought(ctx context.Context, entity string, from, to time.Time) (bool, error) {
	link, err := k.tx.LinkAt(ctx, k.i.ID, entity)
	if domain.KindOf(err) == domain.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	changes, err := k.tx.BookingChanges(ctx, link.BookingID, 0, 100)
	for _, c := range changes {
		if c.Cause.Kind == domain.CauseSyncRun && !c.At.Before(from) && c.At.Before(to) {
			return true, nil
		}
	}
	return false, err
}

func verdictOf(d domain.Drill) string {
	var b strings.Builder
	if d.NoticedAt != nil {
		who := "the drill sent it over, because nothing changed there that would have given it away,"
		if d.NoticedItself {
			who = "it failed over by itself"
		}
		fmt.Fprintf(&b, "%s after %s; ", who, d.NoticedAt.Sub(d.BeganAt).Round(time.Second))
	}
	fmt.Fprintf(&b, "%d messages lay, polls brought %d changes, none later than %s", d.Posted, d.Changes, d.MaxLag.Round(time.Second))
	switch {
	case d.Lost > 0 && d.Duplicated > 0:
		fmt.Fprintf(&b, "; polls missed %d entries, and %d changes took effect twice", d.Lost, d.Duplicated)
	case d.Lost > 0:
		fmt.Fprintf(&b, "; polls missed %d entries, which are applied now", d.Lost)
	case d.Duplicated > 0:
		fmt.Fprintf(&b, "; %d changes took effect twice", d.Duplicated)
	default:
		b.WriteString("; nothing was lost and nothing took effect twice")
	}
	return b.String()
}
