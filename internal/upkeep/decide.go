package upkeep

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

// Create stores a window as proposed, in the mode of the organisation's settings, and has its workflow started. Scopes, times, Reason,
// RequestedBy and ID are taken from m; the same ID again returns what is stored. Errors: KindInvalid with the field, KindConflict
// when a freeze, a closed time or another window of the same connections is in the way.
func Create(ctx context.Context, tx *store.Tx, m domain.Maintenance) (domain.Maintenance, error) {
	return create(ctx, tx, m, "")
}

// create lets a window be approved in a mode, "" = that of the settings.
func create(ctx context.Context, tx *store.Tx, m domain.Maintenance, mode domain.ApprovalMode) (domain.Maintenance, error) {
	if err := m.Validate("body.", tx.Now); err != nil {
		return m, err
	}
	if err := tx.LockMaintenance(ctx); err != nil {
		return m, err
	}
	if had, err := tx.Maintenance(ctx, m.ID); domain.KindOf(err) != domain.KindNotFound {
		return had, err
	}
	m.StartsAt, m.EndsAt = m.StartsAt.UTC().Truncate(time.Second), m.EndsAt.UTC().Truncate(time.Second)
	if !m.StartsAt.After(tx.Now) {
		return m, domain.Invalid("body.starts_at", "must be ahead")
	}
	open, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return m, err
	}
	if len(open) >= domain.MaxMaintenances {
		return m, domain.E(domain.KindConflict, "at most %d windows may be open; cancel one first", domain.MaxMaintenances)
	}
	ids, err := covered(ctx, tx, m)
	if err != nil {
		return m, err
	}
	if len(ids) == 0 {
		return m, domain.Invalid("body.scopes", "cover no connection")
	}
	settings, err := free(ctx, tx, m, m.Span(), nil)
	if err != nil {
		return m, err
	}
	if mode == "" {
		mode = settings.Approval
	}
	if mode == domain.ApprovalAutomatic && m.StartsAt.Before(tx.Now.Add(settings.Notice())) {
		return m, domain.E(domain.KindConflict, "it begins within the notice of %d minutes; an admin may approve it with a short notice when approval is by a person", settings.NoticeMinutes)
	}
	m.State, m.Approval = domain.MaintenanceProposed, mode
	stored, err := tx.SaveMaintenance(ctx, m, true, "proposed")
	if err != nil {
		return m, err
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: m.RequestedBy, Action: "maintenance.propose", Reason: m.Reason, Subject: "maintenance/" + string(m.ID), After: plain(stored)}); err != nil {
		return m, err
	}
	return stored, tx.WakeMaintenance(ctx, m.ID)
}

// free refuses a stretch that is closed or in which another window holds one of the connections. Of codes other than a freeze, those
// in but do not count.
func free(ctx context.Context, tx *store.Tx, m domain.Maintenance, span domain.Span, but []maintenance.Code) (domain.MaintenanceSettings, error) {
	c, err := read(ctx, tx, span)
	if err != nil {
		return c.settings, err
	}
	var why []string
	for _, one := range maintenance.InTheWay(span, c.closed) {
		if one.Code != maintenance.Freeze && slices.Contains(but, one.Code) {
			continue
		}
		if text := one.Text + " (" + one.Span.String() + ")"; len(why) < 3 && !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	if len(why) > 0 {
		return c.settings, domain.E(domain.KindConflict, "maintenance is closed then: %s", strings.Join(why, "; "))
	}
	ids, err := covered(ctx, tx, m)
	if err != nil {
		return c.settings, err
	}
	others, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return c.settings, err
	}
	for _, o := range others {
		if o.ID == m.ID || o.State == domain.MaintenanceReplaying || !o.Span().Overlaps(span) {
			continue
		}
		shared, err := share(ctx, tx, ids, o)
		if err != nil {
			return c.settings, err
		}
		if shared {
			return c.settings, domain.E(domain.KindConflict, "maintenance %s of one of the connections is at that time", o.ID)
		}
	}
	return c.settings, nil
}

// Verb is what a person may want of a window.
type Verb string

// The verbs.
const (
	Approve    Verb = "approve"
	Cancel     Verb = "cancel" // one that has begun ends early, and what was held is done
	Reschedule Verb = "reschedule"
)

// Decision is what a person wants of a window.
type Decision struct {
	Verb Verb
	By   string // token subject
	// ShortNotice lets a window begin before the usual notice.
	ShortNotice bool
	// StartsAt and EndsAt are the new times of Reschedule; zero = as they are. One that has begun keeps its beginning.
	StartsAt, EndsAt time.Time
	Version          int64 // that the person saw; 0 = any
}

