package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/server"
)

const (
	googleCalendar = "studio@example.test"
	davCalendar    = "bookings"
	simToken       = "what the door shows to the simulator"
)

// studio is an organisation with a Google, an Outlook and a CalDAV calendar of one photographer, on the whole program.
type studio struct {
	*testing.T
	stack    *app.Stack
	api      *apiclient.Client
	resource string
	google   *googlesim.Server
	graph    *graphsim.Server
	dav      *caldavsim.Server
	consents map[string]*oauthsim.Server // by provider
	doors    map[string]*door            // by provider
	ids      map[string]string           // of the integrations, by provider
	shakes   *handshakes
}

var calendarProviders = []string{"google", "outlook", "caldav"}

// startStack runs the whole program until the test ends, on a clock of its own if one is given.
func startStack(t *testing.T, addr string, cfg app.Config, own ...*clock) *app.Stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 15*time.Minute)
	ready, done, ended := make(chan *app.Stack, 1), make(chan struct{}), make(chan error, 1)
	o := app.DevOptions{HTTPAddr: addr, Ephemeral: true, Private: true, Config: cfg, Out: log{t}}
	for _, c := range own {
		o.Now, o.Between = c.Now, append(o.Between, c)
	}
	go func() {
		ended <- app.DevStack(ctx, o,
			func(ctx context.Context, s *app.Stack) error {
				ready <- s
				select {
				case <-done:
				case <-ctx.Done():
				}
				return nil
			})
	}()
	t.Cleanup(func() {
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
	})
	select {
	case s := <-ready:
		return s
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return nil
	}
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	cfg.Google, cfg.Microsoft = app.OAuthApp{ID: "client", Secret: "secret"}, app.OAuthApp{ID: "client", Secret: "secret"}
	s := &studio{T: t, stack: startStack(t, addr, cfg), doors: map[string]*door{}, ids: map[string]string{}, shakes: &handshakes{}}
	s.api = apiclient.New(s.stack.Ready.HTTP, s.stack.Ready.AdminToken)
	t.Cleanup(s.api.Close)

	back := []string{cfg.PublicURL + server.CallbackPath}
	s.consents = map[string]*oauthsim.Server{"google": oauthsim.New(oauthsim.Options{Redirects: back}),
		"outlook": oauthsim.New(oauthsim.Options{Redirects: back, Rotate: true})}
	// The simulators let the time of a change run ahead of the clock by a millisecond for each change. Theirs goes slow, so
	// that what is changed at Google first is not the newest.
	behind := func() time.Time { return time.Now().Add(-2 * time.Second) }
	s.google = googlesim.New(googlesim.Options{Token: simToken, PageSize: 3, PlainHTTP: true, Now: behind,
		Calendars: []googlesim.Calendar{{ID: googleCalendar, Primary: true, Zone: "Europe/London"}}})
	s.graph = graphsim.New(graphsim.Options{Token: simToken, Now: behind, Calendars: []graphsim.Calendar{{Name: "Calendar"}}, Client: &http.Client{Transport: s.shakes, Timeout: 10 * time.Second}})
	s.dav = caldavsim.New(caldavsim.Options{Username: "studio", Password: "pw", Calendars: []caldavsim.Calendar{{Name: davCalendar}}})
	s.doors["google"] = &door{next: s.google.Handler(), consent: s.consents["google"], writes: func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/events") && !strings.HasSuffix(r.URL.Path, "/watch")
	}}
	s.doors["outlook"] = &door{next: s.graph.Handler(), consent: s.consents["outlook"], writes: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/events") }}
	s.doors["caldav"] = &door{next: s.dav.Handler(), writes: func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodDelete }}

	var resource struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London"}, &resource)
	s.resource = resource.ID
	return s
}

// serve gives a handler an address until the test ends.
func (s *studio) serve(h http.Handler) string {
	srv := httptest.NewServer(h)
	s.Cleanup(srv.Close)
	return srv.URL
}

func (s *studio) call(method, path string, in, out any) {
	s.Helper()
	mustCall(s.T, s.api, method, path, in, out)
}

