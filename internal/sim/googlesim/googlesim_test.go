package googlesim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

const (
	studio = "studio@example.org"
	token  = "sesame"
)

var now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

var contract = sync.OnceValues(func() (*googlesim.Contract, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module google.golang.org/api: %w", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "calendar", "v3", "calendar-api.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return googlesim.ReadContract(f)
})

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// bundle is a simulator with the vendor's client before it and the contract between them.
type bundle struct {
	sim *googlesim.Server
	api *calendar.Service
	url string
}

func setup(t *testing.T, change ...func(*googlesim.Options)) *bundle {
	t.Helper()
	opt := googlesim.Options{Token: token, Now: func() time.Time { return now }, PlainHTTP: true,
		Calendars: []googlesim.Calendar{{ID: studio, Primary: true, Zone: "Europe/London"}, {ID: "team@example.org", AccessRole: "freeBusyReader"}}}
	for _, c := range change {
		c(&opt)
	}
	sim := googlesim.New(opt)
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(doc.Wrap(sim.Handler(), func(breach string) { t.Error(breach) }))
	t.Cleanup(func() { sim.Heal(); server.Close() })
	api, err := calendar.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer(token)}), option.WithEndpoint(server.URL+"/calendar/v3/"))
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{sim, api, server.URL}
}

func timed(title string, start time.Time, d time.Duration) map[string]any {
	return map[string]any{"summary": title, "start": map[string]any{"dateTime": start.Format(time.RFC3339), "timeZone": "Europe/London"},
		"end": map[string]any{"dateTime": start.Add(d).Format(time.RFC3339), "timeZone": "Europe/London"}}
}

func event(start time.Time) *calendar.Event {
	return &calendar.Event{Summary: "Fitting", Start: &calendar.EventDateTime{DateTime: start.Format(time.RFC3339)},
		End: &calendar.EventDateTime{DateTime: start.Add(time.Hour).Format(time.RFC3339)}}
}

func wantStatus(t *testing.T, err error, code int, reason string) {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) || e.Code != code || len(e.Errors) == 0 || e.Errors[0].Reason != reason {
		t.Errorf("error %v, want %d %s", err, code, reason)
	}
}

// all goes through the pages of a list.
func all(t *testing.T, call *calendar.EventsListCall) (items []*calendar.Event, sync string, pages int) {
	t.Helper()
	for range 100 {
		page, err := call.Do()
		if err != nil {
			t.Fatal(err)
		}
		pages++
		items = append(items, page.Items...)
		if page.NextPageToken == "" {
			return items, page.NextSyncToken, pages
		}
		if page.NextSyncToken != "" {
			t.Error("a page that is not the last has a sync token")
		}
		call.PageToken(page.NextPageToken)
	}
	t.Fatal("more than 100 pages")
	return nil, "", 0
}

func ids(items []*calendar.Event) []string {
	var out []string
	for _, i := range items {
		out = append(out, i.Status+" "+i.Id)
	}
	slices.Sort(out)
	return out
}

func TestListComesInPagesAndDeltasNameWhatChanged(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *googlesim.Options) { o.PageSize = 2 })
	var made []string
	for i := range 5 {
		made = append(made, b.sim.Put(studio, timed("Fitting", now.AddDate(0, 0, i+1), time.Hour)))
	}
	items, sync, pages := all(t, b.api.Events.List(studio).SingleEvents(true))
	if len(items) != 5 || pages != 3 || sync == "" {
		t.Fatalf("%d items in %d pages, sync token %q", len(items), pages, sync)
	}
	b.sim.Patch(studio, made[1], map[string]any{"summary": "Moved"})
	b.sim.Delete(studio, made[2])
	items, again, _ := all(t, b.api.Events.List(studio).SingleEvents(true).SyncToken(sync))
	if diff := cmp.Diff([]string{"cancelled " + made[2], "confirmed " + made[1]}, ids(items)); diff != "" {
		t.Error(diff)
	}
	for _, i := range items {
		if i.Status == "cancelled" && (i.Start != nil || i.Summary != "") {
			t.Error("a deleted event says more than its id")
		}
	}
	if items, _, _ = all(t, b.api.Events.List(studio).SingleEvents(true).SyncToken(again)); len(items) != 0 {
		t.Errorf("a quiet calendar tells %v", ids(items))
	}
}

