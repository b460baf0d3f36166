package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestPrioritiesAreOrderedAndSurviveTheirNames(t *testing.T) {
	t.Parallel()
	last := domain.Priority(0)
	for _, p := range domain.Priorities() {
		if p <= last || !p.Valid() || p.OrNormal() != p {
			t.Errorf("%s is out of order or not valid", p)
		}
		last = p
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back domain.Priority
		if err := json.Unmarshal(text, &back); err != nil || back != p {
			t.Errorf("%s came back as %d: %v", text, back, err)
		}
	}
}

func TestUnknownPrioritiesAreRefusedByNameAndNormalByValue(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Urgent", "low", "unknown", "3"} {
		if p, err := domain.ParsePriority("settings.priority", name); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%q was read as %d: %v", name, p, err)
		}
	}
	for _, p := range []domain.Priority{-1, 0, 5, 127} {
		if p.Valid() || p.OrNormal() != domain.PriorityNormal {
			t.Errorf("%d is not taken as normal", p)
		}
	}
}
