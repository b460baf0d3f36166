package domain_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestGuardHoldsOnlyWhatIsMuchByNumberAndByShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		guard           domain.Guard
		removals, known int
		want            bool
	}{
		{domain.DefaultGuard, 5, 5, false},     // few
		{domain.DefaultGuard, 6, 6, true},      // everything
		{domain.DefaultGuard, 6, 30, false},    // exactly a fifth
		{domain.DefaultGuard, 7, 30, true},     // more than a fifth
		{domain.DefaultGuard, 6, 1000, false},  // few among many
		{domain.DefaultGuard, 201, 1000, true}, // many of many
		{domain.Guard{}, 0, 0, false},          // nothing is never held
		{domain.Guard{}, 1, 1000, true},        // the strictest asks about each
		{domain.Guard{Percent: 100}, 10, 10, false},
	} {
		if got := c.guard.Holds(c.removals, c.known); got != c.want {
			t.Errorf("%+v of %d among %d: %t, want %t", c.guard, c.removals, c.known, got, c.want)
		}
	}
}

func TestGuardNamesTheFieldAndItsLimit(t *testing.T) {
	t.Parallel()
	for text, g := range map[string]domain.Guard{
		"guard.removals: must be 0 to 100000, is -1":     {Removals: -1},
		"guard.removals: must be 0 to 100000, is 100001": {Removals: 100_001},
		"guard.percent: must be 0 to 100, is 101":        {Percent: 101},
	} {
		if err := g.Validate("guard"); err == nil || err.Error() != text {
			t.Errorf("%+v: %v, want %q", g, err, text)
		}
	}
	if err := (domain.Guard{Removals: 100_000, Percent: 100}).Validate("guard"); err != nil {
		t.Error(err)
	}
}

func TestChangedFieldsAreNamesOnly(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 6, 12, 9, 0, 0, 0, time.UTC)
	was := domain.Booking{Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: at, End: at.Add(time.Hour)}}, Details: domain.Details{Title: "Ada"}}
	now := was
	now.Status, now.When.End, now.Details.Title, now.Private = domain.StatusCancelled, at.Add(2*time.Hour), "Bo", true
	if diff := cmp.Diff([]string{"status", "end", "title", "private"}, domain.ChangedFields(&was, now)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"created"}, domain.ChangedFields(nil, now)); diff != "" {
		t.Error(diff)
	}
}
