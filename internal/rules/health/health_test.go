package health_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
)

var now = time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)

const every = 30 * time.Second

func ago(d time.Duration) *time.Time {
	at := now.Add(-d)
	return &at
}

// tracked is the track of outcomes, one every interval, the last one of a moment ago.
func tracked(outcomes ...domain.ProbeOutcome) (t health.Track) {
	for n, o := range outcomes {
		t = t.Note(domain.ProbeResult{At: now.Add(-time.Duration(len(outcomes)-n) * every), Outcome: o, Took: 100 * time.Millisecond, Text: "timed out"})
	}
	return t
}

func times(n int, o domain.ProbeOutcome) []domain.ProbeOutcome {
	return slices.Repeat([]domain.ProbeOutcome{o}, n)
}

func slowly(n int) (t health.Track) {
	for k := range n {
		t = t.Note(domain.ProbeResult{At: now.Add(-time.Duration(n-k) * every), Outcome: domain.ProbeOK, Took: 3 * time.Second})
	}
	return t
}

// quickly fails n times in a row, five seconds apart, as of a connection that is asked often.
func quickly(n int) (t health.Track) {
	for k := range n {
		t = t.Note(domain.ProbeResult{At: now.Add(-time.Duration(n-k) * 5 * time.Second), Outcome: domain.ProbeFailed, Text: "timed out"})
	}
	return t
}

func TestTheTableIsWholeAndTheWishIsAlwaysReached(t *testing.T) {
	t.Parallel()
	for _, from := range domain.HealthStates() {
		moves := health.Moves(from)
		if len(moves) == 0 || slices.Contains(moves, from) {
			t.Errorf("moves from %s are %v", from, moves)
		}
		for _, to := range moves {
			if !to.Valid() || !health.Allowed(from, to) {
				t.Errorf("%s to %s", from, to)
			}
		}
		for _, wish := range []domain.HealthState{domain.HealthPaused, domain.HealthNeedsReconnect, domain.HealthMaintenance} {
			if from != wish && !health.Allowed(from, wish) {
				t.Errorf("%s does not lead to %s", from, wish)
			}
		}
		if !from.Probed() && health.Allowed(from, domain.HealthUp) {
			t.Errorf("%s leads to up without anything observed", from)
		}
	}
	if health.Allowed("better", domain.HealthUp) || health.Allowed(domain.HealthUp, domain.HealthPolling) {
		t.Error("the table allows too much")
	}
}

