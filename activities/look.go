package activities

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
)

// look returns the changes of a page, together with those of the known entries that the page wants looked at.
func (a *Syncs) look(ctx context.Context, ref SyncRef, opened any, page provider.Page) ([]domain.Change, error) {
	reader, ok := provider.As[provider.Reader](opened)
	if !ok {
		return page.Changes, nil
	}
	doubted, err := guard.Doubted(ctx, a.Store, ref.Org, ref.Integration, page)
	if err != nil {
		return nil, err
	}
	changes := page.Changes
	for _, link := range doubted {
		var read domain.Change
		err := caught("read entry", func() (err error) {
			read, err = reader.Read(ctx, link.ExternalID)
			return err
		})
		change, news, err := guard.Answered(link.ExternalID, read, err)
		if err != nil {
			return nil, err
		}
		if news {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

// doubts are the entries of a page that show an older version than is known, and something else. A page may come from a copy of the
// system's data that is behind, and the clock by which a system numbers its changes may have stepped back; what the entry itself
// says tells which.
type doubts struct {
	found []string
	asked bool // they were asked for
}

// errDoubts undoes a page of which entries must be asked for first.
var errDoubts = domain.E(domain.KindUnavailable, "entries must be asked for before the page is applied")

// look notes the doubts about changes that were applied. An entry that was asked for and is in doubt still is asked for later.
func (d *doubts) look(changes []domain.Change, outcomes []reconcile.Outcome) error {
	for n, o := range outcomes {
		switch {
		case !o.Doubt:
		case changes[n].Asked:
			return errBehind
		default:
			d.found = append(d.found, changes[n].ExternalID)
		}
	}
	return nil
}

// ask returns changes with what the system says of the entries in doubt in the place of what its page says. An entry that cannot be
// asked for, or not be understood, stays as the page has it, which is stale.
func (d *doubts) ask(ctx context.Context, opened any, changes []domain.Change) ([]domain.Change, error) {
	d.asked = true
	out := slices.Clone(changes)
	for n, c := range out {
		reader, ok := provider.ReaderOf(opened, c.ExternalID)
		if !ok || !slices.Contains(d.found, c.ExternalID) {
			continue
		}
		var read domain.Change
		err := caught("read entry", func() (err error) {
			read, err = reader.Read(ctx, c.ExternalID)
			return err
		})
		change, news, err := guard.Answered(c.ExternalID, read, err)
		if err != nil {
			return nil, err
		}
		if news {
			out[n] = change
		}
	}
	return out, nil
}
