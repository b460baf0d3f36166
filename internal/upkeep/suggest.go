package upkeep

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// decideFor is how long people have at least to approve or refuse what is proposed by itself, before its notice begins.
	decideFor = 2 * 24 * time.Hour
	// suggestWithin is how far ahead a time is looked for.
	suggestWithin = 60 * 24 * time.Hour
	purgeAtOnce   = 100
)

// Sweep does what is due without any one window: it removes those that ended long ago, however they ended, and proposes what nobody
// has to ask for ([SuggestAnnounced], and regular windows where the settings want them). Call it now and then for every organisation.
func Sweep(ctx context.Context, tx *store.Tx) ([]domain.Maintenance, error) {
	if err := tx.PurgeMaintenance(ctx, purgeAtOnce); err != nil {
		return nil, err
	}
	announced, err := SuggestAnnounced(ctx, tx)
	if err != nil {
		return nil, err
	}
	regular, err := suggestRegular(ctx, tx)
	return append(announced, regular...), err
}

// SuggestAnnounced proposes a window for each maintenance ahead that a provider announced of its own system and for which none was
// proposed yet: of all connections of that provider, in the longest part of its time that is free. One that cannot be proposed,
// because nothing is free then or nothing is connected, is looked at again by the next call. In mode automatic one that comes too
// late for the notice waits for a person.
func SuggestAnnounced(ctx context.Context, tx *store.Tx) ([]domain.Maintenance, error) {
	if err := tx.LockMaintenance(ctx); err != nil {
		return nil, err
	}
	settings, err := tx.MaintenanceSettings(ctx)
	if err != nil {
		return nil, err
	}
	announced, err := tx.ProviderWindows(ctx, tx.Now, tx.Now.Add(domain.MaxMaintenanceAhead))
	if err != nil {
		return nil, err
	}
	var out []domain.Maintenance
	for _, a := range announced {
		if a.MaintenanceID != "" || !a.StartsAt.After(tx.Now) {
			continue
		}
		scopes := []domain.Scope{{Kind: domain.ScopePlatform, Target: a.Provider}}
		at, ok, err := within(ctx, tx, scopes, domain.Span{Start: a.StartsAt, End: a.EndsAt})
		if err != nil {
			return out, err
		}
		if !ok {
			continue
		}
		mode := settings.Approval
		if at.Start.Before(tx.Now.Add(settings.Notice())) {
			mode = domain.ApprovalByPerson
		}
		m, ok, err := suggest(ctx, tx, scopes, at, a.Provider+" announced maintenance of its own system", mode)
		if err != nil {
			return out, err
		}
		if ok {
			if err := tx.NoteProviderWindowProposed(ctx, a.ID, m.ID); err != nil {
				return out, err
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// within is the part of a stretch that a window of some connections may have.
func within(ctx context.Context, tx *store.Tx, scopes []domain.Scope, span domain.Span) (at domain.Span, ok bool, err error) {
	ids, err := covered(ctx, tx, domain.Maintenance{Scopes: scopes})
	if domain.KindOf(err) == domain.KindConflict || err == nil && len(ids) == 0 {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	c, err := read(ctx, tx, span)
	if err != nil {
		return at, false, err
	}
	busy, err := taken(ctx, tx, ids, span, "")
	if err != nil {
		return at, false, err
	}
	at, ok = maintenance.Within(span, c.closed, busy)
	return at, ok, nil
}

// suggestRegular proposes a window for the connections of each provider that had none made for them in the time that the settings
// name, and have none open: the best one, as [Propose] ranks times.
func suggestRegular(ctx context.Context, tx *store.Tx) ([]domain.Maintenance, error) {
	settings, err := tx.MaintenanceSettings(ctx)
	if err != nil || settings.ProposeDays == 0 {
		return nil, err
	}
	known, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return nil, err
	}
	recent, err := tx.RecentMaintenances(ctx, tx.Now.AddDate(0, 0, -settings.ProposeDays))
	if err != nil {
		return nil, err
	}
	known = append(known, recent...)
	connections, err := tx.MaintainableIntegrations(ctx)
	if err != nil {
		return nil, err
	}
	search := domain.Span{Start: tx.Now.Add(settings.Notice() + decideFor)}
	search.End = search.Start.Add(suggestWithin)
	reason := fmt.Sprintf("a regular window: none was made for %d days", settings.ProposeDays)
	var out []domain.Maintenance
	for _, provider := range slices.Sorted(maps.Keys(connections)) {
		scopes := without(provider, connections[provider], known)
		if len(scopes) == 0 {
			continue
		}
		ways, err := Propose(ctx, tx, Wish{Scopes: scopes, Search: search, Duration: time.Duration(settings.ProposeMinutes) * time.Minute, Limit: 1})
		if err != nil {
			return out, err
		}
		if len(ways) == 0 {
			continue
		}
		m, ok, err := suggest(ctx, tx, scopes, ways[0].Span, reason, settings.Approval)
		if err != nil {
			return out, err
		}
		if ok {
			out = append(out, m)
		}
	}
	return out, nil
}

// without names the connections of a provider that no window covers: all at once where it is all of them, and else as many as one
// window may name.
func without(provider string, ids []domain.IntegrationID, windows []domain.Maintenance) []domain.Scope {
	var out []domain.Scope
	for _, id := range ids {
		if !slices.ContainsFunc(windows, func(m domain.Maintenance) bool { return m.Covers(provider, id) }) {
			out = append(out, domain.Scope{Kind: domain.ScopeIntegration, Target: string(id)})
		}
	}
	if len(out) == len(ids) && len(ids) <= domain.MaxMaintained {
		return []domain.Scope{{Kind: domain.ScopePlatform, Target: provider}}
	}
	return out[:min(len(out), domain.MaxMaintenanceScopes)]
}

// suggest stores a window as proposed; false = something is in its way after all, such as that there are too many.
func suggest(ctx context.Context, tx *store.Tx, scopes []domain.Scope, at domain.Span, reason string, mode domain.ApprovalMode) (domain.Maintenance, bool, error) {
	m, err := create(ctx, tx, domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](tx.Now), Scopes: scopes, StartsAt: at.Start, EndsAt: at.End,
		Reason: reason, RequestedBy: actor}, mode)
	if domain.KindOf(err) == domain.KindConflict {
		return m, false, nil
	}
	return m, err == nil, err
}

// Withdraw cancels a window that was proposed for an announcement, now taken back. One that somebody approved already stays.
func Withdraw(ctx context.Context, tx *store.Tx, id domain.MaintenanceID, by string) error {
	if err := tx.LockMaintenance(ctx); err != nil {
		return err
	}
	m, err := tx.Maintenance(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	if err != nil || m.State != domain.MaintenanceProposed {
		return err
	}
	was, now := m, tx.Now
	m.State, m.EndedAt, m.Note = domain.MaintenanceCancelled, &now, "the announcement for which it was proposed was taken back"
	if _, err := save(ctx, tx, was, m, "cancelled", by, "maintenance.state"); err != nil {
		return err
	}
	return tx.WakeMaintenance(ctx, id)
}