func TestEachVerdictHasItsCause(t *testing.T) {
	t.Parallel()
	ok, failed := domain.ProbeOK, domain.ProbeFailed
	slow := domain.HealthReason{Code: domain.HealthSlow, Text: "eight of ten were slow"}
	active := func(track health.Track) health.Evidence {
		return health.Evidence{Wish: domain.IntegrationActive, Probed: true, Every: every, Track: track, Since: now.Add(-time.Hour)}
	}
	with := func(e health.Evidence, edit func(*health.Evidence)) health.Evidence {
		edit(&e)
		return e
	}
	untold := func(polls, late bool) health.Evidence {
		return with(active(tracked(ok, ok)), func(e *health.Evidence) {
			e.Passive = health.Passive{Untold: "the watch ran out", Polls: polls, Late: late}
		})
	}
	together := func(track health.Track) health.Evidence {
		return with(active(track), func(e *health.Evidence) { e.Together = true })
	}
	traffic := func(p health.Passive) health.Evidence {
		return health.Evidence{Wish: domain.IntegrationActive, Every: every, Passive: p}
	}
	for _, c := range []struct {
		name string
		from domain.HealthState
		e    health.Evidence
		want domain.HealthState
		code domain.HealthCode
	}{
		{"first answer", domain.HealthUnknown, active(tracked(ok)), domain.HealthUp, domain.HealthAnswers},
		{"two failures are not enough", domain.HealthUp, active(tracked(ok, failed, failed)), domain.HealthUp, domain.HealthAnswers},
		{"three failures", domain.HealthUp, active(tracked(ok, failed, failed, failed)), domain.HealthDown, domain.HealthNoAnswer},
		{"two failures while most of the platform fail", domain.HealthUp, together(tracked(ok, failed, failed)), domain.HealthDown, domain.HealthNoAnswer},
		{"one failure while most of the platform fail", domain.HealthUp, together(tracked(ok, failed)), domain.HealthUp, domain.HealthAnswers},
		{"an answer while most of the platform fail", domain.HealthUp, together(tracked(failed, failed, ok)), domain.HealthUp, domain.HealthAnswers},
		{"two failures within seconds while most of the platform fail", domain.HealthUp, together(quickly(2)), domain.HealthUp, domain.HealthAnswers},
		{"three failures within seconds", domain.HealthUp, together(quickly(3)), domain.HealthDown, domain.HealthNoAnswer},
		{"down stays down when the others of the platform answer", domain.HealthDown, active(tracked(ok, failed, failed)), domain.HealthDown, domain.HealthNoAnswer},
		{"what somebody else counted before is not known to last", domain.HealthUp, together(health.Resume(2, now)), domain.HealthUp, domain.HealthAnswers},
		{"one answer is not enough", domain.HealthDown, active(tracked(failed, failed, failed, ok)), domain.HealthDown, domain.HealthNoAnswer},
		{"two answers", domain.HealthDown, active(tracked(failed, failed, failed, ok, ok)), domain.HealthUp, domain.HealthAnswers},
		{"an old outage does not degrade", domain.HealthUp, active(tracked(append(times(9, failed), ok, ok)...)), domain.HealthUp, domain.HealthAnswers},
		{"never asked", domain.HealthUnknown, with(active(health.Track{}), func(e *health.Evidence) { e.Since = now }), domain.HealthUnknown, domain.HealthNew},
		{"unknown and failing", domain.HealthUnknown, active(tracked(failed, failed)), domain.HealthUnknown, domain.HealthNothingFresh},
		{"unknown and refused", domain.HealthUnknown, active(tracked(domain.ProbeRefused)), domain.HealthUnknown, domain.HealthNothingFresh},
		{"unknown and down", domain.HealthUnknown, active(tracked(failed, failed, failed)), domain.HealthDown, domain.HealthNoAnswer},
		{"asked too often is an answer", domain.HealthUp, active(tracked(failed, failed, domain.ProbeLimited)), domain.HealthUp, domain.HealthAnswers},
		{"late failures count for nothing", domain.HealthUp, active(tracked(append([]domain.ProbeOutcome{ok}, times(2, domain.ProbeLate)...)...)), domain.HealthUp, domain.HealthAnswers},
		{"nothing fresh", domain.HealthUp, active(tracked(append([]domain.ProbeOutcome{ok}, times(5, domain.ProbeLate)...)...)), domain.HealthUnknown, domain.HealthNothingFresh},
		{"our outage", domain.HealthUp, with(active(tracked(append([]domain.ProbeOutcome{ok}, times(5, domain.ProbeBlind)...)...)), func(e *health.Evidence) { e.Blind = true }), domain.HealthUnknown, domain.HealthOurOutage},
		{"three of ten fail", domain.HealthUp, active(tracked(failed, ok, failed, ok, ok, failed, ok, ok, ok, ok)), domain.HealthDegraded, domain.HealthSomeFail},
		{"two of ten keep it degraded", domain.HealthDegraded, active(tracked(failed, ok, failed, ok, ok, ok, ok, ok, ok, ok)), domain.HealthDegraded, domain.HealthSomeFail},
		{"two of ten do not degrade", domain.HealthUp, active(tracked(failed, ok, failed, ok, ok, ok, ok, ok, ok, ok)), domain.HealthUp, domain.HealthAnswers},
		{"one of ten lets it go", domain.HealthDegraded, active(tracked(failed, ok, ok, ok, ok, ok, ok, ok, ok, ok)), domain.HealthUp, domain.HealthAnswers},
		{"slow", domain.HealthUp, active(slowly(8)), domain.HealthDegraded, domain.HealthSlow},
		{"seven slow ones are not enough", domain.HealthUp, active(slowly(7)), domain.HealthUp, domain.HealthAnswers},
		{"seven slow ones keep it degraded", domain.HealthDegraded, active(slowly(7)), domain.HealthDegraded, domain.HealthSlow},
		{"nothing fresh of one that wants to be left alone", domain.HealthUp, with(active(tracked(append([]domain.ProbeOutcome{domain.ProbeLimited}, times(5, domain.ProbeLate)...)...)),
			func(e *health.Evidence) { e.RestUntil = now.Add(time.Minute) }), domain.HealthUp, domain.HealthAnswers},
		{"nor when that was over for long", domain.HealthUp, with(active(tracked(append([]domain.ProbeOutcome{domain.ProbeLimited}, times(9, domain.ProbeLate)...)...)),
			func(e *health.Evidence) { e.RestUntil = now.Add(-time.Hour) }), domain.HealthUnknown, domain.HealthNothingFresh},
		{"slow, of which another process knows", domain.HealthDegraded, with(active(tracked(times(9, ok)...)), func(e *health.Evidence) { e.Reason = slow }), domain.HealthDegraded, domain.HealthSlow},
		{"and has not been asked by this one yet", domain.HealthDegraded, with(active(health.Track{}), func(e *health.Evidence) { e.Since, e.Reason = now, slow }), domain.HealthDegraded, domain.HealthSlow},
		{"until it has seen ten itself", domain.HealthDegraded, with(active(tracked(times(10, ok)...)), func(e *health.Evidence) { e.Reason = slow }), domain.HealthUp, domain.HealthAnswers},
		{"a token that was renewed is not waited for", domain.HealthDegraded, with(active(tracked(ok, ok)), func(e *health.Evidence) { e.Reason = domain.HealthReason{Code: domain.HealthTokenExpired, Text: "x"} }),
			domain.HealthUp, domain.HealthAnswers},
		{"down and slow is up first", domain.HealthDown, active(slowly(8)), domain.HealthUp, domain.HealthAnswers},
		{"paused", domain.HealthDown, with(active(tracked(failed)), func(e *health.Evidence) { e.Wish = domain.IntegrationPaused }), domain.HealthPaused, domain.HealthByPerson},
		{"paused beats maintenance", domain.HealthUp, with(active(tracked(ok)), func(e *health.Evidence) { e.Wish, e.Maintenance = domain.IntegrationPaused, true }), domain.HealthPaused, domain.HealthByPerson},
		{"maintenance", domain.HealthDown, with(active(tracked(failed)), func(e *health.Evidence) { e.Maintenance = true }), domain.HealthMaintenance, domain.HealthInMaintenance},
		{"maintenance over", domain.HealthMaintenance, active(tracked(ok, ok)), domain.HealthUnknown, domain.HealthMaintenanceEnd},
		{"resumed", domain.HealthPaused, active(tracked(ok, ok)), domain.HealthUnknown, domain.HealthByPerson},
		{"reconnected", domain.HealthNeedsReconnect, active(tracked(ok, ok)), domain.HealthUnknown, domain.HealthReconnected},
		{"being connected", domain.HealthUnknown, with(active(tracked(ok)), func(e *health.Evidence) { e.Wish = domain.IntegrationConnecting }), domain.HealthUnknown, domain.HealthNew},
		{"refused", domain.HealthUp, with(active(tracked(ok)), func(e *health.Evidence) { e.Wish = domain.IntegrationNeedsReconnect }), domain.HealthNeedsReconnect, domain.HealthRefused},
		{"not told any more", domain.HealthUp, untold(true, false), domain.HealthFailingOver, domain.HealthNotTold},
		{"polls stand in", domain.HealthFailingOver, untold(true, false), domain.HealthPolling, domain.HealthNotTold},
		{"polls do not work yet", domain.HealthUp, untold(true, true), domain.HealthFailingOver, domain.HealthNotTold},
		{"not told and not polled", domain.HealthUp, untold(false, false), domain.HealthDegraded, domain.HealthNotTold},
		{"told again", domain.HealthPolling, active(tracked(ok, ok)), domain.HealthUp, domain.HealthAnswers},
		{"answers but traffic fails", domain.HealthUp, with(active(tracked(ok, ok)), func(e *health.Evidence) { e.Passive.TrafficFailures = 3 }), domain.HealthDegraded, domain.HealthTrafficFails},
		{"token", domain.HealthUp, with(active(tracked(ok, ok)), func(e *health.Evidence) { e.Passive.TokenExpired = true }), domain.HealthDegraded, domain.HealthTokenExpired},
		{"late", domain.HealthUp, with(active(tracked(ok, ok)), func(e *health.Evidence) { e.Passive.Late = true }), domain.HealthDegraded, domain.HealthLate},
		{"no probe, traffic works", domain.HealthUnknown, traffic(health.Passive{HeardAt: ago(time.Hour)}), domain.HealthUp, domain.HealthTrafficWorks},
		{"no probe, nothing heard", domain.HealthUp, traffic(health.Passive{HeardAt: ago(25 * time.Hour)}), domain.HealthUnknown, domain.HealthNothingFresh},
		{"no probe, polled seldom", domain.HealthUp, traffic(health.Passive{HeardAt: ago(25 * time.Hour), PollEvery: 12 * time.Hour}), domain.HealthUp, domain.HealthTrafficWorks},
		{"no probe, traffic fails", domain.HealthUp, traffic(health.Passive{HeardAt: ago(time.Hour), TrafficFailures: 3}), domain.HealthDown, domain.HealthTrafficFails},
		{"no probe, it works again", domain.HealthDown, traffic(health.Passive{HeardAt: ago(time.Minute)}), domain.HealthUp, domain.HealthTrafficWorks},
		{"a word that is no state", "better", active(tracked(ok)), domain.HealthUp, domain.HealthAnswers},
	} {
		got := health.Decide(now, c.from, c.e)
		if got.State != c.want || got.Reason.Code != c.code || got.Reason.Text == "" {
			t.Errorf("%s: %s is %s (%s: %s), want %s (%s)", c.name, c.from, got.State, got.Reason.Code, got.Reason.Text, c.want, c.code)
		}
	}
}

