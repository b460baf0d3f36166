package health_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
)

func outcomes(words string) (out []health.Outcome) {
	for n, w := range words {
		out = append(out, health.Outcome{OK: w == '+', At: now.Add(-time.Duration(n+1) * time.Minute)})
	}
	return out
}

// nightly is a rhythm of webhooks by day for some days: the longest silence is a night of 14 hours.
func nightly(days int, last time.Time) (r health.Rhythm) {
	first := last.Add(-time.Duration(days) * 24 * time.Hour)
	for d := range days + 1 {
		for h := range 11 {
			if at := first.Add(time.Duration(d*24+h-10) * time.Hour); !at.After(last) {
				r = r.Note(at)
			}
		}
	}
	return r
}

func TestWhatSpeaksBesideProbesIsToldInWords(t *testing.T) {
	t.Parallel()
	made := now.Add(-100 * 24 * time.Hour)
	standing := []domain.Watch{{State: domain.WatchActive, ExpiresAt: ago(-time.Hour)}}
	for _, c := range []struct {
		name string
		look health.Look
		want func(health.Passive) bool
		bad  domain.HealthSignalKind // "" = every signal is good
	}{
		{"nothing known", health.Look{CreatedAt: made}, func(p health.Passive) bool { return p.HeardAt == nil && p.Untold == "" }, ""},
		{"traffic failed three times", health.Look{Outcomes: outcomes("---+")}, func(p health.Passive) bool { return p.TrafficFailures == 3 && p.HeardAt != nil }, domain.SignalTraffic},
		{"it failed twice", health.Look{Outcomes: outcomes("--+-")}, func(p health.Passive) bool { return p.TrafficFailures == 2 }, ""},
		{"it works again", health.Look{Outcomes: outcomes("+---")}, func(p health.Passive) bool { return p.TrafficFailures == 0 }, ""},
		{"watch stands", health.Look{Watches: standing}, func(p health.Passive) bool { return p.Untold == "" }, ""},
		{"watch ran out", health.Look{Watches: []domain.Watch{{State: domain.WatchActive, ExpiresAt: ago(time.Hour)}}}, func(p health.Passive) bool { return p.Untold != "" }, domain.SignalWatch},
		{"watch ran out, another stands", health.Look{Watches: append([]domain.Watch{{State: domain.WatchActive, ExpiresAt: ago(time.Hour)}}, standing...)}, func(p health.Passive) bool { return p.Untold == "" }, ""},
		{"watch is not taken", health.Look{Watches: []domain.Watch{{State: domain.WatchPending, MadeAt: now.Add(-time.Hour)}}}, func(p health.Passive) bool { return p.Untold != "" }, domain.SignalWatch},
		{"watch was just asked for", health.Look{Watches: []domain.Watch{{State: domain.WatchPending, MadeAt: now}}}, func(p health.Passive) bool { return p.Untold == "" }, ""},
		{"silent by night", health.Look{Rhythm: nightly(14, now.Add(-20*time.Hour))}, func(p health.Passive) bool { return p.Untold == "" }, ""},
		{"silent for two days", health.Look{Rhythm: nightly(14, now.Add(-48*time.Hour))}, func(p health.Passive) bool { return strings.Contains(p.Untold, "48h") }, domain.SignalWebhooks},
		{"rhythm not known", health.Look{Rhythm: nightly(3, now.Add(-48*time.Hour))}, func(p health.Passive) bool { return p.Untold == "" }, ""},
		{"token of an hour ago", health.Look{TokenExpiresAt: ago(30 * time.Minute)}, func(p health.Passive) bool { return !p.TokenExpired }, ""},
		{"token of yesterday", health.Look{TokenExpiresAt: ago(24 * time.Hour)}, func(p health.Passive) bool { return p.TokenExpired }, domain.SignalToken},
		{"polled in time", health.Look{Imports: true, PollEvery: 5 * time.Minute, LastSyncAt: ago(6 * time.Minute)}, func(p health.Passive) bool { return p.Polls && !p.Late }, ""},
		{"polled too late", health.Look{Imports: true, PollEvery: 5 * time.Minute, LastSyncAt: ago(13 * time.Minute)}, func(p health.Passive) bool { return p.Late }, domain.SignalSync},
		{"never read, made long ago", health.Look{Imports: true, PollEvery: 5 * time.Minute, CreatedAt: made}, func(p health.Passive) bool { return p.Late }, domain.SignalSync},
		{"only written to", health.Look{PollEvery: 5 * time.Minute, LastSyncAt: ago(time.Hour)}, func(p health.Passive) bool { return !p.Polls && !p.Late }, ""},
	} {
		p, signals := health.Passively(now, c.look)
		if !c.want(p) {
			t.Errorf("%s: %+v", c.name, p)
		}
		for _, s := range signals {
			if s.OK == (s.Kind == c.bad) || s.Text == "" {
				t.Errorf("%s: signal %s is good: %t (%s)", c.name, s.Kind, s.OK, s.Text)
			}
		}
	}
}

func TestNoSilenceIsUnusualThatWasThereLately(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r health.Rhythm
		at := now
		var longest time.Duration
		for range rapid.IntRange(1, 100).Draw(t, "webhooks") {
			gap := time.Duration(rapid.IntRange(0, 4*24*3600).Draw(t, "gap")) * time.Second
			at = at.Add(gap)
			r = r.Note(at)
			if r.Gaps > 0 {
				longest = gap
			}
			if allowed, known := r.Allowed(); known && allowed < longest {
				t.Fatalf("a silence of %s was just there, and %s is unusual", longest, allowed)
			}
		}
		if again := r.Note(at); again != r {
			t.Fatal("the same webhook was counted twice")
		}
	})
}

func TestTheLongestSilenceFades(t *testing.T) {
	t.Parallel()
	r := health.Rhythm{}.Note(now).Note(now.Add(100 * time.Hour))
	at := now.Add(100 * time.Hour)
	for range 60 * 24 {
		at = at.Add(time.Hour)
		r = r.Note(at)
	}
	if allowed, known := r.Allowed(); !known || allowed > 20*time.Hour {
		t.Errorf("after two months with a webhook an hour, %s is usual", allowed)
	}
}
