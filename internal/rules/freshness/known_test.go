package freshness_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

func TestASourceIsFreshOrUnknownSinceATime(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	made := now.Add(-240 * time.Hour)
	active := domain.Integration{State: domain.IntegrationActive, CreatedAt: made}
	with := func(edit func(*domain.Integration)) domain.Integration {
		i := active
		edit(&i)
		return i
	}
	watched := freshness.Measured{Watches: []domain.Watch{{State: domain.WatchActive}}}
	readable := freshness.Link{Readable: true}
	for _, c := range []struct {
		name  string
		i     domain.Integration
		m     freshness.Measured
		l     freshness.Link
		since *time.Time // nil = fresh
	}{
		{"webhooks only, nothing waits", active, freshness.Measured{}, freshness.Link{Tells: true}, nil},
		{"webhooks only, one just came", active, freshness.Measured{}, freshness.Link{Tells: true, Waiting: ago(time.Second)}, nil},
		{"webhooks only, one waits", active, freshness.Measured{}, freshness.Link{Tells: true, Waiting: ago(5 * time.Minute)}, ago(5 * time.Minute)},
		{"never read", active, watched, readable, &made},
		{"watched, read long ago, nothing told since", with(func(i *domain.Integration) { i.LastSyncAt = ago(9 * time.Hour) }), watched, readable, nil},
		{"watched, a notice waits", with(func(i *domain.Integration) { i.LastSyncAt = ago(9 * time.Hour) }),
			freshness.Measured{Watches: watched.Watches, Wanted: ago(2 * time.Minute)}, readable, ago(2 * time.Minute)},
		{"watched and polled, the poll is late", with(func(i *domain.Integration) { i.LastSyncAt, i.PollEvery = ago(2*time.Hour), time.Hour }), watched, readable, ago(2 * time.Hour)},
		{"polled in time", with(func(i *domain.Integration) { i.LastSyncAt, i.PollEvery = ago(5*time.Minute), 5*time.Minute }), freshness.Measured{}, readable, nil},
		{"polled too late", with(func(i *domain.Integration) { i.LastSyncAt, i.PollEvery = ago(7*time.Minute), 5*time.Minute }), freshness.Measured{}, readable, ago(7 * time.Minute)},
		{"read when asked, a moment ago", with(func(i *domain.Integration) { i.LastSyncAt = ago(30 * time.Second) }), freshness.Measured{}, readable, nil},
		{"read when asked, an hour ago", with(func(i *domain.Integration) { i.LastSyncAt = ago(time.Hour) }), freshness.Measured{}, readable, ago(time.Hour)},
		{"listed once, tells by webhooks since", with(func(i *domain.Integration) { i.LastSyncAt = ago(time.Hour) }), freshness.Measured{}, freshness.Link{Readable: true, Tells: true}, nil},
		{"paused", with(func(i *domain.Integration) { i.State, i.LastSyncAt = domain.IntegrationPaused, ago(time.Minute) }), watched, readable, ago(time.Minute)},
		{"needs a reconnect, last heard by a webhook", with(func(i *domain.Integration) {
			i.State, i.LastSyncAt, i.LastDeliveryAt = domain.IntegrationNeedsReconnect, ago(time.Hour), ago(time.Minute)
		}), watched, readable, ago(time.Minute)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := freshness.KnownOf(now, c.i, c.m, c.l)
			if got.Fresh != (c.since == nil) || c.since != nil && (!got.Since.Equal(*c.since) || got.Reason == "") {
				t.Errorf("%+v, want unknown since %v", got, c.since)
			}
		})
	}
}
