package upkeep

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	actor = "system:maintenance"
	// stepsAtOnce bounds what one call carries out; the longest way from proposed to running has five.
	stepsAtOnce = 12
	// moveWithin is how far ahead a window that gives way to a wedding is moved at most.
	moveWithin = 60 * 24 * time.Hour
)

// Standing is where a window stands, and when to come again; zero = never.
type Standing struct {
	domain.Maintenance
	Due time.Time
}

// Advance carries out whatever is due of a window. Weddings are read anew each time. KindNotFound when the tenant has no such.
func Advance(ctx context.Context, tx *store.Tx, id domain.MaintenanceID) (Standing, error) {
	if err := tx.LockMaintenance(ctx); err != nil {
		return Standing{}, err
	}
	return advance(ctx, tx, id)
}

func advance(ctx context.Context, tx *store.Tx, id domain.MaintenanceID) (Standing, error) {
	m, err := tx.Maintenance(ctx, id)
	if err != nil || m.State.Ended() {
		return Standing{Maintenance: m}, err
	}
	settings, err := tx.MaintenanceSettings(ctx)
	if err != nil {
		return Standing{}, err
	}
	for range stepsAtOnce {
		f, err := facts(ctx, tx, m, settings)
		if err != nil {
			return Standing{}, err
		}
		step := maintenance.Next(m, f)
		if step.Action == maintenance.Wait {
			return Standing{Maintenance: m, Due: step.Due}, nil
		}
		if m, err = carry(ctx, tx, m, f, step); err != nil {
			return Standing{}, err
		}
	}
	return Standing{Maintenance: m, Due: tx.Now}, nil
}

func facts(ctx context.Context, tx *store.Tx, m domain.Maintenance, settings domain.MaintenanceSettings) (maintenance.Facts, error) {
	f := maintenance.Facts{Now: tx.Now, Settings: settings, Connections: m.Connections}
	if m.State.Ahead() || m.State.Holds() {
		rest := m.Span()
		if rest.Start.Before(tx.Now) {
			rest.Start = tx.Now
		}
		if rest.Start.Before(rest.End) {
			frozen, err := freezes(ctx, tx, rest)
			if err != nil {
				return f, err
			}
			if len(frozen) > 0 {
				f.Frozen = &frozen[0]
			}
		}
	}
	if m.State != domain.MaintenanceDraining && m.State != domain.MaintenanceReplaying {
		return f, nil
	}
	members, err := tx.MaintenanceMembers(ctx, m.ID)
	if err != nil {
		return f, err
	}
	ids := make([]domain.IntegrationID, len(members))
	for n, one := range members {
		ids[n] = one.IntegrationID
		if one.QuietAt != nil {
			f.Quiet++
		}
	}
	if m.State == domain.MaintenanceDraining {
		return f, nil
	}
	healths, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return f, err
	}
	for _, one := range members {
		h, there := healths[one.IntegrationID]
		if !there || h.State == domain.HealthPaused || h.State == domain.HealthNeedsReconnect {
			continue // it is deleted, or waits for a person: nothing of it can be waited for
		}
		f.Left += one.Left
		if one.Pulls && one.ReadAt == nil {
			f.Unread++
		}
		// One that was never asked, because nothing asks it, is not waited for.
		if h.State == domain.HealthMaintenance || h.State == domain.HealthUnknown && h.LastProbe != nil {
			f.Unprobed++
		}
	}
	return f, nil
}

