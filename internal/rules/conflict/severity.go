package conflict

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Severity of a clash, before the steps below it. The row is the higher of the two categories, the columns group the
// lower one: its own kind, client appointments, and entries without a client (travel, hold, maintenance, personal).
//
//	                 same kind   appointment   no client
//	wedding          critical    high          high
//	engagement       high        medium        medium
//	vendor           medium      medium        medium
//	consultation     medium      -             medium
//	no client        -           -             low
//
// Then, in this order:
//
//	only buffers or the way are in the way, or only the day is shared   one step down
//	a wedding of the pair starts within 48 hours, or is on              critical
//	a wedding of the pair starts within 14 days                         one step up
//	one of the two is tentative                                         one step down
//
// A day kept free of clients counts as an entry without a client. A timeline that a vendor cannot keep counts as the wedding
// against an appointment, one step down where only the time for the way or for the next thing is short. Work outside hours is
// always low. Low is the lowest step and critical the highest.
var table = map[domain.Category]struct{ sameKind, appointment, noClient domain.Severity }{
	domain.CategoryWedding:      {domain.SeverityCritical, domain.SeverityHigh, domain.SeverityHigh},
	domain.CategoryEngagement:   {domain.SeverityHigh, domain.SeverityMedium, domain.SeverityMedium},
	domain.CategoryVendor:       {domain.SeverityMedium, domain.SeverityMedium, domain.SeverityMedium},
	domain.CategoryConsultation: {domain.SeverityMedium, domain.SeverityMedium, domain.SeverityMedium},
}

// How near a wedding must be to raise the severity.
const (
	weddingVeryNear = 48 * time.Hour
	weddingNear     = 14 * 24 * time.Hour
)

// severity applies the table and the steps. weaker is true when only buffers or only the day clash, tentative when one
// of the bookings that make the clash is not firm.
func severity(now time.Time, a, b Candidate, weaker, tentative bool) domain.Severity {
	if a.Category.Rank() < b.Category.Rank() {
		a, b = b, a
	}
	base := domain.SeverityLow
	if row, ok := table[a.Category]; ok {
		switch {
		case a.Category == b.Category:
			base = row.sameKind
		case HasBuffers(b.Category):
			base = row.appointment
		default:
			base = row.noClient
		}
	}
	level := base.Level()
	if weaker {
		level--
	}
	if wait, ok := untilWedding(now, a, b); ok {
		switch {
		case wait <= weddingVeryNear:
			level = domain.SeverityCritical.Level()
		case wait <= weddingNear:
			level++
		}
	}
	// A clash that started below the scale or was raised above it is first put back on it, so that a tentative
	// booking always counts for one step.
	level = clampLevel(level)
	if tentative {
		level = clampLevel(level - 1)
	}
	return [...]domain.Severity{domain.SeverityLow, domain.SeverityMedium, domain.SeverityHigh, domain.SeverityCritical}[level-1]
}

// OfTimeline is the severity of a timeline that a vendor cannot keep. short is true when nothing asks for the vendor in two
// places at once.
func OfTimeline(now time.Time, wedding Candidate, short bool) domain.Severity {
	return severity(now, wedding, Candidate{Category: domain.CategoryVendor}, short, tentative(wedding))
}

func clampLevel(n int) int {
	return min(max(n, domain.SeverityLow.Level()), domain.SeverityCritical.Level())
}

// untilWedding is the time until the nearer wedding of the pair begins; it is negative for one that is on.
func untilWedding(now time.Time, pair ...Candidate) (wait time.Duration, ok bool) {
	for _, c := range pair {
		if c.Category != domain.CategoryWedding {
			continue
		}
		if w := c.Event.Start.Sub(now); !ok || w < wait {
			wait, ok = w, true
		}
	}
	return wait, ok
}
