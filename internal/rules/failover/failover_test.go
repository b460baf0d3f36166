package failover_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/failover"
)

var (
	now = time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)
	set = failover.Settings{}.Defaults()
)

func ago(d time.Duration) *time.Time {
	at := now.Add(-d)
	return &at
}

// usual is a connection whose webhooks work.
func usual(edit func(*failover.Evidence)) failover.Evidence {
	e := failover.Evidence{CanPoll: true, CanHear: true, Answers: true, LastPush: ago(time.Hour), Every: 5 * time.Minute, Total: 100}
	e.Mode, e.Since = domain.FailoverUsual, now.Add(-24*time.Hour)
	if edit != nil {
		edit(&e)
	}
	return e
}

// polled is a connection that polls stand in for since a time.
func polled(since time.Duration, edit func(*failover.Evidence)) failover.Evidence {
	return usual(func(e *failover.Evidence) {
		e.Mode, e.Since, e.Flaps, e.FlappedAt, e.Cause = domain.FailoverPolling, now.Add(-since), 1, ago(since+time.Minute), domain.OverUnannounced
		e.LastPush, e.RepairAt = ago(since+time.Hour), ago(since)
		if edit != nil {
			edit(e)
		}
	})
}

func TestEachMoveHasItsCause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e     failover.Evidence
		mode  domain.FailoverMode
		cause domain.FailoverCause
	}{
		"nothing speaks against webhooks": {usual(nil), domain.FailoverUsual, ""},
		"a watch is lost":                 {usual(func(e *failover.Evidence) { e.Broken = "the address ran out" }), domain.FailoverBegun, domain.OverWatch},
		"silent against the rhythm": {usual(func(e *failover.Evidence) {
			e.Suspect, e.SuspectText, e.SuspectedAt = domain.OverSilent, "no webhook came", ago(time.Minute)
		}),
			domain.FailoverBegun, domain.OverSilent},
		"a webhook came after the suspicion": {usual(func(e *failover.Evidence) {
			e.Suspect, e.SuspectedAt, e.LastPush = domain.OverSilent, ago(time.Minute), ago(30*time.Second)
		}),
			domain.FailoverUsual, ""},
		"a poll found what nobody told": {usual(func(e *failover.Evidence) { e.FoundAt, e.Found = ago(time.Minute), 2 }), domain.FailoverBegun, domain.OverUnannounced},
		"a webhook may still come":      {usual(func(e *failover.Evidence) { e.FoundAt = ago(10 * time.Second) }), domain.FailoverUsual, ""},
		"one came just before":          {usual(func(e *failover.Evidence) { e.FoundAt, e.LastPush = ago(time.Minute), ago(70*time.Second) }), domain.FailoverUsual, ""},
		"one came after":                {usual(func(e *failover.Evidence) { e.FoundAt, e.LastPush = ago(time.Minute), ago(time.Second) }), domain.FailoverUsual, ""},
		"the system does not answer":    {usual(func(e *failover.Evidence) { e.Broken, e.Answers = "x", false }), domain.FailoverUsual, ""},
		"too many of its platform":      {usual(func(e *failover.Evidence) { e.Broken, e.Over = "x", 20 }), domain.FailoverUsual, ""},
		"ten may always":                {usual(func(e *failover.Evidence) { e.Broken, e.Over, e.Total = "x", 9, 12 }), domain.FailoverBegun, domain.OverWatch},
		"it came back a moment ago":     {usual(func(e *failover.Evidence) { e.Broken, e.Since, e.Flaps = "x", now.Add(-10*time.Second), 1 }), domain.FailoverUsual, ""},
		"it cannot be listed":           {usual(func(e *failover.Evidence) { e.Broken, e.CanPoll = "x", false }), domain.FailoverUsual, ""},
		"its system posts nothing":      {usual(func(e *failover.Evidence) { e.FoundAt, e.CanHear = ago(time.Hour), false }), domain.FailoverUsual, ""},

		"the first poll worked": {usual(func(e *failover.Evidence) { e.Mode, e.PolledAt = domain.FailoverBegun, ago(time.Second) }), domain.FailoverPolling, ""},
		"no poll worked yet":    {usual(func(e *failover.Evidence) { e.Mode = domain.FailoverBegun }), domain.FailoverBegun, ""},

		"webhooks came again":               {polled(10*time.Minute, func(e *failover.Evidence) { e.Pushes, e.LastPush = 3, ago(time.Second) }), domain.FailoverReturning, domain.BackHeardAgain},
		"too soon":                          {polled(time.Minute, func(e *failover.Evidence) { e.Pushes, e.LastPush = 9, ago(time.Second) }), domain.FailoverPolling, domain.OverUnannounced},
		"too soon after many times":         {polled(10*time.Minute, func(e *failover.Evidence) { e.Pushes, e.LastPush, e.Flaps = 9, ago(time.Second), 6 }), domain.FailoverPolling, domain.OverUnannounced},
		"a single webhook and a quiet time": {polled(11*time.Minute, func(e *failover.Evidence) { e.Pushes, e.LastPush = 1, ago(time.Minute) }), domain.FailoverReturning, domain.BackHeardAgain},
		"a single webhook, and then missed": {polled(time.Hour, func(e *failover.Evidence) { e.Pushes, e.LastPush, e.FoundAt = 1, ago(30*time.Minute), ago(time.Minute) }), domain.FailoverPolling, domain.OverUnannounced},
		"made anew, and quiet since":        {polled(time.Hour, func(e *failover.Evidence) { e.Watches, e.StandsAt = true, ago(15*time.Minute) }), domain.FailoverReturning, domain.BackRepaired},
		"made anew a moment ago":            {polled(time.Hour, func(e *failover.Evidence) { e.Watches, e.StandsAt = true, ago(time.Minute) }), domain.FailoverPolling, domain.OverUnannounced},
		"made anew, and missed since": {polled(time.Hour, func(e *failover.Evidence) {
			e.Watches, e.StandsAt, e.FoundAt = true, ago(30*time.Minute), ago(time.Minute)
		}), domain.FailoverPolling, domain.OverUnannounced},
		"a person holds it": {polled(time.Hour, func(e *failover.Evidence) { e.Pushes, e.LastPush, e.Held = 9, ago(time.Second), true }), domain.FailoverPolling, domain.OverUnannounced},
		"a drill lets everything lie": {polled(time.Hour, func(e *failover.Evidence) {
			e.Pushes, e.LastPush, e.MutedUntil = 9, ago(time.Second), ago(-time.Minute)
		}), domain.FailoverPolling, domain.OverUnannounced},
		"settings leave nothing to poll": {polled(time.Hour, func(e *failover.Evidence) { e.CanPoll = false }), domain.FailoverUsual, domain.OverByPerson},
		"the closing poll worked": {usual(func(e *failover.Evidence) {
			e.Mode, e.PolledAt, e.Cause = domain.FailoverReturning, ago(time.Second), domain.BackHeardAgain
		}), domain.FailoverUsual, domain.BackHeardAgain},
		"the closing poll is under way":       {usual(func(e *failover.Evidence) { e.Mode, e.Since = domain.FailoverReturning, now.Add(-time.Minute) }), domain.FailoverReturning, ""},
		"the closing poll does not come back": {usual(func(e *failover.Evidence) { e.Mode, e.Since = domain.FailoverReturning, now.Add(-11*time.Minute) }), domain.FailoverPolling, domain.BackRefused},
	} {
		got := failover.Decide(now, c.e, set)
		if got.Mode != c.mode || got.Cause != c.cause {
			t.Errorf("%s: %s because %q, want %s because %q", name, got.Mode, got.Cause, c.mode, c.cause)
		}
		if got.Moved(c.e.Mode) && got.Mode != domain.FailoverUsual && got.Reason == "" && c.e.Mode != domain.FailoverBegun {
			t.Errorf("%s: no reason is given", name)
		}
	}
}