// evidence draws anything that could be known.
func evidence(t *rapid.T, track health.Track) health.Evidence {
	e := health.Evidence{Wish: rapid.SampledFrom([]domain.IntegrationState{domain.IntegrationActive, domain.IntegrationActive, domain.IntegrationActive,
		domain.IntegrationPaused, domain.IntegrationNeedsReconnect}).Draw(t, "wish"), Maintenance: rapid.IntRange(0, 9).Draw(t, "maintenance") == 0,
		Probed: rapid.IntRange(0, 4).Draw(t, "probed") > 0, Every: every, Track: track, Blind: rapid.Bool().Draw(t, "blind"), Together: rapid.Bool().Draw(t, "together"),
		Passive: health.Passive{TrafficFailures: rapid.IntRange(0, 4).Draw(t, "traffic"), Polls: rapid.Bool().Draw(t, "polls"),
			Late: rapid.Bool().Draw(t, "late"), TokenExpired: rapid.Bool().Draw(t, "token")}}
	if rapid.Bool().Draw(t, "untold") {
		e.Passive.Untold = "no webhook came"
	}
	if rapid.Bool().Draw(t, "heard") {
		e.Passive.HeardAt = ago(time.Minute)
	}
	return e
}

func TestNoHistoryLeavesTheTableAndEveryMoveHasItsReason(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state, at := domain.HealthUnknown, now
		var track health.Track
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "wait")) * time.Second)
			if rapid.Bool().Draw(t, "probed") {
				track = track.Note(domain.ProbeResult{At: at, Outcome: domain.ProbeOutcome(rapid.IntRange(1, 6).Draw(t, "outcome")),
					Took: time.Duration(rapid.IntRange(1, 5000).Draw(t, "took")) * time.Millisecond})
			}
			v := health.Decide(at, state, evidence(t, track))
			if v.State != state && !health.Allowed(state, v.State) {
				t.Fatalf("%s became %s, which the table does not allow", state, v.State)
			}
			if v.Reason.Code == "" || v.Reason.Text == "" {
				t.Fatalf("%s became %s without a reason", state, v.State)
			}
			state = v.State
		}
	})
}

