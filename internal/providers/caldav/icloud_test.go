package caldav

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

const appPassword = "abcd-efgh-ijkl-mnop"

// cloud is iCloud as far as its dialect is known: the account is found at one host and lives on another.
type cloud struct {
	sim   *caldavsim.Server
	hosts hosts
	user  string

	mu    sync.Mutex
	clock time.Time
	asked map[string]int // requests by host
}

const (
	frontHost = "caldav.icloud.com"
	shardHost = "p42-caldav.icloud.com"
)

func newCloud(t *testing.T, opt caldavsim.Options) *cloud {
	t.Helper()
	// Accounts are shared by the whole process, so each test has a user of its own.
	c := &cloud{user: strings.ToLower(strings.ReplaceAll(t.Name(), "/", ".")) + "@example.test", clock: providertest.Now, asked: map[string]int{}}
	opt.Username, opt.Password = c.user, appPassword
	opt.HomeBase = "https://" + shardHost
	if opt.Calendars == nil {
		opt.Calendars = []caldavsim.Calendar{{Name: "weddings"}}
	}
	c.sim = caldavsim.New(opt)
	c.hosts = hosts{}
	for _, host := range []string{frontHost, shardHost} {
		c.hosts[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			c.asked[host]++
			c.mu.Unlock()
			c.sim.Handler().ServeHTTP(w, r)
		})
	}
	return c
}

func (c *cloud) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = c.clock.Add(d)
}

func (c *cloud) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[frontHost] + c.asked[shardHost]
}

// client gives the answers of the hosts the kinds that the real client gives them.
type client struct{ hosts }

func (c client) Do(r *http.Request) (*httpx.Response, error) { return kinds(c.hosts.Do(r)) }

func kinds(res *httpx.Response, err error) (*httpx.Response, error) {
	if res == nil || err == nil {
		return res, err
	}
	switch res.Status {
	case http.StatusUnauthorized:
		err = domain.E(domain.KindUnauthenticated, "status 401")
	case http.StatusServiceUnavailable:
		err = domain.E(domain.KindUnavailable, "status 503")
		if wait, parse := time.ParseDuration(res.Header.Get("Retry-After") + "s"); parse == nil {
			err = domain.WithRetryAfter(err, wait)
		}
	case http.StatusForbidden:
		err = domain.E(domain.KindForbidden, "status 403")
	case http.StatusNotFound:
		err = domain.E(domain.KindNotFound, "status 404")
	}
	return res, err
}

func (c *cloud) connect(t *testing.T, s settings) *connection {
	t.Helper()
	s.Preset, s.Username = presetICloud, c.user
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := openWith(provider.Connection{Integration: domain.Integration{Settings: raw}, Secrets: map[string]string{"password": appPassword},
		Zone: mustZone(t, providertest.Zone), Now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.clock
		}}, client{c.hosts})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// onboarded is a connection whose calendar was found by discovery.
func (c *cloud) onboarded(t *testing.T) *connection {
	t.Helper()
	raw, err := c.connect(t, settings{}).Onboard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var s settings
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if want := "https://" + shardHost + c.sim.CalendarPath("weddings"); s.Calendar != want || s.Preset != presetICloud || s.URL != "" {
		t.Fatalf("onboarding gave %s, want the calendar %s", raw, want)
	}
	return c.connect(t, s)
}

func TestICloudIsFoundByItsPresetOnTheAccountsOwnHost(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{})
	conn := c.onboarded(t)
	c.sim.PutEvent("weddings", "4F1A9D0E.ics", entryICS("another-name", providertest.Entry{Title: "Viewing", When: when("2027-06-01T10:00:00Z", time.Hour)}))
	page := pullAll(t, conn, "")
	if len(page.Changes) != 1 || !strings.HasSuffix(page.Changes[0].ExternalID, "/4F1A9D0E.ics") || page.Changes[0].UID != "another-name" {
		t.Errorf("%+v", page.Changes)
	}
	// The name of the resource has nothing to do with the UID: what is gone is known by its path.
	c.sim.DeleteEvent(page.Changes[0].ExternalID)
	c.advance(2 * time.Minute)
	if page = pullAll(t, conn, page.Next); len(page.Changes) != 1 || page.Changes[0].Op != domain.OpRemove {
		t.Errorf("after it was deleted: %+v", page.Changes)
	}
}

