package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/wedsync/wedsync/internal/domain"
)

// match finds the booking that a change is about when no link names it yet, and says how it was found.
func (w *world) match(c domain.Change) (id domain.BookingID, how string) {
	// A copy of ours whose mapping row is not there (a lost answer, a restored database).
	if _, ok := w.bookings[c.Origin]; ok && c.Origin != "" {
		beside := w.hasCopyBeside(c.Origin, c)
		switch {
		case beside && w.carried(c):
			return c.Origin, byCarrier
		case !beside || !c.Unbound:
			return c.Origin, byMarker
		}
	}
	if id := w.chosen(c); id != "" {
		return id, "a person's decision"
	}
	if c.UID != "" {
		if id := w.sharedUID(c); id != "" {
			return id, "shared UID"
		}
	}
	best, bestScore := domain.BookingID(""), 0
	for _, b := range w.bookings {
		if b.ResourceID != w.in.From.ResourceID || w.duplicated(b.ID, c) || w.hasOwnLink(b.ID) || w.parted(c, b.ID) {
			continue
		}
		if s := Likeness(*b, c); s >= LikenessBar && (s > bestScore || s == bestScore && b.ID < best) {
			best, bestScore = b.ID, s
		}
	}
	if best == "" {
		return "", ""
	}
	return best, Alike(*w.bookings[best], asBooking(c)).String()
}

// hasCopyBeside reports whether our copy of a booking is there under another id than an entry's. Then an entry with the
// booking's marker, if that is not bound to it, is a copy that somebody made of our copy: an event of its own.
func (w *world) hasCopyBeside(id domain.BookingID, c domain.Change) bool {
	return w.hadCopyBeside(id, c, func(l *domain.Link) bool { return l.RemovedAt == nil || w.changed[l] })
}

func (w *world) hadCopyBeside(id domain.BookingID, c domain.Change, counts func(*domain.Link) bool) bool {
	return slices.ContainsFunc(w.linksOf(id), func(l *domain.Link) bool {
		return l.IntegrationID == w.in.From.ID && l.Mirror && l.ExternalID != c.ExternalID && counts(l)
	})
}

// duplicated reports whether an entry was made of our copy of a booking, so that it is no such copy nor the booking itself.
// A marker alone does not tell: another tool may carry a copy of ours to a system where we never had one. Whoever deletes our
// copy after duplicating it does not mean the event, which gets another copy.
func (w *world) duplicated(id domain.BookingID, c domain.Change) bool {
	ever := func(*domain.Link) bool { return true }
	return id == c.Origin || id == c.CopyOf && (w.hadCopyBeside(id, c, ever) || slices.ContainsFunc(w.in.Items, func(it Item) bool {
		// The copy itself may come later in the same page, when the answer to its write was lost.
		return it.Change != nil && it.Change.Op == domain.OpUpsert && it.Change.Origin == id && it.Change.ExternalID != c.ExternalID
	}))
}

// carried reports whether an entry is our copy in another system, brought here with its UID by somebody else's tool.
func (w *world) carried(c domain.Change) bool {
	return c.UID != "" && slices.ContainsFunc(w.linksOf(c.Origin), func(l *domain.Link) bool {
		return l.IntegrationID != w.in.From.ID && l.Mirror && l.UID == c.UID
	})
}

// How a copy of ours is recognised, and one that another tool put beside the one that we wrote here.
const (
	byMarker  = "origin marker"
	byCarrier = "origin marker and UID of a copy elsewhere"
)

// sharedUID finds the booking that another system knows under the change's UID. Some systems give every instance of a
// series one UID, so where several bookings have it the one at the same time is meant, and none if there is no such.
func (w *world) sharedUID(c domain.Change) domain.BookingID {
	var found []domain.BookingID
	for _, l := range w.links {
		if l.UID != c.UID || l.RemovedAt != nil || l.IntegrationID == w.in.From.ID || w.duplicated(l.BookingID, c) || !w.sameResource(l.BookingID) ||
			w.hasOwnLink(l.BookingID) || w.parted(c, l.BookingID) || slices.Contains(found, l.BookingID) {
			continue
		}
		if w.bookings[l.BookingID].When.Start.Equal(c.When.Start) {
			return l.BookingID
		}
		found = append(found, l.BookingID)
	}
	if len(found) == 1 && !w.seriesOf(c.UID) {
		return found[0]
	}
	return ""
}

// seriesOf reports whether one system has several entries under one UID.
func (w *world) seriesOf(uid string) bool {
	seen := map[domain.IntegrationID]bool{}
	for _, l := range w.links {
		if l.UID != uid || l.RemovedAt != nil {
			continue
		}
		if seen[l.IntegrationID] {
			return true
		}
		seen[l.IntegrationID] = true
	}
	return false
}

func (w *world) sameResource(id domain.BookingID) bool {
	b, ok := w.bookings[id]
	return ok && b.ResourceID == w.in.From.ResourceID && b.MergedInto == ""
}

