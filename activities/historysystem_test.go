package activities_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// agenda is a calendar in memory for histories: entries with revisions and a log of changes, pages of a few entries,
// cursors that it may forget, and writes on condition of a revision. What goes wrong is decided by the history.
type agenda struct {
	name    string
	rnd     *rand.Rand // nil = all goes well
	clock   func() time.Time
	between func()             // lets other things happen while a call is on its way
	die     context.CancelFunc // ends the process that calls

	mu      sync.Mutex
	entries []*note
	byID    map[string]*note
	log     []*note
	epoch   int // cursors of earlier ones are forgotten
	writes  int

	reshapes, clocked bool
}

// note is one entry.
type note struct {
	id, key  string
	title    string
	when     domain.When
	origin   domain.BookingID
	copyOf   domain.BookingID
	revision int
	changed  time.Time
	gone     bool
	event    string
}

// chance is true once in odds times; never when all goes well.
func (a *agenda) chance(odds int) bool { return a.rnd != nil && a.rnd.IntN(odds) == 0 }

// meanwhile lets other things happen. It needs the lock not to be held.
func (a *agenda) meanwhile() {
	if a.between != nil && a.chance(4) {
		a.between()
	}
}

// answer is the end of a call that took effect: its answer may be lost, and its caller may die before it gets it.
func (a *agenda) answer(ctx context.Context) error {
	a.meanwhile()
	switch {
	case a.chance(12):
		return domain.E(domain.KindUnavailable, "the answer was lost")
	case a.chance(12) && a.die != nil:
		a.die()
		return ctx.Err()
	}
	return nil
}

func (a *agenda) touch(n *note) {
	n.revision++
	n.changed = a.clock()
	a.log = append(a.log, n)
}

func (a *agenda) see(n *note) domain.Change {
	if n.gone {
		return domain.Change{Op: domain.OpRemove, ExternalID: n.id}
	}
	c := domain.Change{Op: domain.OpUpsert, ExternalID: n.id, UID: "uid-" + a.name + "-" + n.id, Revision: strconv.Itoa(n.revision),
		Category: domain.CategoryConsultation, Status: domain.StatusConfirmed, When: n.when, Details: domain.Details{Title: n.title},
		Origin: n.origin, CopyOf: n.copyOf}
	if a.clocked {
		at := n.changed
		c.ChangedAt = &at
	}
	return c
}

const agendaPage = 3

// Pull gives changes since a cursor "epoch/from" or, from "", everything that is there as "epoch/from/next entry".
func (a *agenda) Pull(ctx context.Context, cursor string) (provider.Page, error) {
	if a.chance(15) {
		return provider.Page{}, domain.E(domain.KindUnavailable, "busy")
	}
	page, err := a.page(cursor)
	if err != nil {
		return page, err
	}
	return page, a.answer(ctx)
}

func (a *agenda) page(cursor string) (page provider.Page, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	epoch, from, at, full := a.epoch, len(a.log), 0, true
	if cursor != "" {
		n, err := fmt.Sscanf(cursor, "%d/%d/%d", &epoch, &from, &at)
		if full = n == 3; epoch != a.epoch || !full && n != 2 {
			return page, domain.E(domain.KindGoneToken, "the cursor is no longer known")
		} else if !full && err == nil {
			return page, domain.E(domain.KindInternal, "a cursor of two kinds")
		}
	}
	if !full {
		end := min(from+agendaPage, len(a.log))
		seen := map[*note]bool{}
		for _, n := range a.log[from:end] {
			if !seen[n] {
				seen[n] = true
				page.Changes = append(page.Changes, a.see(n))
			}
		}
		if k := len(page.Changes); k > 0 && a.chance(4) {
			page.Changes = append(page.Changes, page.Changes[a.rnd.IntN(k)])
		}
		page.Next, page.More = fmt.Sprintf("%d/%d", epoch, end), end < len(a.log)
		return page, nil
	}
	for ; at < len(a.entries) && len(page.Changes) < agendaPage; at++ {
		if !a.entries[at].gone {
			page.Changes = append(page.Changes, a.see(a.entries[at]))
		}
	}
	if page.Next, page.More = fmt.Sprintf("%d/%d/%d", epoch, from, at), at < len(a.entries); !page.More {
		// What changed while it was listed is told next.
		page.Next, page.Complete = fmt.Sprintf("%d/%d", epoch, from), true
	}
	return page, nil
}

func (a *agenda) Read(ctx context.Context, id string) (domain.Change, error) {
	if a.chance(15) {
		return domain.Change{}, domain.E(domain.KindUnavailable, "busy")
	}
	a.mu.Lock()
	n := a.byID[id]
	var c domain.Change
	err := domain.E(domain.KindNotFound, "no such entry")
	if n != nil && !n.gone {
		c, err = a.see(n), nil
	}
	a.mu.Unlock()
	a.meanwhile()
	return c, err
}

func (a *agenda) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	a.meanwhile()
	if a.chance(15) {
		return provider.Written{}, domain.E(domain.KindUnavailable, "busy")
	}
	c, adopted, err := a.put(w)
	if err != nil {
		return provider.Written{}, err
	}
	return provider.Written{ExternalID: c.ExternalID, UID: c.UID, Revision: c.Revision, ReadBack: c, Adopted: adopted}, a.answer(ctx)
}

func (a *agenda) put(w provider.Write) (back domain.Change, adopted bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	title, when := w.Details.Title, w.When
	if a.reshapes {
		title = strings.TrimSpace(title)
		when.Start, when.End, when.Zone = when.Start.Truncate(time.Minute), when.End.Truncate(time.Minute), "UTC"
	}
	var n *note
	if w.ExternalID != "" {
		if n = a.byID[w.ExternalID]; n == nil || n.gone || w.Revision != strconv.Itoa(n.revision) {
			return back, false, domain.E(domain.KindConflict, "the entry changed since it was read")
		}
	} else {
		for _, had := range a.entries {
			if had.key == w.Key && !had.gone {
				n = had
			}
		}
		if n != nil {
			return a.see(n), n.title != title || !n.when.Equal(when), nil
		}
	}
	a.writes++
	if n == nil {
		n = &note{id: a.name + "-copy" + strconv.Itoa(len(a.entries)), key: w.Key, origin: w.BookingID}
		a.entries, a.byID[n.id] = append(a.entries, n), n
	}
	n.title, n.when = title, when
	a.touch(n)
	return a.see(n), false, nil
}

func (a *agenda) Remove(ctx context.Context, id, revision string) error {
	a.meanwhile()
	a.mu.Lock()
	n := a.byID[id]
	switch {
	case n == nil || n.gone:
		a.mu.Unlock()
		return nil
	case revision != strconv.Itoa(n.revision):
		a.mu.Unlock()
		return domain.E(domain.KindConflict, "the entry changed since it was read")
	}
	n.gone = true
	a.writes++
	a.touch(n)
	a.mu.Unlock()
	return a.answer(ctx)
}