// await asks until check has no more to say. The limit is far above what is needed on an idle machine.
func (s *studio) await(what string, check func() error) {
	s.Helper()
	limit, stop := context.WithTimeout(s.Context(), 2*time.Minute)
	defer stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-limit.Done():
			s.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// create makes the three integrations. They are not polled: what is read is asked for, or told by the system.
func (s *studio) create() {
	s.Helper()
	google, auth := s.serve(s.doors["google"]), s.serve(s.consents["google"])
	settings := map[string]map[string]any{
		"google": {"development": map[string]any{"api": google + "/calendar/v3/", "auth": auth + "/authorize", "token": auth + "/token", "revoke": auth + "/revoke"}},
		"outlook": {"graph_url": s.serve(s.doors["outlook"]) + "/v1.0",
			"login_url": s.serve(http.StripPrefix("/common/oauth2/v2.0", s.consents["outlook"]))},
		"caldav": {"url": s.serve(s.doors["caldav"]), "username": "studio"},
	}
	for _, name := range calendarProviders {
		body := map[string]any{"name": name, "provider": name, "direction": "bidirectional", "resource_id": s.resource, "settings": settings[name]}
		if name == "caldav" {
			body["secrets"] = map[string]string{"password": "pw"}
		}
		var i domain.Integration
		s.call(http.MethodPost, "/v1/integrations", body, &i)
		if s.ids[name] = string(i.ID); name != "caldav" && (i.State != domain.IntegrationNeedsReconnect || !strings.Contains(i.StateReason, string(i.ID))) {
			s.Errorf("%s begins as %s: %s", name, i.State, i.StateReason)
		}
	}
}

// connect is what an admin and a browser do: ask for a link, follow it, agree there, come back and confirm.
func (s *studio) connect(name string) {
	s.Helper()
	var begun struct {
		URL string `json:"url"`
	}
	s.call(http.MethodPost, "/v1/integrations/"+s.ids[name]+"/connect", map[string]any{"reason": "story"}, &begun)
	link, err := url.Parse(begun.URL)
	if err != nil {
		s.Fatal(err)
	}
	q := link.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || len(q.Get("state")) < 43 || q.Has("client_secret") || q.Has("code_verifier") {
		s.Errorf("%s: the link is %s", name, begun.URL)
	}
	browser := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	go1 := func(req *http.Request, err error, status int) *http.Response {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
		res, err := browser.Do(req.WithContext(s.Context()))
		if err != nil {
			s.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != status {
			s.Fatalf("%s: %s %s answered %d, want %d", name, req.Method, req.URL.Path, res.StatusCode, status)
		}
		return res
	}
	req, err := http.NewRequest(http.MethodGet, begun.URL, nil)
	back := go1(req, err, http.StatusFound).Header.Get("Location")
	req, err = http.NewRequest(http.MethodGet, back, nil)
	go1(req, err, http.StatusOK)
	came, err := url.Parse(back)
	if err != nil {
		s.Fatal(err)
	}
	form := url.Values{"state": {came.Query().Get("state")}, "code": {came.Query().Get("code")}}
	came.RawQuery = ""
	req, err = http.NewRequest(http.MethodPost, came.String(), strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	go1(req, err, http.StatusOK)
	if i := s.integration(name); i.State != domain.IntegrationActive {
		s.Errorf("%s is %s after the consent: %s", name, i.State, i.StateReason)
	}
}

type integrationAnswer struct {
	domain.Integration
	Freshness *domain.Freshness `json:"freshness"`
}

func (s *studio) integration(name string) (i integrationAnswer) {
	s.Helper()
	s.call(http.MethodGet, "/v1/integrations/"+s.ids[name], nil, &i)
	return i
}

// change patches an integration.
func (s *studio) change(name string, fields map[string]any) {
	s.Helper()
	fields["version"] = s.integration(name).Version
	s.call(http.MethodPatch, "/v1/integrations/"+s.ids[name], fields, nil)
}

// resync reads a calendar and returns the run once it is over.
func (s *studio) resync(name string, full bool) domain.SyncRun {
	s.Helper()
	return s.ended(name, s.startSync(name, full))
}

func (s *studio) startSync(name string, full bool) (id string) {
	s.Helper()
	var asked struct {
		RunID string `json:"run_id"`
	}
	s.call(http.MethodPost, "/v1/integrations/"+s.ids[name]+"/resync", map[string]any{"full": full}, &asked)
	return asked.RunID
}

type syncAnswer struct {
	domain.SyncRun
	Progress *domain.Progress `json:"progress"`
}

func (s *studio) run(id string) (run syncAnswer) {
	s.Helper()
	s.call(http.MethodGet, "/v1/syncs/"+id, nil, &run)
	return run
}

func (s *studio) ended(name, id string) (run domain.SyncRun) {
	s.Helper()
	s.await("the end of a sync of "+name, func() error {
		if run = s.run(id).SyncRun; run.State == domain.SyncRunning {
			return fmt.Errorf("page %d", run.Pages)
		}
		return nil
	})
	if run.State != domain.SyncDone {
		s.Fatalf("a sync of %s is %s: %s", name, run.State, run.Error)
	}
	return run
}

func (s *studio) runs(name string) []domain.SyncRun {
	s.Helper()
	var out listOf[domain.SyncRun]
	s.call(http.MethodGet, "/v1/integrations/"+s.ids[name]+"/syncs?limit=200", nil, &out)
	return out.Items
}

// bookings are those that are not cancelled, by id.
func (s *studio) bookings() map[domain.BookingID]domain.Booking {
	s.Helper()
	var out listOf[domain.Booking]
	s.call(http.MethodGet, "/v1/bookings?limit=200&resource="+s.resource, nil, &out)
	live := map[domain.BookingID]domain.Booking{}
	for _, b := range out.Items {
		if b.Status != domain.StatusCancelled {
			live[b.ID] = b
		}
	}
	return live
}

func (s *studio) booking(id domain.BookingID) (b bookingAnswer) {
	s.Helper()
	s.call(http.MethodGet, "/v1/bookings/"+string(id), nil, &b)
	return b
}

type bookingAnswer struct {
	domain.Booking
	Copies []struct {
		Integration string     `json:"integration_id"`
		External    string     `json:"external_id"`
		Mirror      bool       `json:"mirror"`
		RemovedAt   *time.Time `json:"removed_at"`
	} `json:"copies"`
}

// known finds the booking of a calendar's entry.
func (s *studio) known(name, externalID string) domain.BookingID {
	s.Helper()
	return s.explained(name, externalID).Booking
}

type explanation struct {
	Booking domain.BookingID `json:"booking_id"`
	Known   bool             `json:"known"`
	Origin  struct {
		Kind        string        `json:"kind"`
		Provider    string        `json:"provider"`
		Integration string        `json:"integration_id"`
		External    string        `json:"external_id"`
		Cause       *domain.Cause `json:"cause"`
	} `json:"origin"`
	Systems []struct {
		Integration string `json:"integration_id"`
		Shows       string `json:"shows"`
		Code        string `json:"code"`
		Reason      string `json:"reason"`
	} `json:"systems"`
	Changes []domain.BookingChange `json:"changes"`
}

func (e explanation) code(integration string) string {
	for _, x := range e.Systems {
		if x.Integration == integration {
			return x.Code
		}
	}
	return ""
}

func (s *studio) explained(name, externalID string) (e explanation) {
	s.Helper()
	s.call(http.MethodGet, "/v1/integrations/"+s.ids[name]+"/explain?"+url.Values{"external_id": {externalID}}.Encode(), nil, &e)
	return e
}

// entry is what a calendar shows.
type entry struct {
	Title, Place string
	Start        time.Time
}

// shows tells what a calendar itself shows of a booking, asked of the simulator and not of WedSync.
func (s *studio) shows(name string, id domain.BookingID) (out []entry) {
	s.Helper()
	for _, c := range s.booking(id).Copies {
		if c.Integration == s.ids[name] && c.RemovedAt == nil {
			if e, ok := s.entry(name, c.External); ok {
				out = append(out, e)
			}
		}
	}
	return out
}

func (s *studio) entry(name, externalID string) (e entry, ok bool) {
	s.Helper()
	switch name {
	case "google":
		ev := s.google.Event(googleCalendar, externalID)
		if ev == nil || ev["status"] == "cancelled" {
			return e, false
		}
		e.Title, _ = ev["summary"].(string)
		e.Place, _ = ev["location"].(string)
		start, _ := ev["start"].(map[string]any)
		text, _ := start["dateTime"].(string)
		e.Start = s.moment(time.RFC3339, text)
		return e, true
	case "outlook":
		ev, there := s.graph.Event(externalID)
		return entry{Title: ev.Subject, Place: ev.Location, Start: ev.Start}, there
	}
	for _, ev := range s.dav.Events(davCalendar) {
		if ev.Path != externalID {
			continue
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(ev.Data, "\r\n ", ""), "\r\n") {
			property, value, _ := strings.Cut(line, ":")
			switch property, _, _ = strings.Cut(property, ";"); property {
			case "SUMMARY":
				e.Title = value
			case "LOCATION":
				e.Place = value
			case "DTSTART":
				if e.Start.IsZero() || strings.HasSuffix(value, "Z") {
					e.Start = s.local(line, value)
				}
			}
		}
		return e, true
	}
	return e, false
}

// local reads a DTSTART of an event: in UTC, or on the clock of the zone that its line names.
func (s *studio) local(line, value string) time.Time {
	s.Helper()
	if strings.HasSuffix(value, "Z") {
		return s.moment("20060102T150405Z", value)
	}
	_, zone, named := strings.Cut(line, "TZID=")
	zone, _, _ = strings.Cut(zone, ":")
	if !named {
		return time.Time{} // the beginning of a zone's rule
	}
	loc, err := time.LoadLocation(strings.Trim(zone, `"`))
	if err != nil {
		s.Fatal(err)
	}
	at, err := time.ParseInLocation("20060102T150405", value, loc)
	if err != nil {
		s.Fatal(err)
	}
	return at.UTC()
}

func (s *studio) moment(form, text string) time.Time {
	s.Helper()
	at, err := time.Parse(form, text)
	if err != nil {
		s.Fatal(err)
	}
	return at.UTC()
}

// everywhere is nil when every calendar shows a booking once, and as it should be.
func (s *studio) everywhere(id domain.BookingID, want entry, names ...string) error {
	s.Helper()
	if len(names) == 0 {
		names = calendarProviders
	}
	for _, name := range names {
		got := s.shows(name, id)
		if len(got) != 1 || got[0].Title != want.Title || !got[0].Start.Equal(want.Start) {
			return fmt.Errorf("%s shows %v, want %v; the booking is at %s", name, got, want, s.booking(id).When.Start)
		}
	}
	return nil
}

// nowhere is nil when no calendar shows a booking.
func (s *studio) nowhere(id domain.BookingID) error {
	s.Helper()
	for _, name := range calendarProviders {
		if got := s.shows(name, id); len(got) > 0 {
			return fmt.Errorf("%s shows %v", name, got)
		}
	}
	return nil
}

// deliver lets Google and Microsoft post what they have gathered.
func (s *studio) deliver() {
	s.Helper()
	if _, err := s.google.Deliver(s.Context()); err != nil {
		s.Fatal(err)
	}
	for _, status := range s.graph.Deliver(s.Context()) {
		if status != http.StatusAccepted {
			s.Errorf("a notification was answered %d", status)
		}
	}
}

// writes are those that worked, by provider.
func (s *studio) writes() map[string]int {
	out := map[string]int{}
	for name, d := range s.doors {
		out[name] = d.written()
	}
	return out
}

// waiting is how many copies are still to be written or removed.
func (s *studio) waiting() (n int) {
	s.Helper()
	err := s.stack.Core.Store.TenantRead(s.Context(), domain.OrgID(s.stack.Ready.Org), func(ctx context.Context, tx *store.Tx) error {
		n = 0
		for _, id := range s.ids {
			list, err := tx.WaitingPushes(ctx, domain.IntegrationID(id), 100)
			if err != nil {
				return err
			}
			n += len(list)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// settle tells every system's news, reads every calendar and waits for every write, until a whole round writes nothing.
// It returns the writes since before.
func (s *studio) settle(before map[string]int) map[string]int {
	s.Helper()
	for range 6 {
		was := s.writes()
		s.deliver()
		runs := map[string]string{}
		for _, name := range calendarProviders {
			runs[name] = s.startSync(name, false)
		}
		for name, id := range runs {
			s.ended(name, id)
		}
		s.await("the writes", func() error {
			if n := s.waiting(); n > 0 {
				return fmt.Errorf("%d wait", n)
			}
			return nil
		})
		now := s.writes()
		if fmt.Sprint(now) == fmt.Sprint(was) {
			since := map[string]int{}
			for name := range now {
				since[name] = now[name] - before[name]
			}
			return since
		}
	}
	s.Fatalf("the calendars never came to rest: %v", s.writes())
	return nil
}

// door stands before a simulator: it knows the access tokens of a consent, counts writes and can hold a listing.
type door struct {
	next    http.Handler
	consent *oauthsim.Server         // nil = the simulator checks by itself
	writes  func(*http.Request) bool // of requests that are no GET: they change entries

	mu    sync.Mutex
	count int
	hold  chan struct{}
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.consent != nil {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.Header.Set("Authorization", "Bearer "+simToken); !d.consent.Valid(given) {
			r.Header.Set("Authorization", "Bearer of nothing")
		}
	}
	d.mu.Lock()
	hold := d.hold
	d.mu.Unlock()
	if hold != nil && r.URL.Query().Has("pageToken") {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	d.next.ServeHTTP(seen, r)
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		if d.writes(r) && seen.status/100 == 2 {
			d.mu.Lock()
			d.count++
			d.mu.Unlock()
		}
	}
}

func (d *door) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// holdPages keeps every page but the first from being read until release is called.
func (d *door) holdPages() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hold := make(chan struct{})
	d.hold = hold
	return sync.OnceFunc(func() {
		d.mu.Lock()
		d.hold = nil
		d.mu.Unlock()
		close(hold)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// handshakes carries what Graph posts and counts the handshakes.
type handshakes struct {
	mu sync.Mutex
	n  int
}

func (h *handshakes) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.URL.Query().Has("validationToken") && res.StatusCode == http.StatusOK {
		h.mu.Lock()
		h.n++
		h.mu.Unlock()
	}
	return res, err
}

func (h *handshakes) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}
