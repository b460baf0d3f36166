package freshness_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

var now = time.Date(2027, 6, 5, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *time.Time {
	t := now.Add(-d)
	return &t
}

func TestLagIsMeasuredFromTheBestThatIsKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seen freshness.Seen
		want time.Duration
		ok   bool
	}{
		"time of the change":               {freshness.Seen{ChangedAt: ago(9 * time.Second), NoticedAt: ago(5 * time.Second), ReadBefore: ago(time.Hour)}, 9 * time.Second, true},
		"notice":                           {freshness.Seen{NoticedAt: ago(5 * time.Second), ReadBefore: ago(time.Hour)}, 5 * time.Second, true},
		"since the last reading":           {freshness.Seen{ReadBefore: ago(time.Hour)}, time.Hour, true},
		"nothing known":                    {freshness.Seen{}, 0, false},
		"their clock runs ahead":           {freshness.Seen{ChangedAt: ago(-time.Minute)}, 0, true},
		"first listing":                    {freshness.Seen{ChangedAt: ago(time.Hour), First: true}, 0, false},
		"first listing, notice":            {freshness.Seen{NoticedAt: ago(time.Hour), First: true}, 0, false},
		"full listing, old entry":          {freshness.Seen{ChangedAt: ago(2 * time.Hour), ReadBefore: ago(time.Hour), First: true}, 0, false},
		"full listing, changed since then": {freshness.Seen{ChangedAt: ago(time.Minute), ReadBefore: ago(time.Hour), First: true}, time.Minute, true},
	} {
		if got, ok := freshness.Lag(now, c.seen); got != c.want || ok != c.ok {
			t.Errorf("%s: %s, %t; want %s, %t", name, got, ok, c.want, c.ok)
		}
	}
}

func polled(every time.Duration, read *time.Time) domain.Integration {
	return domain.Integration{State: domain.IntegrationActive, Direction: domain.DirectionBidirectional, PollEvery: every, LastSyncAt: read}
}

func TestLateIsSaidWithItsReasonAndOnlyOfWhatRuns(t *testing.T) {
	t.Parallel()
	watch := []domain.Watch{{State: domain.WatchActive}}
	slow := []time.Duration{time.Second, 10 * time.Minute}
	paused := polled(5*time.Minute, ago(time.Hour))
	paused.State = domain.IntegrationPaused
	export := polled(5*time.Minute, ago(time.Hour))
	export.Direction = domain.DirectionExport
	for name, c := range map[string]struct {
		i      domain.Integration
		m      freshness.Measured
		target time.Duration
		late   bool
	}{
		"polled in time":                 {polled(5*time.Minute, ago(6*time.Minute)), freshness.Measured{}, 6 * time.Minute, false},
		"poll missed":                    {polled(5*time.Minute, ago(6*time.Minute+time.Second)), freshness.Measured{}, 6 * time.Minute, true},
		"poll missed beside a watch":     {polled(5*time.Minute, ago(7*time.Minute)), freshness.Measured{Watches: watch}, time.Minute, true},
		"last change slow":               {polled(5*time.Minute, ago(time.Minute)), freshness.Measured{Lags: slow}, 6 * time.Minute, true},
		"an earlier change slow":         {polled(5*time.Minute, ago(time.Minute)), freshness.Measured{Lags: []time.Duration{10 * time.Minute, 1}}, 6 * time.Minute, false},
		"notice waits":                   {polled(time.Hour, ago(10*time.Minute)), freshness.Measured{Watches: watch, Wanted: ago(61 * time.Second)}, time.Minute, true},
		"notice of a moment ago":         {polled(time.Hour, ago(10*time.Minute)), freshness.Measured{Watches: watch, Wanted: ago(time.Second)}, time.Minute, false},
		"a pending watch is none":        {polled(time.Hour, ago(time.Minute)), freshness.Measured{Watches: []domain.Watch{{State: domain.WatchPending}}}, 61 * time.Minute, false},
		"read only when asked":           {polled(0, ago(1000*time.Hour)), freshness.Measured{Lags: slow}, 0, false},
		"paused":                         {paused, freshness.Measured{Lags: slow, Wanted: ago(time.Hour)}, 6 * time.Minute, false},
		"written only":                   {export, freshness.Measured{Lags: slow}, 0, false},
		"never read":                     {polled(5*time.Minute, nil), freshness.Measured{}, 6 * time.Minute, false},
		"watched and never polled again": {polled(0, ago(100*time.Hour)), freshness.Measured{Watches: watch}, time.Minute, false},
	} {
		got := freshness.Of(now, c.i, c.m)
		if got.Target != c.target || got.TargetMS != c.target.Milliseconds() || got.Late != c.late || got.Late != (got.LateReason != "") {
			t.Errorf("%s: target %s, late %t (%s)", name, got.Target, got.Late, got.LateReason)
		}
	}
}

func TestFiguresAreOfTheLastChanges(t *testing.T) {
	t.Parallel()
	var lags []time.Duration
	for n := range 100 {
		lags = append(lags, time.Duration(100-n)*time.Second)
	}
	got := freshness.Of(now, polled(time.Hour, nil), freshness.Measured{Lags: lags, Changes: 1000, Late: 3})
	want := [3]int64{1000, 50_000, 95_000}
	if d := cmp.Diff(want, [3]int64{*got.LastMS, *got.P50MS, *got.P95MS}); d != "" {
		t.Error(d)
	}
	if got.Samples != 100 || got.Changes != 1000 || got.LateCount != 3 {
		t.Errorf("figures are %+v", got)
	}
	if one := freshness.Of(now, polled(0, nil), freshness.Measured{Lags: lags[:1]}); *one.P50MS != 100_000 || *one.P95MS != 100_000 {
		t.Errorf("figures of one change are %+v", one)
	}
}

func TestProgressIsToldOnlyWhereItIsKnown(t *testing.T) {
	t.Parallel()
	eta := now.Add(30 * time.Second)
	for name, c := range map[string]struct {
		took           time.Duration
		seen, expected int
		want           domain.Progress
	}{
		"a quarter":            {10 * time.Second, 250, 1000, domain.Progress{Expected: 1000, PerSecond: 25, Percent: 25, ETA: &eta}},
		"total not known":      {10 * time.Second, 250, 0, domain.Progress{PerSecond: 25}},
		"nothing read yet":     {10 * time.Second, 0, 1000, domain.Progress{Expected: 1000}},
		"no time passed":       {0, 250, 1000, domain.Progress{Expected: 1000}},
		"more than was said":   {10 * time.Second, 1250, 1000, domain.Progress{Expected: 1000, PerSecond: 125, Percent: 99, ETA: &now}},
		"their clock is wrong": {-time.Second, 5, 10, domain.Progress{Expected: 10}},
	} {
		if d := cmp.Diff(c.want, freshness.Progress(now.Add(-c.took), now, c.seen, c.expected)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestNoListingIsReadInThePastOrBeyondItsEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		took := time.Duration(rapid.Int64Range(1, int64(100*time.Hour)).Draw(t, "took"))
		p := freshness.Progress(now.Add(-took), now, rapid.IntRange(0, 1_000_000).Draw(t, "seen"), rapid.IntRange(0, 1_000_000).Draw(t, "expected"))
		if p.Percent < 0 || p.Percent > 99 || p.ETA != nil && p.ETA.Before(now) {
			t.Fatalf("progress is %+v", p)
		}
	})
}