func TestWhatLeavesWebhooksAndWhatComesBackIsReadAtOnce(t *testing.T) {
	t.Parallel()
	over := failover.Decide(now, usual(func(e *failover.Evidence) { e.Broken = "x" }), set)
	back := failover.Decide(now, polled(time.Hour, func(e *failover.Evidence) { e.Pushes, e.LastPush = 3, ago(0) }), set)
	if !over.Pull || !back.Pull {
		t.Errorf("over %+v, back %+v", over, back)
	}
}

func TestASubscriptionIsMadeAnewWithBackOffAndNotAgainWhileItServes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*failover.Evidence)
		want bool
	}{
		"none was made since":   {func(e *failover.Evidence) {}, true},
		"it waits":              {func(e *failover.Evidence) { e.RepairAt = ago(-time.Minute) }, false},
		"it stands":             {func(e *failover.Evidence) { e.StandsAt = ago(10 * time.Minute) }, false},
		"it stands for nothing": {func(e *failover.Evidence) { e.StandsAt, e.FoundAt = ago(10*time.Minute), ago(time.Minute) }, true},
		"webhooks come":         {func(e *failover.Evidence) { e.Pushes = 3 }, false},
		"a drill":               {func(e *failover.Evidence) { e.MutedUntil = ago(-time.Minute) }, false},
		"nothing to make":       {func(e *failover.Evidence) { e.Watches = false }, false},
	} {
		e := polled(time.Hour, func(e *failover.Evidence) { e.Watches = true; c.edit(e) })
		if got := failover.Decide(now, e, set).Repair; got != c.want {
			t.Errorf("%s: repair is %t", name, got)
		}
	}
	last := time.Duration(0)
	for n := range 20 {
		wait := set.RepairIn(n)
		if wait < last || wait > time.Hour {
			t.Errorf("repair %d waits %s after %s", n, wait, last)
		}
		last = wait
	}
}

