package alert_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestOnTheDayOfAWeddingTheFirstStepFollowsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	wedding := start.Add(10 * time.Hour)
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	down.Wedding, down.Day = &wedding, true
	d.tells([]string{"connection i1 opened critical"}, down)
	if want := start.Add(time.Second); !d.next.Equal(want) {
		t.Errorf("looks again at %s, want %s", d.next, want)
	}
	d.wait(time.Second).tells([]string{"connection i1 escalated critical"}, down)
	// The second step keeps its time.
	d.wait(58*time.Minute).tells(nil, down)
	d.wait(2*time.Minute).tells([]string{"connection i1 escalated critical"}, down)
}

func TestOnTheDayOfAWeddingOnlyWhatIsCriticalIsEscalatedAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	slow := ill("i1", domain.AlertResponseTime, domain.SeverityHigh)
	slow.Day = true // of a connection whose wedding is not told of
	d.tells([]string{"response_time i1 opened high"}, slow)
	if want := start.Add(15 * time.Minute); !d.next.Equal(want) {
		t.Errorf("looks again at %s, want %s", d.next, want)
	}
}
