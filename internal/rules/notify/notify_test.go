package notify

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func local(t testing.TB, name, at string) time.Time {
	t.Helper()
	out, err := time.ParseInLocation("2006-01-02 15:04", at, zone(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAPersonIsToldAsThePreferencesSay(t *testing.T) {
	t.Parallel()
	const (
		ann  = domain.ResourceID("01900000-0000-7000-8000-000000000001")
		room = domain.ResourceID("01900000-0000-7000-8000-000000000002")
	)
	everywhere := domain.NotifyAddresses{Email: "ann@example.com", Slack: "https://s.example/1", Webhook: "https://w.example/1"}
	night := &domain.QuietHours{From: 22 * 60, To: 7 * 60}
	mailOnly := []domain.NotifyRule{{Channels: []domain.NotifyChannel{domain.ChannelEmail}}}
	noon, late := "2027-06-10 12:00", "2027-06-10 23:30"
	high := Fact{Kind: domain.NotifyConflictOpened, Severity: domain.SeverityHigh, Resources: []domain.ResourceID{ann}}
	with := func(f Fact, change func(*Fact)) Fact { change(&f); return f }
	for name, c := range map[string]struct {
		prefer    domain.NotifyPreferences
		addresses domain.NotifyAddresses
		resources []domain.ResourceID
		state     domain.RecipientState
		fact      Fact
		at        string
		want      []string
	}{
		"without rules: every way there is": {addresses: everywhere, fact: high, at: noon,
			want: []string{"email queued", "slack queued", "webhook queued", "live queued"}},
		"without rules and addresses: the live stream": {fact: high, at: noon, want: []string{"live queued"}},
		"without rules: low is too little": {fact: with(high, func(f *Fact) { f.Severity = domain.SeverityLow }), at: noon,
			want: []string{"live suppressed: severity low is below medium, which the person asked for"}},
		"low on a wedding day is told": {fact: with(high, func(f *Fact) { f.Severity, f.WeddingDay = domain.SeverityLow, true }), at: noon, want: []string{"live queued"}},
		"a resource of others":         {addresses: everywhere, resources: []domain.ResourceID{room}, fact: high, at: noon},
		"a resource of theirs":         {resources: []domain.ResourceID{room, ann}, fact: high, at: noon, want: []string{"live queued"}},
		"what concerns everybody":      {resources: []domain.ResourceID{room}, fact: with(high, func(f *Fact) { f.Resources = nil }), at: noon, want: []string{"live queued"}},
		"a paused person":              {addresses: everywhere, state: domain.RecipientPaused, fact: high, at: noon},
		"the first rule that names the kind decides": {addresses: everywhere, fact: high, at: noon, want: []string{"slack queued"},
			prefer: domain.NotifyPreferences{Rules: []domain.NotifyRule{{Kinds: []domain.NotifyKind{domain.NotifySyncStale}},
				{Kinds: []domain.NotifyKind{domain.NotifyConflictOpened}, Channels: []domain.NotifyChannel{domain.ChannelSlack, domain.ChannelSlack}}, mailOnly[0]}}},
		"a kind that no rule names": {addresses: everywhere, fact: high, at: noon,
			prefer: domain.NotifyPreferences{Rules: []domain.NotifyRule{{Kinds: []domain.NotifyKind{domain.NotifySyncStale}, Channels: domain.NotifyChannels()}}}},
		"a way without an address": {fact: high, at: noon, prefer: domain.NotifyPreferences{Rules: mailOnly},
			want: []string{"email suppressed: the person has no address for email"}},
		"at night mail and Slack wait": {addresses: everywhere, fact: high, at: late, prefer: domain.NotifyPreferences{Quiet: night},
			want: []string{"email held 2027-06-11 07:00: quiet hours", "slack held 2027-06-11 07:00: quiet hours", "webhook queued", "live queued"}},
		"at night before a wedding they do not": {addresses: everywhere, fact: with(high, func(f *Fact) { f.WeddingDay = true }), at: late,
			prefer: domain.NotifyPreferences{Quiet: night}, want: []string{"email queued", "slack queued", "webhook queued", "live queued"}},
		"critical alone does not wake": {addresses: everywhere, fact: with(high, func(f *Fact) { f.Severity = domain.SeverityCritical }), at: late,
			prefer: domain.NotifyPreferences{Quiet: night, Rules: mailOnly}, want: []string{"email held 2027-06-11 07:00: quiet hours"}},
		"a digest waits for its time": {addresses: everywhere, fact: high, at: noon,
			prefer: domain.NotifyPreferences{DigestAt: 8 * 60, Rules: []domain.NotifyRule{{Channels: []domain.NotifyChannel{domain.ChannelEmail, domain.ChannelLive}, Digest: true}}},
			want:   []string{"email held 2027-06-11 08:00: waits for the digest", "live queued"}},
		"a digest does not wake either": {addresses: everywhere, fact: high, at: noon,
			prefer: domain.NotifyPreferences{DigestAt: 6 * 60, Quiet: night, Rules: []domain.NotifyRule{{Channels: []domain.NotifyChannel{domain.ChannelEmail}, Digest: true}}},
			want:   []string{"email held 2027-06-11 07:00: waits for the digest"}},
		"what is critical skips the digest": {addresses: everywhere, fact: with(high, func(f *Fact) { f.Severity = domain.SeverityCritical }), at: noon,
			prefer: domain.NotifyPreferences{Rules: []domain.NotifyRule{{Channels: []domain.NotifyChannel{domain.ChannelEmail}, Digest: true}}}, want: []string{"email queued"}},
	} {
		state := c.state
		if state == "" {
			state = domain.RecipientActive
		}
		p := domain.Recipient{Zone: "Europe/Berlin", Addresses: c.addresses, Resources: c.resources, Prefer: c.prefer, State: state}
		now := local(t, p.Zone, c.at)
		var got []string
		for _, r := range Decide(p, c.fact, now) {
			text := string(r.Channel) + " " + string(r.State)
			if r.State == domain.NotificationHeld {
				text += r.Due.In(zone(t, p.Zone)).Format(" 2006-01-02 15:04")
			}
			if r.Reason != "" {
				text += ": " + r.Reason
			}
			if r.State == domain.NotificationQueued && !r.Due.Equal(now) {
				text += " later"
			}
			got = append(got, text)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestQuietHoursEndByTheLocalClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, at, want string
		q              domain.QuietHours
	}{
		"before they begin":        {"Europe/London", "2027-06-10 21:59", "2027-06-10 21:59", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"when they begin":          {"Europe/London", "2027-06-10 22:00", "2027-06-11 07:00", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"after midnight":           {"Europe/London", "2027-06-11 03:00", "2027-06-11 07:00", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"when they end":            {"Europe/London", "2027-06-11 07:00", "2027-06-11 07:00", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"within a day":             {"Europe/London", "2027-06-11 13:00", "2027-06-11 14:30", domain.QuietHours{From: 12 * 60, To: 14*60 + 30}},
		"outside, within a day":    {"Europe/London", "2027-06-11 15:00", "2027-06-11 15:00", domain.QuietHours{From: 12 * 60, To: 14*60 + 30}},
		"in the night of the gap":  {"Europe/London", "2027-03-27 23:00", "2027-03-28 07:00", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"in the night of overlap":  {"Europe/London", "2027-10-30 23:00", "2027-10-31 07:00", domain.QuietHours{From: 22 * 60, To: 7 * 60}},
		"an end that is skipped":   {"Europe/London", "2027-03-27 23:00", "2027-03-28 02:30", domain.QuietHours{From: 22 * 60, To: 90}},
		"somebody else's midnight": {"Pacific/Auckland", "2027-06-11 00:30", "2027-06-11 06:00", domain.QuietHours{From: 23 * 60, To: 6 * 60}},
	} {
		loc := zone(t, c.zone)
		if got := QuietUntil(&c.q, local(t, c.zone, c.at), loc).In(loc).Format("2006-01-02 15:04"); got != c.want {
			t.Errorf("%s: until %s, want %s", name, got, c.want)
		}
	}
}

// TestNobodyIsDisturbedInQuietHours draws people and facts: whatever is queued or held for mail or Slack is due outside the
// quiet hours, unless there is a wedding.
func TestNobodyIsDisturbedInQuietHours(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Europe/London", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "UTC", "Australia/Lord_Howe"}).Draw(t, "zone")
		loc, err := calendartime.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		q := &domain.QuietHours{From: rapid.IntRange(0, 1439).Draw(t, "from"), To: rapid.IntRange(0, 1439).Draw(t, "to")}
		if q.From == q.To {
			t.Skip("no hours")
		}
		now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "minute")) * time.Minute)
		f := Fact{Kind: domain.NotifyConflictOpened, Severity: rapid.SampledFrom([]domain.Severity{domain.SeverityMedium, domain.SeverityCritical}).Draw(t, "severity"),
			WeddingDay: rapid.Bool().Draw(t, "wedding day")}
		p := domain.Recipient{Zone: name, State: domain.RecipientActive, Addresses: domain.NotifyAddresses{Email: "a@example.com", Slack: "https://s.example"},
			Prefer: domain.NotifyPreferences{Quiet: q, DigestAt: rapid.IntRange(0, 1439).Draw(t, "digest"),
				Rules: []domain.NotifyRule{{Channels: domain.NotifyChannels(), Digest: rapid.Bool().Draw(t, "digests")}}}}
		for _, r := range Decide(p, f, now) {
			if r.State == domain.NotificationSuppressed {
				continue
			}
			if r.Due.Before(now) {
				t.Fatalf("%s is due before now", r.Channel)
			}
			if r.Due.After(now.Add(50 * time.Hour)) {
				t.Fatalf("%s is held for %s", r.Channel, r.Due.Sub(now))
			}
			if f.WeddingDay && !r.Due.Equal(now) {
				t.Fatalf("%s waits on a wedding day", r.Channel)
			}
			if again := QuietUntil(q, r.Due, loc); (r.Channel == domain.ChannelEmail || r.Channel == domain.ChannelSlack) && !f.WeddingDay && !again.Equal(r.Due) {
				t.Fatalf("%s is due at %s, in quiet hours until %s", r.Channel, r.Due.In(loc), again.In(loc))
			}
		}
	})
}

func TestTriesComeFurtherApartAndEndWithinTwoDays(t *testing.T) {
	t.Parallel()
	sum := time.Duration(0)
	for n := 1; n < 60; n++ {
		if Wait(n) < Wait(n-1) || Wait(n) > time.Hour {
			t.Errorf("the wait after failure %d is %s", n, Wait(n))
		}
		sum += Wait(n)
	}
	if sum < GiveUpAfter {
		t.Errorf("59 tries end after %s", sum)
	}
}