func TestQuickPollsSpareSlowSystems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		usual     time.Duration
		perSecond float64
		want      time.Duration
	}{
		{5 * time.Minute, 0, 15 * time.Second}, {5 * time.Minute, 20, 15 * time.Second}, {0, 1.6, 37 * time.Second}, {10 * time.Second, 0.5, 10 * time.Second},
		{0, 0.01, 5 * time.Minute},
	} {
		if got := set.PollEvery(c.usual, c.perSecond); got != c.want {
			t.Errorf("usually every %s, %g a second: every %s, want %s", c.usual, c.perSecond, got, c.want)
		}
	}
}

// TestAnyHistoryKeepsTheOrderAndTheLeastTimes lets evidence come by chance for hours: modes follow in their order, polls last their
// least time, and no judgement is missing while polls stand in.
func TestAnyHistoryKeepsTheOrderAndTheLeastTimes(t *testing.T) {
	t.Parallel()
	next := map[domain.FailoverMode]domain.FailoverMode{domain.FailoverUsual: domain.FailoverBegun, domain.FailoverBegun: domain.FailoverPolling,
		domain.FailoverPolling: domain.FailoverReturning, domain.FailoverReturning: domain.FailoverUsual}
	rapid.Check(t, func(t *rapid.T) {
		e := usual(nil)
		at := now
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * time.Second)
			e.Pushes = rapid.IntRange(0, 5).Draw(t, "pushes")
			some := func(name string) *time.Time {
				if rapid.Bool().Draw(t, name) {
					v := at.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, name+" ago")) * time.Second)
					return &v
				}
				return nil
			}
			e.LastPush, e.FoundAt, e.PolledAt = some("push"), some("found"), nil
			if polled := some("polled"); polled != nil && !polled.Before(e.Since) {
				e.PolledAt = polled
			}
			d := failover.Decide(at, e, set)
			if !d.Moved(e.Mode) {
				if e.Mode != domain.FailoverUsual && d.Due.IsZero() {
					t.Fatalf("%s is never judged again", e.Mode)
				}
				continue
			}
			if d.Mode != next[e.Mode] && !(e.Mode == domain.FailoverReturning && d.Mode == domain.FailoverPolling) {
				t.Fatalf("%s became %s", e.Mode, d.Mode)
			}
			if e.Mode == domain.FailoverPolling && at.Sub(e.Since) < set.Stay {
				t.Fatalf("polls stood in for %s only", at.Sub(e.Since))
			}
			if d.Mode == domain.FailoverBegun {
				e.Flaps, e.FlappedAt = failover.Flaps(at, e.Flaps, e.FlappedAt), &at
			}
			e.Mode, e.Cause, e.Reason, e.Since = d.Mode, d.Cause, d.Reason, at
		}
	})
}

