package reconcile

import (
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Standing is what one system holds of a booking, as far as its links tell.
type Standing struct {
	Own      *domain.Link  // an entry of the system's own
	Mirror   *domain.Link  // our copy, the one written last
	Extra    []domain.Link // further copies of ours, which must go
	Removed  int           // links that are no more: how often a copy was made anew
	Filtered bool          // it has an entry of its own that the connection's filters leave out
	Asked    bool          // a person must decide about an entry first
}

// StandingOf sorts a booking's links by what they say of one system.
func StandingOf(links []domain.Link, in domain.IntegrationID) Standing {
	var s Standing
	for i := range links {
		l := &links[i]
		if l.IntegrationID != in {
			continue
		}
		s.Asked = s.Asked || l.Agreed.Asked != ""
		switch {
		case l.RemovedAt != nil:
			s.Removed++
			s.Filtered = s.Filtered || l.Agreed.Filtered
		case !l.Mirror:
			s.Own = l
		case s.Mirror == nil:
			s.Mirror = l
		case l.WrittenVersion > s.Mirror.WrittenVersion:
			s.Extra = append(s.Extra, *s.Mirror)
			s.Mirror = l
		default:
			s.Extra = append(s.Extra, *l)
		}
	}
	return s
}

// Shown reports whether a booking should have a copy in a system that does not have it as its own.
func Shown(b domain.Booking, target domain.Integration) bool {
	return b.Blocks() && b.ResourceID == target.ResourceID && !(b.Private && target.Sync.Private == domain.PrivateSkip)
}

// Work is what a push must do now.
type Work struct {
	Remove []domain.Link // copies of ours that must go
	Put    bool          // write the booking
	Source bool          // over the system's own entry
	Live   *domain.Link  // the entry to be written over; nil makes a new copy
}

// WorkOf says what carrying out a push means as things stand. It is asked at the moment of writing, so the newest state
// counts and not the one that caused the wish.
func WorkOf(b domain.Booking, target domain.Integration, op domain.PushOp, s Standing) Work {
	// While our copies are taken out of a system, and afterwards, none is written there.
	purged := target.Copies == domain.CopiesPurging || target.Copies == domain.CopiesPurged
	if !purged && (s.Asked || !target.Direction.Exports()) {
		return Work{}
	}
	w := Work{Remove: s.Extra}
	mirrors := func() {
		if s.Mirror != nil {
			w.Remove = append(w.Remove, *s.Mirror)
		}
	}
	switch {
	case s.Own != nil:
		// A copy beside the system's own entry would show the time as taken twice.
		mirrors()
		if op == domain.PushPut && target.Direction.Exports() && !s.Asked {
			w.Put, w.Source, w.Live = true, true, s.Own
		}
	case purged, s.Filtered, !Shown(b, target):
		mirrors()
	default:
		w.Put, w.Live = true, s.Mirror
	}
	return w
}

// TakesBack reports whether a copy must be taken back that an unanswered write may have made, where work is all that is to be done
// as things stand. foretold says that the system removes it by its id; otherwise finding it takes a write.
func TakesBack(work Work, target domain.Integration, s Standing, foretold bool) bool {
	switch {
	case s.Mirror != nil || work.Put && !work.Source:
		return false // it is known, or found by the write that is to be made
	case target.Copies == domain.CopiesPurging || target.Copies == domain.CopiesPurged:
		return foretold
	}
	return !s.Asked && target.Direction.Exports()
}

// TakenBack returns the link to be stored after such a copy was taken back, so that a later one gets a key of its own. now are the
// booking's links.
func TakenBack(now []domain.Link, b domain.Booking, in domain.IntegrationID, externalID string, at time.Time) domain.Link {
	l := domain.Link{ID: domain.NewID[domain.LinkID](at), OrgID: b.OrgID, IntegrationID: in, BookingID: b.ID, ExternalID: externalID, Mirror: true}
	for _, n := range now {
		if n.IntegrationID == in && n.ExternalID == externalID {
			l = n
		}
	}
	l.RemovedAt, l.UpdatedAt = &at, at
	return l
}

// maxWriting bounds how many unanswered writes a link remembers.
const maxWriting = 8

// Writing notes on a link, at the moment at, what is about to be written to its entry.
func Writing(l domain.Link, b domain.Booking, at time.Time) domain.Link {
	noted := strings.Fields(l.Agreed.Writing)
	if w := minutes(b.When); !slices.Contains(noted, w) {
		noted = append(noted, w)
	}
	l.Agreed.Writing = strings.Join(noted[max(0, len(noted)-maxWriting):], " ")
	l.UpdatedAt = at
	return l
}

// wroteThis reports whether an entry shows what we wrote, or tried to, and whose answer is not known.
func wroteThis(l *domain.Link, c domain.Change) bool {
	return l.Agreed.Writing != "" && c.Status != domain.StatusCancelled && slices.Contains(strings.Fields(l.Agreed.Writing), minutes(c.When))
}

// Removed returns the link to be stored after a copy of ours was removed: the one that is there now, because a question may
// have been asked about it meanwhile, which must stay answerable. l is the link as it was when the removal was decided.
func Removed(now []domain.Link, l domain.Link, at time.Time) domain.Link {
	for _, n := range now {
		if n.ID == l.ID {
			l = n
		}
	}
	l.RemovedAt, l.UpdatedAt = &at, at
	return l
}

// Wrote returns the links to be stored after a write of b. before is the entry's link as it was when the write was decided
// (nil: a new copy), now the booking's links as they are after it, and back what the system stored, in the form in which
// it will be read.
//
// What was read from the entry meanwhile is newer than the answer, because a conditional write succeeds only on the
// entry as it was known before; then the answer adds nothing but that the write happened.
func Wrote(before *domain.Link, now []domain.Link, b domain.Booking, in domain.IntegrationID, back domain.Change, uid string, at time.Time) []domain.Link {
	l := domain.Link{ID: domain.NewID[domain.LinkID](at), OrgID: b.OrgID, IntegrationID: in, BookingID: b.ID, Mirror: true}
	var out []domain.Link
	for _, n := range now {
		if n.IntegrationID != in {
			continue
		}
		if before != nil && n.ExternalID == before.ExternalID && back.ExternalID != n.ExternalID && n.RemovedAt == nil {
			// The system gave the copy another id.
			n.RemovedAt, n.UpdatedAt = &at, at
			out = append(out, n)
		}
		if n.ExternalID == back.ExternalID {
			seen := before == nil && n.RemovedAt == nil || before != nil && (n.Hash != before.Hash || n.Revision != before.Revision ||
				!n.UpdatedAt.Equal(before.UpdatedAt) || (n.RemovedAt == nil) != (before.RemovedAt == nil))
			l = n
			if seen {
				l.Agreed.Writing, l.WrittenVersion, l.UpdatedAt = "", max(l.WrittenVersion, b.Version), at
				return append(out, l)
			}
		}
	}
	l.ExternalID, l.Revision, l.Hash, l.UpdatedAt, l.RemovedAt = back.ExternalID, back.Revision, back.Hash(), at, nil
	l.WrittenVersion, l.RemoteVersion = b.Version, back.RemoteVersion
	if uid != "" {
		l.UID = uid
	}
	agree(&l, b, back, false)
	return append(out, l)
}
