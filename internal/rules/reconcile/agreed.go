package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Edits on both sides are told by comparing each side with what it was when both agreed (domain.Agreed): a side that
// differs from its own past was edited. Neither clocks nor versions are needed for that.

// times names instants to the second, in which systems differ least.
func times(w domain.When) string {
	return w.Start.UTC().Truncate(time.Second).Format(time.RFC3339) + "/" + w.End.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// minutes is times for comparing what we write with what a system made of it: some drop seconds.
func minutes(w domain.When) string {
	return w.Start.UTC().Truncate(time.Minute).Format(time.RFC3339) + "/" + w.End.UTC().Truncate(time.Minute).Format(time.RFC3339)
}

// shapeOf is the part of a booking that its copies take over.
func shapeOf(b domain.Booking) string {
	if b.Status == domain.StatusCancelled {
		return string(domain.StatusCancelled)
	}
	return times(b.When) + " " + string(b.Status)
}

// thereOf is the same of an entry. Of a copy of ours only its time is heeded.
func thereOf(c domain.Change, mirror bool) string {
	switch {
	case c.Status == domain.StatusCancelled:
		return string(domain.StatusCancelled)
	case mirror:
		return times(c.When)
	}
	return times(c.When) + " " + string(c.Status)
}

// textsOf is a fingerprint of everything else.
func textsOf(c domain.Category, private, free bool, d domain.Details) string {
	b, err := json.Marshal([]any{c, private, free, d})
	if err != nil {
		panic("marshal plain texts: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

func textsOfBooking(b domain.Booking) string {
	return textsOf(b.Category, b.Private, b.Free, b.Details)
}
func textsOfEntry(c domain.Change) string { return textsOf(c.Category, c.Private, c.Free, c.Details) }

// agree notes on a link that entry and booking are now as they are.
func agree(l *domain.Link, b domain.Booking, c domain.Change, told bool) {
	l.Agreed = domain.Agreed{Version: b.Version, Shape: shapeOf(b), Since: since(l.Agreed, b), Texts: textsOfBooking(b), There: thereOf(c, l.Mirror),
		ThereTexts: textsOfEntry(c), Modified: changedAt(c), Told: told}
}

// since is the version from which on a booking has had the shape it has now: that of the agreement before, if it had the same
// then and no version in between could have had another.
func since(before domain.Agreed, b domain.Booking) int64 {
	if before.Shape == shapeOf(b) && (before.Version == b.Version || before.Version == b.Version-1) {
		return before.Since
	}
	return b.Version
}

// neverMoved reports whether a booking is known to have had no other time than now.
func (w *world) neverMoved(b domain.Booking) bool {
	return b.Version == 1 || slices.ContainsFunc(w.linksOf(b.ID), func(l *domain.Link) bool {
		return l.Agreed.Since == 1 && l.Agreed.Version == b.Version && l.Agreed.Shape == shapeOf(b)
	})
}

// editedHere reports whether the booking is not what it was when both agreed.
func editedHere(l *domain.Link, b domain.Booking) bool {
	return l.Agreed.Shape != "" && l.Agreed.Shape != shapeOf(b)
}

// rewordedHere is editedHere for texts.
func rewordedHere(l *domain.Link, b domain.Booking) bool {
	return l.Agreed.Texts != "" && l.Agreed.Texts != textsOfBooking(b)
}

// newer reports whether an entry's edit is younger than the booking's state: by the systems' own times of change where
// they are known, else by when we learned of them, and what comes now is younger than what is stored. At the same moment
// by the systems' clocks the higher version wins where both count them; then what is stored stays. A time of change that
// is still the one of the state that was edited tells nothing: some programs do not keep it.
func (w *world) newer(at *domain.Link, c domain.Change, b domain.Booking) bool {
	theirs, ours, version := changedAt(c), b.UpdatedAt, int64(0)
	if theirs.Equal(at.Agreed.Modified) {
		theirs = time.Time{}
	}
	for _, l := range w.linksOf(b.ID) {
		if l.Agreed.Told && l.Agreed.Version == b.Version {
			if version = l.RemoteVersion; !l.Agreed.Modified.IsZero() {
				ours = l.Agreed.Modified
			}
		}
	}
	if theirs.IsZero() {
		return !ours.After(w.in.Now)
	}
	if !theirs.Equal(ours) {
		return theirs.After(ours)
	}
	return version > 0 && c.RemoteVersion > version
}

// thereIsSource reports whether the From system is where the booking came from.
func (w *world) thereIsSource(l *domain.Link, b domain.Booking) bool {
	return !l.Mirror && b.SourceID == w.in.From.ID
}

// verdict is what becomes of edits on both sides.
type verdict int

const (
	theyWin verdict = iota
	weWin
	bothStay
	askThem
)

// judge applies the connection's policy.
func (w *world) judge(l *domain.Link, b domain.Booking, c domain.Change) verdict {
	gone := c.Op == domain.OpRemove || c.Status == domain.StatusCancelled
	theirs := false
	policy := w.in.From.Sync.Edits()
	if w.in.Ask[b.ID] {
		policy = domain.EditManual
	}
	if policy != domain.EditManual && !slices.Contains(w.judged, b.ID) {
		w.judged = append(w.judged, b.ID)
	}
	switch policy {
	case domain.EditManual:
		return askThem
	case domain.EditKeepBoth:
		if !gone {
			return bothStay
		}
	case domain.EditSourceWins:
		theirs = w.thereIsSource(l, b)
	case domain.EditNewestWins:
		// A removal seldom has a time. Then the edit wins: what was edited can still be removed, the reverse is worse.
		theirs = (!gone || !changedAt(c).IsZero()) && w.newer(l, c, b)
	}
	if theirs {
		return theyWin
	}
	return weWin
}

// changedAt is when an entry was changed by its system's clock; zero = unknown.
func changedAt(c domain.Change) time.Time {
	if c.ChangedAt == nil {
		return time.Time{}
	}
	return c.ChangedAt.UTC()
}
