// Package resolution decides two things about a conflict from arguments alone: what an organisation's policy says about it
// (Choose), and by when a person must have decided (Deadline).
//
// A policy is a person's decision made ahead. It acts only where it was switched on for the two categories, and Choose
// leaves the conflict to a person
//
//   - when both are confirmed weddings, or a confirmed wedding would have to give way;
//   - when a wedding of the pair begins within the organisation's freeze, or is on;
//   - when the rule names neither of the two, or both alike.
//
// What a policy decides is carried out by the same steps as a person's decision, and is checked again for clashes in the
// transaction that applies it.
//
// Test it with go test ./internal/rules/resolution.
package resolution

import (
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// DecideBefore is how long before a wedding people are to have decided, however long the freeze of the organisation is: until then
// a conflict may be put off at the longest, and until then who does not decide is asked again with growing urgency.
const DecideBefore = 48 * time.Hour

// Party is one of the two bookings of a conflict, as far as a policy cares.
type Party struct {
	ID          domain.BookingID
	Category    domain.Category
	Status      domain.BookingStatus
	Source      domain.IntegrationID // "" for one made in WedSync
	BookedAt    time.Time
	ConfirmedAt time.Time // since when it has been confirmed; zero when it is not
	When        domain.Span
}

// Verdict is what a policy says.
type Verdict struct {
	Outcome domain.PolicyOutcome
	Yields  domain.BookingID // with PolicyDecided: the one that gives way
	Why     string           // in words, without personal data
}

// Choose applies a policy to a pair. The caller has made sure that the policy is for their categories. freeze is how long before a
// wedding nothing is decided by a policy any more, as the organisation set it.
func Choose(p domain.ConflictPolicy, a, b Party, now time.Time, freeze time.Duration) Verdict {
	if p.Rule == domain.PolicyManual {
		return Verdict{Outcome: domain.PolicyLeft, Why: "the policy leaves it to a person"}
	}
	if wedding(a) && wedding(b) {
		return Verdict{Outcome: domain.PolicyProtected, Why: "both are confirmed weddings"}
	}
	for _, x := range []Party{a, b} {
		if x.Category == domain.CategoryWedding && x.Status != domain.StatusCancelled && x.When.End.After(now) && x.When.Start.Sub(now) < freeze {
			return Verdict{Outcome: domain.PolicyFrozen, Why: fmt.Sprintf("a wedding begins within %d hours or is on", int(freeze.Hours()))}
		}
	}
	if p.Rule == domain.PolicyKeepBoth {
		return Verdict{Outcome: domain.PolicyAcknowledge, Why: "both may stay once a person has acknowledged it"}
	}
	stays, why := winner(p, a, b)
	if stays == 0 {
		return Verdict{Outcome: domain.PolicyLeft, Why: why}
	}
	yields := b
	if stays < 0 {
		yields = a
	}
	if wedding(yields) {
		return Verdict{Outcome: domain.PolicyProtected, Why: "a confirmed wedding would have to give way"}
	}
	return Verdict{Outcome: domain.PolicyDecided, Yields: yields.ID, Why: why}
}

func wedding(p Party) bool {
	return p.Category == domain.CategoryWedding && p.Status == domain.StatusConfirmed
}

// winner is positive when a stays, negative when b stays, and 0 when the rule names neither.
func winner(p domain.ConflictPolicy, a, b Party) (int, string) {
	switch p.Rule {
	case domain.PolicyFirstConfirmed:
		switch at, bt := a.ConfirmedAt, b.ConfirmedAt; {
		case at.IsZero() && bt.IsZero():
			return 0, "neither is confirmed"
		case bt.IsZero():
			return 1, "only the other is confirmed"
		case at.IsZero():
			return -1, "only the other is confirmed"
		default:
			return later(bt, at), "the other was confirmed first, or both at once"
		}
	case domain.PolicyNewestWins:
		return later(a.BookedAt, b.BookedAt), "the other was booked later, or both at once"
	case domain.PolicyHigherCategory:
		return a.Category.Rank() - b.Category.Rank(), "the other is of the higher category"
	case domain.PolicySourcePriority:
		x, y := place(p.Sources, a.Source), place(p.Sources, b.Source)
		return y - x, "the other comes from a system that goes first, or both from the same"
	case domain.PolicyManual, domain.PolicyKeepBoth:
	}
	return 0, "the policy leaves it to a person"
}

func later(a, b time.Time) int { return a.Compare(b) }

// place is where a source stands in the list; those that are not in it all stand behind it.
func place(sources []domain.IntegrationID, id domain.IntegrationID) int {
	if i := slices.Index(sources, id); i >= 0 && id != "" {
		return i
	}
	return len(sources)
}

// patience is how long a person is waited for, by severity.
func patience(s domain.Severity) time.Duration {
	switch s {
	case domain.SeverityCritical:
		return 2 * time.Hour
	case domain.SeverityHigh:
		return 12 * time.Hour
	case domain.SeverityMedium:
		return 48 * time.Hour
	case domain.SeverityLow:
	}
	return 7 * 24 * time.Hour
}

// Deadline is when a conflict that waits for a person since a time is escalated: by severity, in half the time within two
// weeks of the wedding, before the last 48 hours (DecideBefore), and within the hour during them. weddingDate is a
// local date or "". It is zero, never, once the wedding is over.
func Deadline(s domain.Severity, weddingDate string, since time.Time) time.Time {
	wait := patience(s)
	day, err := time.Parse(time.DateOnly, weddingDate)
	if err != nil {
		return since.Add(wait)
	}
	// The date stands for its first minute in the easternmost zones, so that the deadline is early rather than late.
	day = day.Add(-14 * time.Hour)
	left := day.Sub(since)
	switch {
	case left < -48*time.Hour:
		return time.Time{}
	case left < DecideBefore+time.Hour:
		return since.Add(min(wait, time.Hour))
	case left < 14*24*time.Hour:
		wait /= 2
	}
	return since.Add(min(wait, left-DecideBefore))
}