// hasOwnLink reports whether the From system already has the booking as an entry of its own: one system does not hold one
// event twice, so such a booking cannot be the same as another entry of it. A copy of ours does not count: we may have
// written it before the system told of its own entry.
func (w *world) hasOwnLink(id domain.BookingID) bool {
	return slices.ContainsFunc(w.linksOf(id), func(l *domain.Link) bool {
		return l.IntegrationID == w.in.From.ID && l.RemovedAt == nil && !l.Mirror
	})
}

// LikenessBar is the score from which two entries count as the same real-world event without asking anybody.
const LikenessBar = 80

// NearTime is how far apart start and end may lie for two entries to be alike without asking anybody.
const NearTime = 15 * time.Minute

// SuggestBar is the score from which a person is asked whether two bookings are one event, and SuggestNear how far apart
// their starts may lie for that.
const (
	SuggestBar  = 40
	SuggestNear = 2 * time.Hour
)

// Score is how alike two bookings are, with its parts in words, which name nobody.
type Score struct {
	Total int // 0..100
	Parts []ScorePart
}

// ScorePart is one reason of a score.
type ScorePart struct {
	Points int    `json:"points"`
	Text   string `json:"text"`
}

func (s *Score) add(points int, text string) {
	s.Total += points
	s.Parts = append(s.Parts, ScorePart{points, text})
}

// String is "likeness 95 of 100: same times +60, the same words +35".
func (s Score) String() string {
	parts := make([]string, len(s.Parts))
	for i, p := range s.Parts {
		parts[i] = fmt.Sprintf("%s %+d", p.Text, p.Points)
	}
	return fmt.Sprintf("likeness %d of 100: %s", s.Total, strings.Join(parts, ", "))
}

// Likeness scores 0..100 how likely a change tells of a known booking. Same times give at most 60, so times alone never
// suffice: two consultations at the same hour are a double-booking, not one event.
func Likeness(b domain.Booking, c domain.Change) int {
	if c.Op != domain.OpUpsert || c.Status == domain.StatusCancelled || b.Status == domain.StatusCancelled {
		return 0
	}
	if distance(b.When.Start, c.When.Start) > NearTime || distance(b.When.End, c.When.End) > NearTime || wordsShared(b.Details, c.Details) == 0 {
		return 0
	}
	return Alike(b, asBooking(c)).Total
}

func asBooking(c domain.Change) domain.Booking {
	return domain.Booking{Category: c.Category, When: c.When, Details: c.Details}
}

// Alike scores how likely two bookings are one real-world event. It is the same from both sides. Different words about whose
// event it is mean two events, whatever the times; where one of them says nothing about it, the times are left to say.
func Alike(a, b domain.Booking) Score {
	var s Score
	ds, de := distance(a.When.Start, b.When.Start), distance(a.When.End, b.When.End)
	allDay := (a.When.Kind == domain.TimeAllDay) != (b.When.Kind == domain.TimeAllDay)
	switch {
	case ds == 0 && de == 0:
		s.add(60, "same times")
	case ds <= NearTime && de <= NearTime:
		s.add(50, "times less than 15 min apart")
	case !a.When.Overlaps(b.When.Span):
		return Score{}
	case allDay:
		s.add(30, "one lies in the day that the other takes")
	case ds <= SuggestNear:
		s.add(30, "they overlap and start less than 2 h apart")
	default:
		return Score{}
	}
	shared := wordsShared(a.Details, b.Details)
	switch {
	case shared >= 0.75:
		s.add(35, "the same words")
	case shared >= 0.6:
		s.add(25, "most words the same")
	case shared > 0:
		s.add(10, "some words the same")
	case len(words(a.Details)) > 0 && len(words(b.Details)) > 0:
		return Score{}
	default:
		s.add(0, "one of them does not say whose it is")
	}
	if a.Category == b.Category {
		s.add(5, "same category")
	}
	return s
}

func distance(a, b time.Time) time.Duration {
	if a.After(b) {
		return a.Sub(b)
	}
	return b.Sub(a)
}

// wordsShared is the share of the shorter text's telling words that the other has too, over title and contact.
func wordsShared(a, b domain.Details) float64 {
	x, y := words(a), words(b)
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(x) == 0 {
		return 0
	}
	n := 0
	for word := range x {
		if y[word] {
			n++
		}
	}
	return float64(n) / float64(len(x))
}

// plain are words that tell nothing about whose event it is.
var plain = map[string]bool{"wedding": true, "the": true, "and": true, "of": true, "with": true, "for": true, "consultation": true,
	"engagement": true, "session": true, "meeting": true, "call": true, "booking": true, "event": true, "busy": true, "at": true,
	"info": true, "mail": true, "hello": true, "office": true, "contact": true}

func words(d domain.Details) map[string]bool {
	out := map[string]bool{}
	for _, f := range strings.Fields(strings.ToLower(d.Title + " " + d.Contact)) {
		// The provider of a mail address is shared by strangers; what stands before it is often a name.
		f, _, _ = strings.Cut(f, "@")
		for _, word := range strings.FieldsFunc(f, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if len(word) > 1 && !plain[word] {
				out[word] = true
			}
		}
	}
	return out
}