// carry does one step.
func carry(ctx context.Context, tx *store.Tx, m domain.Maintenance, f maintenance.Facts, step maintenance.Step) (domain.Maintenance, error) {
	was, told, now := m, "", tx.Now
	m.Note = step.Note
	switch step.Action {
	case maintenance.Approve:
		m.State, m.ApprovedBy, m.ApprovedAt = domain.MaintenanceApproved, actor, &now
	case maintenance.Refuse:
		m.State, m.EndedAt, told = domain.MaintenanceRefused, &now, "cancelled"
	case maintenance.Announce:
		lead := step.Lead
		m.State, m.Announced, m.Note, told = domain.MaintenanceAnnounced, &lead, was.Note, "announced"
	case maintenance.Cancel:
		m.State, m.EndedAt, told = domain.MaintenanceCancelled, &now, "cancelled"
	case maintenance.Move:
		moved, err := move(ctx, tx, m, step.Note)
		if err != nil {
			return m, err
		}
		m, told = moved, "moved"
		if m.State.Ended() {
			told = "cancelled"
		}
	case maintenance.Drain:
		began, err := begin(ctx, tx, m)
		if err != nil {
			return m, err
		}
		m, told = began, "started"
		if m.State.Ended() {
			told = "cancelled"
		}
	case maintenance.Run:
		m.State, m.DrainedAt = domain.MaintenanceRunning, &now
	case maintenance.Release:
		return release(ctx, tx, m, step.Early, step.Note, actor)
	case maintenance.Finish:
		m.State, m.EndedAt, m.Left, told = domain.MaintenanceDone, &now, f.Left, "ended"
		if m.Early {
			m.Note = was.Note + "; " + step.Note
		}
	case maintenance.Wait:
		return m, nil
	}
	return save(ctx, tx, was, m, told, actor, "maintenance."+string(step.Action))
}

// begin lets the connections rest. A window that cannot begin is cancelled.
func begin(ctx context.Context, tx *store.Tx, m domain.Maintenance) (domain.Maintenance, error) {
	now := tx.Now
	ids, err := covered(ctx, tx, m)
	if err == nil {
		err = tx.HoldWork(ctx, m.ID, ids, m.EndsAt, resting(m))
	}
	if domain.KindOf(err) == domain.KindConflict {
		m.State, m.EndedAt, m.Note = domain.MaintenanceCancelled, &now, "it could not begin: "+err.Error()
		return m, nil
	}
	m.State, m.BeganAt, m.Connections = domain.MaintenanceDraining, &now, len(ids)
	return m, err
}

// resting is what the health of a connection shows.
func resting(m domain.Maintenance) string {
	return "a maintenance is going on until " + m.EndsAt.UTC().Format("2006-01-02 15:04 UTC")
}

// release lets the connections go on.
func release(ctx context.Context, tx *store.Tx, m domain.Maintenance, early bool, note, by string) (domain.Maintenance, error) {
	was, now := m, tx.Now
	held, err := tx.ReleaseWork(ctx, m.ID)
	if err != nil {
		return m, err
	}
	m.State, m.ReleasedAt, m.Held, m.Early, m.Note = domain.MaintenanceReplaying, &now, held, early, note
	return save(ctx, tx, was, m, "", by, "maintenance.release")
}

// move finds the best other time. Where there is none, the window is cancelled.
func move(ctx context.Context, tx *store.Tx, m domain.Maintenance, why string) (domain.Maintenance, error) {
	now := tx.Now
	ways, err := propose(ctx, tx, Wish{Scopes: m.Scopes, Search: domain.Span{Start: now, End: now.Add(moveWithin)}, Duration: m.EndsAt.Sub(m.StartsAt), Limit: 1}, m.ID)
	if err != nil && domain.KindOf(err) != domain.KindConflict {
		return m, err
	}
	if len(ways) == 0 {
		m.State, m.EndedAt, m.Note = domain.MaintenanceCancelled, &now, why+", and there is no other time within 60 days"
		return m, nil
	}
	m.State, m.StartsAt, m.EndsAt, m.Announced, m.Moved = domain.MaintenanceProposed, ways[0].Start, ways[0].End, nil, m.Moved+1
	m.ApprovedBy, m.ApprovedAt, m.ShortNotice, m.Note = "", nil, false, why+"; moved to the best other time"
	return m, nil
}

// save stores a window with its audit line.
func save(ctx context.Context, tx *store.Tx, was, m domain.Maintenance, told, by, action string) (domain.Maintenance, error) {
	stored, err := tx.SaveMaintenance(ctx, m, false, told)
	if err != nil {
		return m, err
	}
	return stored, tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: action, Reason: noteOr(stored.Note), Subject: "maintenance/" + string(m.ID),
		Before: plain(was), After: plain(stored)})
}

func noteOr(note string) string {
	if note == "" {
		return "its time has come"
	}
	return note
}

func plain(m domain.Maintenance) map[string]string {
	return map[string]string{"state": string(m.State), "starts_at": m.StartsAt.UTC().Format(time.RFC3339), "ends_at": m.EndsAt.UTC().Format(time.RFC3339)}
}