// Decide carries out what a person wants, and whatever is due then. A repeat of what is done already changes nothing. Errors:
// KindNotFound, KindInvalid with the field, KindConflict in words.
func Decide(ctx context.Context, tx *store.Tx, id domain.MaintenanceID, d Decision) (Standing, error) {
	if err := tx.LockMaintenance(ctx); err != nil {
		return Standing{}, err
	}
	m, err := tx.Maintenance(ctx, id)
	if err != nil {
		return Standing{}, err
	}
	if d.Version != 0 && d.Version != m.Version {
		return Standing{}, domain.E(domain.KindConflict, "the maintenance has version %d, not %d: it was changed in the meantime", m.Version, d.Version)
	}
	switch d.Verb {
	case Approve:
		err = approve(ctx, tx, m, d)
	case Cancel:
		err = cancel(ctx, tx, m, d)
	case Reschedule:
		err = reschedule(ctx, tx, m, d)
	default:
		err = domain.Invalid("verb", "must be approve, cancel or reschedule")
	}
	if err != nil {
		return Standing{}, err
	}
	return advance(ctx, tx, id)
}

func approve(ctx context.Context, tx *store.Tx, m domain.Maintenance, d Decision) error {
	switch {
	case m.State == domain.MaintenanceApproved || m.State == domain.MaintenanceAnnounced:
		return nil
	case m.State != domain.MaintenanceProposed:
		return domain.E(domain.KindConflict, "the maintenance is %s", m.State)
	case !m.StartsAt.After(tx.Now):
		return domain.E(domain.KindConflict, "the maintenance was to begin before now")
	}
	settings, err := free(ctx, tx, m, m.Span(), nil)
	if err != nil {
		return err
	}
	if err := noticed(tx, settings, m.StartsAt, d.ShortNotice); err != nil {
		return err
	}
	was, now := m, tx.Now
	m.State, m.ApprovedBy, m.ApprovedAt, m.ShortNotice, m.Note = domain.MaintenanceApproved, d.By, &now, d.ShortNotice, "approved by "+d.By
	_, err = save(ctx, tx, was, m, "", d.By, "maintenance.state")
	return err
}

func noticed(tx *store.Tx, settings domain.MaintenanceSettings, starts time.Time, short bool) error {
	if short || !starts.Before(tx.Now.Add(settings.Notice())) {
		return nil
	}
	return domain.E(domain.KindConflict, "it begins within the notice of %d minutes; say short_notice to let it", settings.NoticeMinutes)
}

func cancel(ctx context.Context, tx *store.Tx, m domain.Maintenance, d Decision) error {
	was, now := m, tx.Now
	switch {
	case m.State == domain.MaintenanceCancelled || m.State == domain.MaintenanceReplaying && m.Early:
		return nil
	case m.State.Holds():
		_, err := release(ctx, tx, m, true, "ended by "+d.By, d.By)
		return err
	case !m.State.Ahead():
		return domain.E(domain.KindConflict, "the maintenance is %s", m.State)
	}
	m.State, m.EndedAt, m.Note = domain.MaintenanceCancelled, &now, "cancelled by "+d.By
	_, err := save(ctx, tx, was, m, "cancelled", d.By, "maintenance.state")
	return err
}

func reschedule(ctx context.Context, tx *store.Tx, m domain.Maintenance, d Decision) error {
	was := m
	if !d.StartsAt.IsZero() {
		m.StartsAt = d.StartsAt.UTC().Truncate(time.Second)
	}
	if !d.EndsAt.IsZero() {
		m.EndsAt = d.EndsAt.UTC().Truncate(time.Second)
	}
	span := m.Span()
	var but []maintenance.Code
	switch {
	case m.State.Holds() && !m.StartsAt.Equal(was.StartsAt):
		return domain.E(domain.KindConflict, "the maintenance has begun; only its end can change")
	case m.State.Holds():
		if !m.EndsAt.After(tx.Now) {
			return domain.Invalid("ends_at", "must be ahead; cancel the maintenance to end it now")
		}
		// What cannot be finished in time may go on into hours in which nobody would have begun it, but never into a freeze.
		span.Start, but = tx.Now, []maintenance.Code{maintenance.Weekday, maintenance.Hours, maintenance.Season}
	case !m.State.Ahead():
		return domain.E(domain.KindConflict, "the maintenance is %s", m.State)
	case !m.StartsAt.After(tx.Now):
		return domain.Invalid("starts_at", "must be ahead")
	}
	if err := m.Validate("", tx.Now); err != nil {
		return err
	}
	if m.StartsAt.Equal(was.StartsAt) && m.EndsAt.Equal(was.EndsAt) {
		return nil
	}
	settings, err := free(ctx, tx, m, span, but)
	if err != nil {
		return err
	}
	told := ""
	if m.State.Ahead() {
		told = "moved"
		if !m.StartsAt.Equal(was.StartsAt) {
			if err := noticed(tx, settings, m.StartsAt, d.ShortNotice); err != nil {
				return err
			}
			m.Announced, m.ShortNotice = nil, d.ShortNotice
			if m.State == domain.MaintenanceAnnounced {
				m.State = domain.MaintenanceApproved
			}
		}
	} else {
		members, err := tx.MaintenanceMembers(ctx, m.ID)
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(members))
		for n, one := range members {
			ids[n] = one.IntegrationID
		}
		if err := tx.HoldWork(ctx, m.ID, ids, m.EndsAt, resting(m)); err != nil {
			return err
		}
	}
	m.Note = "rescheduled by " + d.By
	_, err = save(ctx, tx, was, m, told, d.By, "maintenance.state")
	return err
}