func TestICloudSettingsTellWhatIsNeeded(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ settings, password, field string }{
		{`{"preset":"icloud","username":"a@example.test"}`, appPassword, ""},
		{`{"preset":"icloud","username":"a@example.test"}`, "abcdefghijklmnop", ""},
		{`{"preset":"icloud","username":"a@example.test"}`, " abcd efgh ijkl mnop ", ""},
		{`{"preset":"icloud","username":"a@example.test","url":"https://p01-caldav.icloud.com/"}`, appPassword, ""},
		{`{"preset":"icloud","username":"a@example.test"}`, "my usual password", "secrets.password"},
		{`{"preset":"icloud","username":"a@example.test"}`, "", "secrets.password"},
		{`{"preset":"icloud","username":"studio"}`, appPassword, "settings.username"},
		{`{"preset":"icloud","username":"a@example.test","url":"https://icloud.com.evil.example/"}`, appPassword, "settings.url"},
		{`{"preset":"icloud","username":"a@example.test","url":"http://caldav.icloud.com/"}`, appPassword, "settings.url"},
		{`{"preset":"icloud","username":"a@example.test","calendar":"https://evil.example/x/"}`, appPassword, "settings.calendar"},
		{`{"preset":"other","username":"a@example.test","url":"https://example.test/"}`, appPassword, "settings.preset"},
		{`{"username":"a@example.test"}`, appPassword, "settings.url"},
	} {
		err := validate(json.RawMessage(v.settings), map[string]string{"password": v.password})
		if v.field == "" && err != nil || v.field != "" && (domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != v.field) {
			t.Errorf("%s with %q: %v, want field %q", v.settings, v.password, err, v.field)
		}
		if v.field == "secrets.password" && v.password != "" && !strings.Contains(err.Error(), "app-specific") {
			t.Errorf("the refusal does not say what is needed: %v", err)
		}
	}
}

func TestA401InPassingDoesNotAskForNewCredentials(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{})
	conn := c.onboarded(t)
	c.sim.SetFaults(caldavsim.Faults{Unauthorized: 1})
	if err := conn.Probe(t.Context()); err != nil {
		t.Errorf("one stale 401: %v", err)
	}
	c.sim.SetFaults(caldavsim.Faults{Status: http.StatusUnauthorized})
	if err := conn.Probe(t.Context()); domain.KindOf(err) != domain.KindUnauthenticated || !strings.Contains(err.Error(), "app-specific") {
		t.Errorf("401 again and again: %v, want KindUnauthenticated with guidance", err)
	}
}

func TestATimeoutIsNoCredentialError(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	cursor := pullAll(t, b.conn, "").Next
	b.sim.SetFaults(caldavsim.Faults{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, pulled := b.conn.Pull(ctx, cursor)
	for _, err := range []error{pulled, b.conn.Probe(ctx)} {
		if domain.KindOf(err) != domain.KindUnavailable {
			t.Errorf("%v, want KindUnavailable", err)
		}
	}
}

func TestAPauseThatTheServerAsksForHoldsForTheWholeAccount(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{Calendars: []caldavsim.Calendar{{Name: "weddings"}, {Name: "holidays", ReadOnly: true}}})
	one := c.connect(t, settings{Calendar: "https://" + shardHost + c.sim.CalendarPath("weddings")})
	other := c.connect(t, settings{Calendar: "https://" + shardHost + c.sim.CalendarPath("holidays")})
	c.sim.SetFaults(caldavsim.Faults{Status: http.StatusServiceUnavailable, RetryAfter: 90 * time.Second})
	if err := one.Probe(t.Context()); domain.KindOf(err) != domain.KindUnavailable || domain.RetryAfter(err) != 90*time.Second {
		t.Fatalf("%v after %s", err, domain.RetryAfter(err))
	}
	c.sim.Heal()
	before := c.requests()
	err := other.Probe(t.Context())
	if wait := domain.RetryAfter(err); domain.KindOf(err) != domain.KindRateLimited || wait < 90*time.Second || wait > 90*time.Second+pollJitter || c.requests() != before {
		t.Errorf("another calendar of the account: %v after %s, %d requests", err, wait, c.requests()-before)
	}
	c.advance(91 * time.Second)
	if err := other.Probe(t.Context()); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestACalendarIsPolledOnceAMinuteAtMost(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{})
	conn := c.onboarded(t)
	cursor := pullAll(t, conn, "").Next
	if _, err := conn.Pull(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	before := c.requests()
	c.advance(30 * time.Second)
	_, err := conn.Pull(t.Context(), cursor)
	if wait := domain.RetryAfter(err); domain.KindOf(err) != domain.KindRateLimited || wait < 30*time.Second || wait > 30*time.Second+pollJitter || c.requests() != before {
		t.Errorf("half a minute later: %v after %s, %d requests", err, wait, c.requests()-before)
	}
	c.advance(31 * time.Second)
	if _, err := conn.Pull(t.Context(), cursor); err != nil || c.requests() != before+1 {
		t.Errorf("a minute later: %v, %d requests", err, c.requests()-before)
	}
}

func TestWhoseTurnItIsToPollIsAskedOfAllWorkers(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{})
	conn := c.onboarded(t)
	cursor := pullAll(t, conn, "").Next
	var asked []string
	taken := false // by another worker
	conn.once = func(_ context.Context, what string, every time.Duration) error {
		asked = append(asked, what)
		if every != pollEvery {
			t.Errorf("a turn each %s", every)
		}
		if taken {
			return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "another worker's turn"), 40*time.Second)
		}
		return nil
	}
	if _, err := conn.Pull(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	before := c.requests()
	taken = true
	_, err := conn.Pull(t.Context(), cursor)
	if wait := domain.RetryAfter(err); domain.KindOf(err) != domain.KindRateLimited || wait < 40*time.Second || wait > 40*time.Second+pollJitter || c.requests() != before {
		t.Errorf("%v after %s, %d requests", err, wait, c.requests()-before)
	}
	if len(asked) != 2 || asked[0] != asked[1] || !strings.Contains(asked[0], c.user) {
		t.Errorf("asked for %q", asked)
	}
}