func TestSyncTokenRefusesOtherQueriesAndIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, sync, _ := all(t, b.api.Events.List(studio).SingleEvents(true))
	for name, call := range map[string]*calendar.EventsListCall{
		"timeMin":      b.api.Events.List(studio).SingleEvents(true).SyncToken(sync).TimeMin(now.Format(time.RFC3339)),
		"orderBy":      b.api.Events.List(studio).SingleEvents(true).SyncToken(sync).OrderBy("updated"),
		"q":            b.api.Events.List(studio).SingleEvents(true).SyncToken(sync).Q("x"),
		"showDeleted":  b.api.Events.List(studio).SingleEvents(true).SyncToken(sync).ShowDeleted(false),
		"singleEvents": b.api.Events.List(studio).SyncToken(sync),
		"garbage":      b.api.Events.List(studio).SingleEvents(true).SyncToken("?"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call.Do()
			wantStatus(t, err, 400, "invalid")
		})
	}
	b.sim.ExpireTokens()
	_, err := b.api.Events.List(studio).SingleEvents(true).SyncToken(sync).Do()
	wantStatus(t, err, 410, "fullSyncRequired")
}

func TestCancelledHasThreeMeanings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	series := b.sim.Put(studio, map[string]any{"summary": "Class", "recurrence": []any{"RRULE:FREQ=WEEKLY;COUNT=3"},
		"start": map[string]any{"dateTime": "2027-03-02T18:00:00Z", "timeZone": "Europe/London"},
		"end":   map[string]any{"dateTime": "2027-03-02T19:00:00Z", "timeZone": "Europe/London"}})
	single := b.sim.Put(studio, timed("Fitting", now.AddDate(0, 0, 1), time.Hour))
	items, sync, _ := all(t, b.api.Events.List(studio).SingleEvents(true))
	if len(items) != 4 {
		t.Fatalf("%v", ids(items))
	}
	masters, masterSync, _ := all(t, b.api.Events.List(studio))
	if len(masters) != 2 {
		t.Fatalf("%v", ids(masters))
	}
	b.sim.Delete(studio, series+"_20270309T180000Z")
	b.sim.Delete(studio, single)
	items, sync, _ = all(t, b.api.Events.List(studio).SingleEvents(true).SyncToken(sync))
	if diff := cmp.Diff([]string{"cancelled " + series + "_20270309T180000Z", "cancelled " + single}, ids(items)); diff != "" {
		t.Error(diff)
	}
	for _, i := range items {
		if of := i.RecurringEventId != ""; of != (i.OriginalStartTime != nil) || of != (i.Id != single) {
			t.Errorf("%+v", i)
		}
	}
	masters, _, _ = all(t, b.api.Events.List(studio).SyncToken(masterSync))
	if len(masters) != 2 {
		t.Errorf("the series' list names %v", ids(masters))
	}
	b.sim.Delete(studio, series)
	items, _, _ = all(t, b.api.Events.List(studio).SingleEvents(true).SyncToken(sync))
	if diff := cmp.Diff([]string{"cancelled " + series + "_20270302T180000Z", "cancelled " + series + "_20270316T180000Z"}, ids(items)); diff != "" {
		t.Error(diff)
	}
}

func TestMovingASeriesNamesLostAndNewInstances(t *testing.T) {
	t.Parallel()
	b := setup(t)
	series := b.sim.Put(studio, map[string]any{"recurrence": []any{"RRULE:FREQ=DAILY;COUNT=2"},
		"start": map[string]any{"date": "2027-03-27"}, "end": map[string]any{"date": "2027-03-28"}})
	_, sync, _ := all(t, b.api.Events.List(studio).SingleEvents(true))
	b.sim.Patch(studio, series, map[string]any{"start": map[string]any{"date": "2027-03-28"}, "end": map[string]any{"date": "2027-03-29"}})
	items, _, _ := all(t, b.api.Events.List(studio).SingleEvents(true).SyncToken(sync))
	want := []string{"cancelled " + series + "_20270327", "confirmed " + series + "_20270328", "confirmed " + series + "_20270329"}
	if diff := cmp.Diff(want, ids(items)); diff != "" {
		t.Error(diff)
	}
}

func TestWritesAreConditionalAndIdsStayTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	in := event(now.AddDate(0, 0, 1))
	in.Id = "abcdefgh01"
	first, err := b.api.Events.Insert(studio, in).Do()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.api.Events.Insert(studio, in).Do()
	wantStatus(t, err, 409, "duplicate")
	bad := event(now)
	bad.Id = "WXYZ"
	_, err = b.api.Events.Insert(studio, bad).Do()
	wantStatus(t, err, 400, "invalid")
	empty := event(now)
	empty.End = empty.Start
	_, err = b.api.Events.Insert(studio, empty).Do()
	wantStatus(t, err, 400, "timeRangeEmpty")

	patch := b.api.Events.Patch(studio, in.Id, &calendar.Event{Summary: "Second"})
	patch.Header().Set("If-Match", first.Etag)
	second, err := patch.Do()
	if err != nil || second.Summary != "Second" || second.Start == nil || second.Etag == first.Etag {
		t.Fatalf("%+v, %v", second, err)
	}
	patch.Header().Set("If-Match", first.Etag)
	_, err = patch.Do()
	wantStatus(t, err, 412, "conditionNotMet")
	remove := b.api.Events.Delete(studio, in.Id)
	if err := remove.Do(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, remove.Do(), 410, "deleted")
	_, err = b.api.Events.Insert(studio, in).Do()
	wantStatus(t, err, 409, "duplicate")
	gone, err := b.api.Events.Get(studio, in.Id).Do()
	if err != nil || gone.Status != "cancelled" {
		t.Fatalf("%+v, %v", gone, err)
	}
	in.Status = "confirmed"
	if back, err := b.api.Events.Update(studio, in.Id, in).Do(); err != nil || back.Status != "confirmed" {
		t.Errorf("%+v, %v", back, err)
	}
	imported := event(now.AddDate(0, 0, 2))
	imported.ICalUID = "made-elsewhere@example.org"
	one, err := b.api.Events.Import(studio, imported).Do()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := b.api.Events.Import(studio, imported).Do(); err != nil || two.Id != one.Id {
		t.Errorf("a second import made another event: %v", err)
	}
}

func TestFreeBusyHidesTitlesAndRefusesLongSpans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sim.Put("team@example.org", timed("Secret", now.Add(time.Hour), time.Hour))
	b.sim.Put("team@example.org", timed("Secret", now.Add(2*time.Hour), time.Hour))
	free := timed("Open", now.Add(5*time.Hour), time.Hour)
	free["transparency"] = "transparent"
	b.sim.Put("team@example.org", free)
	ask := func(until time.Time) (*calendar.FreeBusyResponse, error) {
		return b.api.Freebusy.Query(&calendar.FreeBusyRequest{TimeMin: now.Format(time.RFC3339), TimeMax: until.Format(time.RFC3339),
			Items: []*calendar.FreeBusyRequestItem{{Id: "team@example.org"}, {Id: "nobody@example.org"}}}).Do()
	}
	res, err := ask(now.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	want := []*calendar.TimePeriod{{Start: "2027-03-01T10:00:00Z", End: "2027-03-01T12:00:00Z"}}
	if diff := cmp.Diff(want, res.Calendars["team@example.org"].Busy); diff != "" {
		t.Error(diff)
	}
	if e := res.Calendars["nobody@example.org"].Errors; len(e) != 1 || e[0].Reason != "notFound" {
		t.Errorf("%+v", e)
	}
	_, err = ask(now.AddDate(1, 0, 0))
	wantStatus(t, err, 400, "timeRangeTooLong")
	_, err = b.api.Events.List("team@example.org").Do()
	wantStatus(t, err, 403, "requiredAccessLevel")
}

