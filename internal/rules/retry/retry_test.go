package retry_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/rules/retry"
)

func TestScheduleIsThePublishedOne(t *testing.T) {
	t.Parallel()
	want := []string{"5s", "15s", "45s", "2m15s", "6m45s", "20m15s", "1h0m45s", "3h2m15s", "9h6m45s", "12h0m0s", "12h0m0s", "12h0m0s", "12h0m0s", "12h0m0s"}
	var got []string
	steps := retry.Schedule()
	for i, s := range steps {
		got = append(got, s.Wait.String())
		if s.AfterTry != i+1 {
			t.Errorf("step %d is after try %d", i, s.AfterTry)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if sum := steps[len(steps)-1].Elapsed; sum != 73*time.Hour+40*time.Minute+5*time.Second {
		t.Errorf("the schedule lasts %s", sum)
	}
}

func TestNextTryIsWithinTheJitterAndTheLastTryHasNone(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 6, 12, 9, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		try := rapid.IntRange(-1, 30).Draw(t, "try")
		share := rapid.Float64Range(-1, 2).Draw(t, "share")
		at, again := retry.Next(now, try, share, 0)
		if again != (try >= 1 && try < retry.Tries) {
			t.Fatalf("try %d is followed by another: %t", try, again)
		}
		if wait := retry.Wait(try); again && (at.Before(now.Add(wait)) || at.After(now.Add(wait+wait/5))) {
			t.Fatalf("try %d waits %s", try, at.Sub(now))
		}
	})
	if at, _ := retry.Next(now, 1, 0, time.Hour); !at.Equal(now.Add(time.Hour)) {
		t.Errorf("a wait that was asked for is cut to %s", at.Sub(now))
	}
	if at, _ := retry.Next(now, 10, 0, time.Hour); !at.Equal(now.Add(12 * time.Hour)) {
		t.Errorf("a short wait that was asked for replaces the schedule's: %s", at.Sub(now))
	}
}
