package reconcile

import (
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// entry is one event in a modelled system.
type entry struct {
	id, key, uid string
	title        string
	when         domain.When
	origin       domain.BookingID // the marker of a copy of ours, bound to this very entry
	copyOf       domain.BookingID // the marker on a duplicate that somebody made of a copy of ours
	revision     int
	version      int64 // by the system's clock
	changed      time.Time
	gone         bool
	cancelled    bool   // called off, and still there
	event        string // the event that its user means; "" for copies that we wrote
}

// system is a modelled calendar.
type system struct {
	domain.Integration
	entries []*entry // in order of creation; one that is deleted stays as gone
	byID    map[string]*entry
	log     []*entry // in order of change; a cursor is a place in it
	cursor  int
	lost    bool // the cursor is no longer known: the next page is a listing of everything

	reshapes bool // drops seconds, trims texts and has its own name for the zone
	clocked  bool // tells when entries were changed
	ordered  bool // counts the changes of an entry, and posts each of them
	timed    bool // numbers changes by a clock, which steps back now and then, and posts nothing
	ticks    int64
	lenient  bool // takes a write on an old revision if the entry already is as wanted
	revives  bool // gives an entry that was deleted back under its id when its key is used again

	strikes bool // keeps an entry that we cancel, as cancelled

	posts  []domain.Change // what was posted and is on its way
	page   *page           // read, not applied yet
	absent *absence        // what a full listing did not have, not looked into yet
	writes int
	pages  int  // that were applied
	busy   bool // a writer is at work
}

type page struct {
	at      time.Time
	changes []domain.Change
	next    int
	full    bool
	seen    map[string]bool
}

// absence is the end of a run that listed everything.
type absence struct{ seen map[string]bool }

func (s *system) add(e *entry) *entry {
	s.entries = append(s.entries, e)
	s.byID[e.id] = e
	return e
}

func (s *system) touch(e *entry, now time.Time) {
	e.revision++
	s.ticks++
	e.version, e.changed = s.ticks, now
	s.log = append(s.log, e)
	if s.ordered {
		s.posts = append(s.posts, s.see(e))
	}
}

// see is an entry as it is read.
func (s *system) see(e *entry) domain.Change {
	c := domain.Change{Op: domain.OpRemove, ExternalID: e.id}
	if s.ordered {
		c.RemoteVersion = int64(e.revision)
	}
	if s.timed {
		c.RemoteVersion = e.version
	}
	if e.gone {
		return c
	}
	c.Op, c.UID, c.Revision, c.Category = domain.OpUpsert, e.uid, strconv.Itoa(e.revision), domain.CategoryConsultation
	c.Status, c.When, c.Details, c.Origin, c.CopyOf = domain.StatusConfirmed, e.when, domain.Details{Title: e.title}, e.origin, e.copyOf
	if e.cancelled {
		c.Status = domain.StatusCancelled
	}
	if s.clocked {
		at := e.changed
		c.ChangedAt = &at
	}
	return c
}

// asked is an entry as it is asked for by itself.
func (s *system) asked(id string) domain.Change {
	c := s.see(s.byID[id])
	if c.Asked = true; c.Op == domain.OpRemove {
		c.RemoteVersion = 0 // nothing is there that could tell it
	}
	return c
}

// write is what is wished for, as provider.Write.
type write struct {
	key, id, revision, title string
	when                     domain.When
	origin                   domain.BookingID
	source, cancel           bool
}

func (s *system) shape(w write) write {
	if s.reshapes {
		w.title = strings.TrimSpace(w.title)
		w.when.Start, w.when.End, w.when.Zone = w.when.Start.Truncate(time.Minute), w.when.End.Truncate(time.Minute), "UTC"
	}
	return w
}

func (e *entry) is(w write) bool {
	return !e.gone && e.title == w.title && e.when.Equal(w.when)
}

var (
	errGone    = domain.E(domain.KindConflict, "gone")
	errChanged = domain.E(domain.KindConflict, "changed")
)

// put is Writer.Put. adopted says that the copy of an earlier try is there, and says something else.
func (s *system) put(w write, now time.Time) (back domain.Change, adopted bool, err error) {
	w = s.shape(w)
	var e *entry
	if w.id != "" {
		e = s.byID[w.id]
		switch {
		case e == nil || e.gone:
			return back, false, errGone
		case w.revision != strconv.Itoa(e.revision) && s.lenient && !w.source && e.is(w):
			return s.see(e), false, nil
		case w.revision != strconv.Itoa(e.revision):
			return back, false, errChanged
		}
	} else {
		for _, had := range s.entries {
			if had.key == w.key && (!had.gone || s.revives) {
				e = had
			}
		}
		if e != nil && !e.gone {
			return s.see(e), !e.is(w), nil
		}
	}
	s.writes++
	if e == nil {
		id := s.Name + "-copy" + strconv.Itoa(len(s.entries))
		e = s.add(&entry{id: id, uid: "uid-" + id, key: w.key, origin: w.origin})
	}
	e.title, e.when, e.gone, e.cancelled = w.title, w.when, w.cancel && !s.strikes, w.cancel && s.strikes
	s.touch(e, now)
	if e.gone {
		return domain.Change{Op: domain.OpUpsert, ExternalID: e.id, UID: e.uid, Revision: strconv.Itoa(e.revision), RemoteVersion: s.see(e).RemoteVersion,
			Category: domain.CategoryConsultation, Status: domain.StatusCancelled, When: e.when}, false, nil
	}
	return s.see(e), false, nil
}

// remove is Writer.Remove.
func (s *system) remove(id, revision string, now time.Time) error {
	e := s.byID[id]
	if e == nil || e.gone {
		return nil
	}
	if revision != strconv.Itoa(e.revision) {
		return errChanged
	}
	e.gone = true
	s.writes++
	s.touch(e, now)
	return nil
}

// read is Puller.Pull: everything up to the newest change, or a part of it.
func (s *system) read(t *tape, whole bool, now time.Time) *page {
	pg := &page{at: now, next: len(s.log), full: s.lost, seen: map[string]bool{}}
	if s.lost {
		for _, e := range s.entries {
			if !e.gone {
				pg.seen[e.id] = true
				pg.changes = append(pg.changes, s.see(e))
			}
		}
		return pg
	}
	if n := len(s.log) - s.cursor; !whole && n > 1 && t.chance(2) {
		pg.next = s.cursor + 1 + t.n(n)
	}
	for _, e := range s.log[s.cursor:pg.next] {
		if !pg.seen[e.id] {
			pg.seen[e.id] = true
			pg.changes = append(pg.changes, s.see(e))
		}
	}
	for i := len(pg.changes) - 1; i > 0; i-- {
		j := i - t.n(i+1)
		pg.changes[i], pg.changes[j] = pg.changes[j], pg.changes[i]
	}
	if len(pg.changes) > 0 && t.chance(4) {
		pg.changes = append(pg.changes, pg.changes[t.n(len(pg.changes))])
	}
	return pg
}