func TestChannelsPostBeforeTheAnswerAndGoAstray(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var mu sync.Mutex
	var got []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); len(body) > 0 {
			t.Error("a message has a body")
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("X-Goog-Channel-ID")+" "+r.Header.Get("X-Goog-Resource-State")+" "+r.Header.Get("X-Goog-Message-Number")+" "+r.Header.Get("X-Goog-Channel-Token"))
	}))
	t.Cleanup(receiver.Close)
	took := func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := got
		got = nil
		return out
	}
	in := &calendar.Channel{Id: "one", Type: "web_hook", Address: receiver.URL, Token: "t", Expiration: now.AddDate(0, 1, 0).UnixMilli()}
	ch, err := b.api.Events.Watch(studio, in).Do()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one sync 1 t"}, took()); diff != "" {
		t.Error(diff)
	}
	if until := time.UnixMilli(ch.Expiration); !until.Equal(now.Add(7 * 24 * time.Hour)) {
		t.Errorf("the channel lives until %s", until)
	}
	_, err = b.api.Events.Watch(studio, in).Do()
	wantStatus(t, err, 400, "channelIdNotUnique")

	deliver := func(p googlesim.Pushes, n int) []string {
		b.sim.SetPushes(p)
		for range n {
			b.sim.Put(studio, timed("x", now.Add(time.Hour), time.Hour))
		}
		if _, err := b.sim.Deliver(context.Background()); err != nil {
			t.Fatal(err)
		}
		return took()
	}
	if diff := cmp.Diff([]string{"one exists 4 t", "one exists 7 t"}, deliver(googlesim.Pushes{}, 2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"one exists 13 t", "one exists 10 t"}, deliver(googlesim.Pushes{Reverse: true}, 2)); diff != "" {
		t.Error(diff)
	}
	if got := deliver(googlesim.Pushes{Drop: 1}, 2); len(got) != 0 {
		t.Errorf("dropped messages came: %v", got)
	}
	if got := deliver(googlesim.Pushes{Duplicate: true}, 1); len(got) != 2 || got[0] != got[1] {
		t.Errorf("%v", got)
	}
	stop := &calendar.Channel{Id: ch.Id, ResourceId: ch.ResourceId}
	if err := errors.Join(b.api.Channels.Stop(stop).Do(), b.api.Channels.Stop(stop).Do()); err != nil {
		t.Error(err)
	}
	if got := deliver(googlesim.Pushes{}, 1); len(got) != 0 {
		t.Errorf("a stopped channel posts: %v", got)
	}
	if got := deliver(googlesim.Pushes{AfterStop: true}, 1); len(got) != 1 {
		t.Errorf("a channel that goes on after its stop posts %v", got)
	}
}

func TestFaultsHaveTheShapesOfTheRealOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sim.SetFaults(googlesim.Faults{Status: 403, Reason: "rateLimitExceeded", RetryInMessage: time.Minute})
	_, err := b.api.Events.List(studio).Do()
	wantStatus(t, err, 403, "rateLimitExceeded")
	if !strings.Contains(err.Error(), "Retry after 2027-03-01T09:01:00.000Z") {
		t.Errorf("%v", err)
	}
	b.sim.SetFaults(googlesim.Faults{LoseAnswers: 1})
	if _, err := b.api.Events.Insert(studio, event(now)).Do(); err == nil || len(b.sim.Events(studio)) != 1 {
		t.Errorf("a lost answer: %v, %d events", err, len(b.sim.Events(studio)))
	}
	b.sim.Heal()
	b.sim.SetToken("another")
	_, err = b.api.Events.List(studio).Do()
	wantStatus(t, err, 401, "authError")
}

func TestSelectionLeavesTheRestOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := timed("Fitting", now, time.Hour)
	e["extendedProperties"] = map[string]any{"private": map[string]any{"a": "1"}, "shared": map[string]any{"b": "2"}}
	b.sim.Put(studio, e)
	page, err := b.api.Events.List(studio).Fields("kind,items(id,start/timeZone,extendedProperties/private)").Do()
	if err != nil || len(page.Items) != 1 {
		t.Fatal(err)
	}
	i := page.Items[0]
	if i.Summary != "" || i.Start.DateTime != "" || i.Start.TimeZone == "" || i.ExtendedProperties.Shared != nil || i.ExtendedProperties.Private["a"] != "1" {
		t.Errorf("%+v", i)
	}
}

func TestContractReportsWhatTheDiscoveryDocumentDoesNotKnow(t *testing.T) {
	t.Parallel()
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	var breaches []string
	h := doc.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"calendar#event","sequence":"many","invented":1}`)
	}), func(s string) { breaches = append(breaches, s) })
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/calendar/v3/calendars/x/events/y?maxAttendees=none&alien=1", ""},
		{"POST", "/calendar/v3/calendars/x/events?sendUpdates=sometimes", `{"summary":1,"start":{"dateTime":"noon"}}`},
		{"GET", "/calendar/v3/calendars/x/events/y?fields=id,nothing", ""},
		{"GET", "/calendar/v3/nowhere", ""},
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.target, strings.NewReader(c.body)))
	}
	for _, want := range []string{
		"maxAttendees: is no", "no parameter alien", "sendUpdates: must be one of", "body.summary is a float64", "body.start.dateTime is no",
		"fields/nothing does not exist", "is no method of the API", "body.sequence is a string", "body.invented does not exist",
	} {
		if !slices.ContainsFunc(breaches, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nobody said %q: %q", want, breaches)
		}
	}
	if !slices.Contains(doc.Scopes("calendar.events.list"), "https://www.googleapis.com/auth/calendar.events.readonly") {
		t.Error("the scopes of a method are not read")
	}
}