func TestTheAllowanceOfAnAccountRunsOutAndComesBack(t *testing.T) {
	t.Parallel()
	c := newCloud(t, caldavsim.Options{})
	conn := c.connect(t, settings{Calendar: "https://" + shardHost + c.sim.CalendarPath("weddings")})
	for range accountBurst {
		if err := conn.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Probe(t.Context()); domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) <= 0 || c.requests() != accountBurst {
		t.Errorf("%v after %d requests", err, c.requests())
	}
	c.advance(time.Second)
	for range accountRate {
		if err := conn.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := conn.Probe(t.Context()); domain.KindOf(err) != domain.KindRateLimited {
		t.Errorf("%v", err)
	}
}

func TestPropertiesThatComeAndGoAreNoChange(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	id := b.sim.PutEvent("weddings", "a.ics", entryICS("a", providertest.Entry{Title: "Viewing", When: when("2027-06-01T10:00:00Z", time.Hour)}))
	b.sim.SetFaults(caldavsim.Faults{RecurrenceExceptions: true})
	seen := map[string]bool{}
	for range 3 {
		read, err := b.conn.Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		seen[read.Hash()], seen[byID(t, pullAll(t, b.conn, ""), id).Hash()] = true, true
	}
	if len(seen) != 1 {
		t.Errorf("one entry has %d contents", len(seen))
	}
	// The fault must be there for this to mean anything.
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, id, http.NoBody)
	req.SetBasicAuth(user, password)
	b.sim.Handler().ServeHTTP(rec, req)
	if !strings.Contains(rec.Body.String(), "X-RECURRENCE-EXCEPTION:") {
		t.Error("the simulator does not add the property")
	}
}

func TestAnEntryWithGuestsIsNotMovedBehindTheirBacks(t *testing.T) {
	t.Parallel()
	organizer, guest := "ORGANIZER:mailto:owner@example.test", "ATTENDEE:mailto:guest@example.test"
	for name, v := range map[string]struct {
		lines []string
		moved bool
	}{
		"guests of the owner":                 {[]string{organizer, "ATTENDEE:mailto:owner@example.test", guest}, false},
		"guests to whom the client writes":    {[]string{organizer, "ATTENDEE;SCHEDULE-AGENT=CLIENT:mailto:guest@example.test"}, true},
		"an organizer whom the server leaves": {[]string{"ORGANIZER;SCHEDULE-AGENT=NONE:mailto:owner@example.test", guest}, true},
		"nobody but the owner":                {[]string{organizer, "ATTENDEE:mailto:owner@example.test"}, true},
		"nobody who invites":                  {[]string{guest}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, caldavsim.Options{})
			data := vevent(append([]string{"UID:own", "SUMMARY:Tasting", "DTSTART:20270601T100000Z", "DTEND:20270601T110000Z"}, v.lines...)...)
			id := b.sim.PutEvent("weddings", "own.ics", data)
			_, err := b.conn.Put(t.Context(), provider.Write{ExternalID: id, Source: true, Status: domain.StatusConfirmed, When: when("2027-06-02T10:00:00Z", time.Hour)})
			if v.moved && err != nil || !v.moved && (domain.KindOf(err) != domain.KindPermanent || b.sim.Events("weddings")[0].Data != data) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestACopyNamesNobodyAndHasNoMethod(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	if _, err := b.conn.Put(t.Context(), write(1)); err != nil {
		t.Fatal(err)
	}
	data := b.sim.Events("weddings")[0].Data
	for _, word := range []string{"ATTENDEE", "ORGANIZER", "METHOD"} {
		if strings.Contains(data, word) {
			t.Errorf("a copy holds %s", word)
		}
	}
	if uid := uidIn(t, data); uid != uidOf(write(1).Key) {
		t.Errorf("the UID of a copy is %s", uid)
	}
}