func TestItTakesSeveralResultsToGoDownAndToComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state, at := domain.HealthUp, now
		track := tracked(domain.ProbeOK)
		since := 2 // results since it last went down or came back
		for range rapid.IntRange(1, 200).Draw(t, "results") {
			at = at.Add(every)
			outcome := rapid.SampledFrom([]domain.ProbeOutcome{domain.ProbeOK, domain.ProbeFailed}).Draw(t, "outcome")
			track = track.Note(domain.ProbeResult{At: at, Outcome: outcome, Took: time.Millisecond})
			since++
			v := health.Decide(at, state, health.Evidence{Wish: domain.IntegrationActive, Probed: true, Every: every, Track: track, Since: now})
			switch {
			case v.State == state:
				continue
			case v.State == domain.HealthDown && track.Failures < health.DownAfter, state == domain.HealthDown && track.Successes < health.UpAfter:
				t.Fatalf("%s became %s after %d failures and %d answers", state, v.State, track.Failures, track.Successes)
			case (v.State == domain.HealthDown || state == domain.HealthDown) && since < 2:
				t.Fatalf("%s became %s after one result", state, v.State)
			}
			if v.State == domain.HealthDown || state == domain.HealthDown {
				since = 0
			}
			state = v.State
		}
	})
}

func TestOurOutageIsNotTheirs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		platforms map[string]health.Tally
		want      bool
	}{
		"one platform is down":             {map[string]health.Tally{"a": {50, 50}, "b": {50, 0}, "c": {50, 1}}, false},
		"most are":                         {map[string]health.Tally{"a": {50, 50}, "b": {50, 40}, "c": {50, 1}}, true},
		"half of them":                     {map[string]health.Tally{"a": {50, 50}, "b": {50, 40}, "c": {50, 1}, "d": {9, 0}}, false},
		"two platforms prove nothing":      {map[string]health.Tally{"a": {50, 50}, "b": {50, 50}}, false},
		"few probes do not speak":          {map[string]health.Tally{"a": {50, 50}, "b": {50, 50}, "c": {2, 2}}, false},
		"half of the probes is no failing": {map[string]health.Tally{"a": {4, 2}, "b": {4, 2}, "c": {4, 2}}, false},
		"nothing asked":                    {nil, false},
	} {
		if got := health.Doubt(c.platforms); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAWishThatTheProberHasNotSeenIsShownAtOnce(t *testing.T) {
	t.Parallel()
	up := domain.Health{State: domain.HealthUp, Reason: domain.HealthReason{Code: domain.HealthAnswers, Text: "it answers"}, Since: now.Add(-time.Hour)}
	if got := health.Shown(up, domain.IntegrationActive, "", now); got.State != domain.HealthUp || !got.Since.Equal(up.Since) {
		t.Errorf("%+v", got)
	}
	got := health.Shown(up, domain.IntegrationPaused, "paused by ann", now)
	if got.State != domain.HealthPaused || got.Reason.Text != "paused by ann" || !got.Since.Equal(now) {
		t.Errorf("%+v", got)
	}
	if got := health.Shown(up, domain.IntegrationConnecting, "", now); got.State != domain.HealthUnknown || got.Reason.Code != domain.HealthNew {
		t.Errorf("%+v", got)
	}
	paused := domain.Health{State: domain.HealthPaused, Since: now.Add(-time.Hour)}
	if got := health.Shown(paused, domain.IntegrationActive, "", now); got.State != domain.HealthUnknown || got.Reason.Code != domain.HealthByPerson {
		t.Errorf("%+v", got)
	}
}

// TestNoEvidenceLeavesTheTable begins in every state with anything that could be known, and goes on until it rests: each move is
// in the table, and no state leads round in a circle while nothing changes.
func TestNoEvidenceLeavesTheTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.SampledFrom(domain.HealthStates()).Draw(t, "state")
		var outcomes []domain.ProbeOutcome
		for range rapid.IntRange(0, 12).Draw(t, "results") {
			outcomes = append(outcomes, domain.ProbeOutcome(rapid.IntRange(1, 6).Draw(t, "outcome")))
		}
		e := evidence(t, tracked(outcomes...))
		var way []domain.HealthState
		for range len(domain.HealthStates()) {
			v := health.Decide(now, state, e)
			if v.Reason.Code == "" || v.Reason.Text == "" {
				t.Fatalf("%s became %s without a reason", state, v.State)
			}
			if v.State == state {
				return
			}
			if !health.Allowed(state, v.State) {
				t.Fatalf("%s became %s, which the table does not allow", state, v.State)
			}
			way, state = append(way, state), v.State
		}
		t.Fatalf("it never rests: %v, %s", way, state)
	})
}