func TestADrillGoesItsWay(t *testing.T) {
	t.Parallel()
	drill := func(state domain.DrillState, mode domain.FailoverMode, edit func(*failover.DrillEvidence)) failover.DrillEvidence {
		e := failover.DrillEvidence{Active: true, Failover: domain.Failover{Mode: mode}}
		e.State, e.BeganAt, e.WatchUntil, e.MutedUntil = state, now.Add(-2*time.Minute), now.Add(3*time.Minute), now.Add(13*time.Minute)
		if edit != nil {
			edit(&e)
		}
		return e
	}
	for name, c := range map[string]struct {
		e    failover.DrillEvidence
		want func(failover.DrillStep) bool
	}{
		"it asks now and then": {drill(domain.DrillWatching, domain.FailoverUsual, nil), func(s failover.DrillStep) bool {
			return s.State == domain.DrillWatching && s.Ask && !s.Over && !s.Due.IsZero()
		}},
		"it asked a moment ago":  {drill(domain.DrillWatching, domain.FailoverUsual, func(e *failover.DrillEvidence) { e.AskedAt = ago(time.Second) }), func(s failover.DrillStep) bool { return !s.Ask }},
		"it was noticed":         {drill(domain.DrillWatching, domain.FailoverBegun, nil), func(s failover.DrillStep) bool { return s.State == domain.DrillPolling && !s.Unmute }},
		"nothing gave it away":   {drill(domain.DrillWatching, domain.FailoverUsual, func(e *failover.DrillEvidence) { e.WatchUntil = now }), func(s failover.DrillStep) bool { return s.Over }},
		"it cannot fail over":    {drill(domain.DrillWatching, domain.FailoverUsual, func(e *failover.DrillEvidence) { e.WatchUntil, e.MutedUntil = now, now }), func(s failover.DrillStep) bool { return s.State == domain.DrillFailed && s.Unmute }},
		"one poll is not enough": {drill(domain.DrillPolling, domain.FailoverPolling, func(e *failover.DrillEvidence) { e.Polls = 1 }), func(s failover.DrillStep) bool { return s.State == domain.DrillPolling }},
		"it goes back":           {drill(domain.DrillPolling, domain.FailoverPolling, func(e *failover.DrillEvidence) { e.Polls = 2 }), func(s failover.DrillStep) bool { return s.State == domain.DrillReturning && s.Unmute && s.Return }},
		"polls do not work":      {drill(domain.DrillPolling, domain.FailoverBegun, func(e *failover.DrillEvidence) { e.MutedUntil = now }), func(s failover.DrillStep) bool { return s.State == domain.DrillFailed && s.Unmute && s.Return }},
		"it is back":             {drill(domain.DrillReturning, domain.FailoverUsual, func(e *failover.DrillEvidence) { e.UnmutedAt = ago(time.Minute) }), func(s failover.DrillStep) bool { return s.State == domain.DrillDone && s.Report }},
		"something still lies":   {drill(domain.DrillReturning, domain.FailoverUsual, func(e *failover.DrillEvidence) { e.UnmutedAt, e.Left = ago(time.Minute), 1 }), func(s failover.DrillStep) bool { return s.State == domain.DrillReturning }},
		"it does not come back":  {drill(domain.DrillReturning, domain.FailoverPolling, func(e *failover.DrillEvidence) { e.UnmutedAt = ago(time.Hour) }), func(s failover.DrillStep) bool { return s.State == domain.DrillFailed && s.Report }},
		"it was paused":          {drill(domain.DrillPolling, domain.FailoverPolling, func(e *failover.DrillEvidence) { e.Active = false }), func(s failover.DrillStep) bool { return s.State == domain.DrillCancelled && s.Unmute }},
	} {
		if got := failover.DecideDrill(now, c.e, set); !c.want(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
