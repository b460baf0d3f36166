package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

type bundle struct {
	sim *Server
	url string
	t   testing.TB
}

func setup(t testing.TB, opt Options) *bundle {
	opt.Token, opt.Now = "t", func() time.Time { return now }
	opt.Calendars = []Calendar{{Name: "c"}, {Name: "d"}, {Name: "e", ReadOnly: true}}
	s := New(opt)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() { s.Heal(); server.Close() })
	return &bundle{s, server.URL, t}
}

type object = map[string]any

// ask sends a request with headers given as "Name: value".
func (b *bundle) ask(method, path string, body any, headers ...string) (int, object, http.Header) {
	b.t.Helper()
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			b.t.Fatal(err)
		}
	}
	if !strings.HasPrefix(path, "http") {
		path = b.url + "/v1.0" + path
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, path, &in)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var out object
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			b.t.Fatalf("%s: %v", text, err)
		}
	}
	return res.StatusCode, out, res.Header
}

const immutable = `Prefer: IdType="ImmutableId"`

func (b *bundle) events() string { return "/me/calendars/" + b.sim.CalendarID("c") + "/events" }

func (b *bundle) view() string {
	return "/me/calendars/" + b.sim.CalendarID("c") + "/calendarView/delta?startDateTime=2027-03-01T00:00:00&endDateTime=2027-04-01T00:00:00Z"
}

// follow reads a delta to its end.
func (b *bundle) follow(link string) (rows []object, delta string) {
	b.t.Helper()
	for range 50 {
		status, page, _ := b.ask(http.MethodGet, link, nil, immutable)
		if status != http.StatusOK {
			b.t.Fatalf("status %d: %v", status, page)
		}
		for _, r := range page["value"].([]any) {
			rows = append(rows, r.(object))
		}
		if next, ok := page["@odata.nextLink"].(string); ok {
			link = next
			continue
		}
		return rows, page["@odata.deltaLink"].(string)
	}
	b.t.Fatal("a delta without end")
	return nil, ""
}

func codeOf(answer object) string {
	e, _ := answer["error"].(object)
	code, _ := e["code"].(string)
	return code
}

func day(d, hour int) time.Time { return time.Date(2027, time.March, d, hour, 0, 0, 0, time.UTC) }

func TestDeltaTellsRemovedForWhatIsOutsideItsWindowToo(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{PageSize: 2})
	var ids []string
	for n := range 5 {
		ids = append(ids, b.sim.Add("c", Event{Subject: "s", Start: day(2+n, 10), End: day(2+n, 11)}))
	}
	b.sim.Add("d", Event{Start: day(2, 10), End: day(2, 11)})
	rows, link := b.follow(b.view())
	if len(rows) != 5 {
		t.Fatalf("%d rows, want the 5 of this calendar over pages of 2", len(rows))
	}
	b.sim.Delete(ids[0])
	b.sim.Edit(ids[1], Event{Start: day(2, 10).AddDate(1, 0, 0), End: day(2, 11).AddDate(1, 0, 0)})
	b.sim.Add("c", Event{Start: day(2, 10).AddDate(2, 0, 0), End: day(2, 11).AddDate(2, 0, 0)})
	rows, _ = b.follow(link)
	removed := 0
	for _, r := range rows {
		if r["@removed"] != nil {
			removed++
		}
	}
	if len(rows) != 3 || removed != 3 {
		t.Errorf("%d rows, %d of them removed, want 3 and 3", len(rows), removed)
	}
}

func TestDeltaShowsBareOccurrencesAndAMasterOnItsFirstDate(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	id := b.sim.Add("c", Event{Subject: "s", Start: day(1, 18).AddDate(0, 0, -14), End: day(1, 19).AddDate(0, 0, -14), Repeat: Repeat{Days: 7, Count: 4}})
	rows, link := b.follow(b.view())
	for _, r := range rows {
		start := r["start"].(object)["dateTime"].(string)
		switch r["type"] {
		case "occurrence":
			if r["subject"] != nil || r["seriesMasterId"] != id || len(r) != 6 {
				t.Errorf("an occurrence is %v", r)
			}
		case "seriesMaster":
			if !strings.HasPrefix(start, "2027-02-15T18:00") {
				t.Errorf("the master is on %s", start)
			}
		default:
			t.Errorf("a row of type %v", r["type"])
		}
	}
	b.sim.DeleteOccurrence(id, "2027-03-08")
	if again, _ := b.follow(link); len(rows) != 3 || len(again) != 2 {
		t.Errorf("%d rows, then %d, want 3, and 2 after an occurrence was deleted", len(rows), len(again))
	}
}

func TestDeltaRefusesWhatGraphRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	for _, more := range []string{"&$select=id", "&$expand=x", "&$filter=x", "&$orderby=x", "&$search=x"} {
		if status, _, _ := b.ask(http.MethodGet, b.view()+more, nil); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", more, status)
		}
	}
	if status, _, _ := b.ask(http.MethodGet, strings.Split(b.view(), "?")[0], nil); status != http.StatusBadRequest {
		t.Errorf("no window: status %d", status)
	}
	if status, _, _ := b.ask(http.MethodGet, b.view(), nil, "Authorization: Bearer other"); status != http.StatusUnauthorized {
		t.Errorf("another token: status %d", status)
	}
}

func TestLostTokenIsToldInEachDialect(t *testing.T) {
	t.Parallel()
	for by, want := range map[Reset]struct {
		status int
		code   string
	}{ResetGone: {410, "SyncStateInvalid"}, ResetSyncState: {400, "syncStateNotFound"}, ResetNotFound: {404, "SyncStateNotFound"}} {
		b := setup(t, Options{ResetBy: by})
		_, link := b.follow(b.view())
		b.sim.ExpireTokens()
		status, answer, header := b.ask(http.MethodGet, link, nil)
		if status != want.status || codeOf(answer) != want.code || (by == ResetGone) != strings.HasSuffix(header.Get("Location"), "?$deltatoken=") {
			t.Errorf("%d: status %d %s, location %q", by, status, codeOf(answer), header.Get("Location"))
		}
	}
}

func TestIDsDifferWithoutThePreferenceAndOnlyImmutableOnesStay(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	id := b.sim.Add("c", Event{Start: day(2, 10), End: day(2, 11)})
	_, page, _ := b.ask(http.MethodGet, b.view(), nil)
	other := page["value"].([]any)[0].(object)["id"].(string)
	if other == id {
		t.Fatal("the id is the same without the preference")
	}
	if status, _, _ := b.ask(http.MethodGet, b.events()+"/"+other, nil); status != http.StatusOK {
		t.Errorf("by its mutable id: status %d", status)
	}
	b.sim.Rehouse(id)
	for _, c := range []struct {
		id     string
		header []string
		want   int
	}{{other, nil, 404}, {id, nil, 404}, {id, []string{immutable}, 200}, {other, []string{immutable}, 404}} {
		if status, _, _ := b.ask(http.MethodGet, b.events()+"/"+c.id, nil, c.header...); status != c.want {
			t.Errorf("after the move, %.10s with %v: status %d, want %d", c.id, c.header, status, c.want)
		}
	}
	if b.sim.WithoutImmutableIDs() == 0 {
		t.Error("requests without the preference are not counted")
	}
}

func wishAt(start, end, zone string) object {
	return object{"subject": "s", "start": object{"dateTime": start, "timeZone": zone}, "end": object{"dateTime": end, "timeZone": zone}}
}

func TestWritesAreConditionalAndRepeatsMakeNoSecondEvent(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	wish := wishAt("2027-03-02T10:00:00", "2027-03-02T11:00:00", "Europe/Paris")
	wish["transactionId"] = "tx"
	status, made, _ := b.ask(http.MethodPost, b.events(), wish, immutable)
	again, same, _ := b.ask(http.MethodPost, b.events(), wish, immutable)
	if status != 201 || again != 201 || made["id"] != same["id"] || b.sim.Count() != 1 {
		t.Fatalf("status %d and %d, %d events", status, again, b.sim.Count())
	}
	if made["originalStartTimeZone"] != "Romance Standard Time" || made["start"].(object)["dateTime"] != "2027-03-02T09:00:00.0000000" {
		t.Errorf("zone %v, start %v", made["originalStartTimeZone"], made["start"])
	}
	at := b.events() + "/" + made["id"].(string)
	etag := "If-Match: " + made["@odata.etag"].(string)
	if status, _, _ := b.ask(http.MethodPatch, at, object{"showAs": "free"}, immutable, etag); status != 200 {
		t.Errorf("patch: status %d", status)
	}
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		if status, answer, _ := b.ask(method, at, object{"showAs": "busy"}, immutable, etag); status != 412 || codeOf(answer) != "ErrorIrresolvableConflict" {
			t.Errorf("%s under the old ETag: status %d %s", method, status, codeOf(answer))
		}
	}
	if status, _, _ := b.ask(http.MethodDelete, at, nil, immutable); status != 204 {
		t.Errorf("delete: status %d", status)
	}
	if status, answer, _ := b.ask(http.MethodGet, at, nil, immutable); status != 404 || codeOf(answer) != "ErrorItemNotFound" {
		t.Errorf("get what is gone: status %d %s", status, codeOf(answer))
	}
	if status, _, _ := b.ask(http.MethodPost, "/me/calendars/"+b.sim.CalendarID("e")+"/events", wish); status != 403 {
		t.Errorf("read-only calendar: status %d", status)
	}
}

func TestWrongEventsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	allDay := func(start, end, zone, other string) object {
		w := wishAt(start, end, zone)
		w["isAllDay"] = true
		w["end"].(object)["timeZone"] = other
		return w
	}
	for name, wish := range map[string]object{
		"all day, not at midnight":   allDay("2027-03-02T10:00:00", "2027-03-03T00:00:00", "UTC", "UTC"),
		"all day, end not midnight":  allDay("2027-03-02T00:00:00", "2027-03-03T10:00:00", "UTC", "UTC"),
		"all day, no day":            allDay("2027-03-02T00:00:00", "2027-03-02T00:00:00", "UTC", "UTC"),
		"all day in two zones":       allDay("2027-03-02T00:00:00", "2027-03-03T00:00:00", "UTC", "Europe/Paris"),
		"end before start":           wishAt("2027-03-02T10:00:00", "2027-03-02T09:00:00", "UTC"),
		"unknown zone":               wishAt("2027-03-02T10:00:00", "2027-03-02T11:00:00", "Mars"),
		"no times":                   {"subject": "s"},
		"unknown word":               {"showAs": "maybe"},
		"property of no known form":  {"singleValueExtendedProperties": []object{{"id": "WedSync", "value": "x"}}},
		"date with offset, not wall": wishAt("2027-03-02T10:00:00Z", "2027-03-02T11:00:00Z", "UTC"),
	} {
		if status, _, _ := b.ask(http.MethodPost, b.events(), wish); status != 400 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if status, _, _ := b.ask(http.MethodPost, b.events(), allDay("2027-03-02T00:00:00", "2027-03-03T00:00:00", "Europe/Paris", "Europe/Paris")); status != 201 || b.sim.Count() != 1 {
		t.Errorf("a good day: status %d, %d events", status, b.sim.Count())
	}
}

func TestMarkedEventsAreFoundByFilter(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	const id = "String {35cd4ed0-317a-4b2c-bc1c-45253ef0f61d} Name Key"
	wish := wishAt("2027-03-02T10:00:00", "2027-03-02T11:00:00", "UTC")
	wish["singleValueExtendedProperties"] = []object{{"id": id, "value": "v1"}}
	_, made, _ := b.ask(http.MethodPost, b.events(), wish, immutable)
	if made["singleValueExtendedProperties"] != nil {
		t.Error("the answer to a POST shows extended properties")
	}
	for value, want := range map[string]int{"v1": 1, "v2": 0} {
		q := url.Values{"$filter": {fmt.Sprintf("singleValueExtendedProperties/any(ep: ep/id eq '%s' and ep/value eq '%s')", id, value)},
			"$expand": {"singleValueExtendedProperties($filter=id eq '" + id + "')"}}
		_, found, _ := b.ask(http.MethodGet, b.events()+"?"+q.Encode(), nil, immutable)
		rows := found["value"].([]any)
		if len(rows) != want || want == 1 && rows[0].(object)["singleValueExtendedProperties"] == nil {
			t.Errorf("%s: %v", value, rows)
		}
	}
	if status, _, _ := b.ask(http.MethodGet, b.events()+"?$filter=subject", nil); status != 400 {
		t.Errorf("another filter: status %d", status)
	}
}

func TestFifthRequestAtOnceIsThrottled(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	b.sim.SetFaults(Faults{Hang: true})
	var wg sync.WaitGroup
	statuses := make([]int, 5)
	results := make(chan int, 5)
	for i := range statuses {
		wg.Go(func() {
			statuses[i], _, _ = b.ask(http.MethodGet, "/me/calendars", nil)
			results <- statuses[i]
		})
	}
	if first := <-results; first != http.StatusTooManyRequests { // the other four are held
		t.Errorf("status %d", first)
	}
	b.sim.Heal()
	wg.Wait()
	good := 0
	for _, s := range statuses {
		if s == 200 {
			good++
		}
	}
	if good != 4 || b.sim.Peak() != 5 {
		t.Errorf("%d answered, peak %d", good, b.sim.Peak())
	}
}

func TestSubscriptionNeedsBothAddressesAndIsShortened(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{MaxSubscription: time.Hour})
	var asked []string
	var mu sync.Mutex
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		mu.Unlock()
		if r.URL.Path == "/wrong" {
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(echo.Close)
	wish := object{"changeType": "created,updated,deleted", "notificationUrl": echo.URL + "/a", "lifecycleNotificationUrl": echo.URL + "/wrong",
		"resource": b.events(), "expirationDateTime": now.Add(9 * time.Hour), "clientState": "s"}
	if status, _, _ := b.ask(http.MethodPost, "/subscriptions", wish); status != 400 || b.sim.Subscriptions() != 0 {
		t.Errorf("a lifecycle address that does not echo: status %d", status)
	}
	wish["lifecycleNotificationUrl"] = echo.URL + "/b"
	status, made, _ := b.ask(http.MethodPost, "/subscriptions", wish)
	if status != 201 || made["expirationDateTime"] != now.Add(time.Hour).Format(time.RFC3339) || len(asked) != 4 || asked[3] != "POST /b" {
		t.Errorf("status %d, %v, asked %v", status, made, asked)
	}
	if status, _, _ := b.ask(http.MethodPost, "/subscriptions", wish); status != 409 {
		t.Errorf("the same again: status %d", status)
	}
	_, list, _ := b.ask(http.MethodGet, "/subscriptions", nil)
	if rows := list["value"].([]any); len(rows) != 1 || rows[0].(object)["clientState"] != nil {
		t.Errorf("list is %v", list)
	}
	at := "/subscriptions/" + made["id"].(string)
	if status, _, _ := b.ask(http.MethodPatch, at, object{"expirationDateTime": now.Add(-time.Hour)}); status != 400 {
		t.Errorf("renewed into the past: status %d", status)
	}
	if status, _, _ := b.ask(http.MethodDelete, at, nil); status != 204 {
		t.Errorf("delete: status %d", status)
	}
	if status, _, _ := b.ask(http.MethodPatch, at, object{"expirationDateTime": now.Add(time.Hour)}); status != 404 {
		t.Errorf("renewed after its end: status %d", status)
	}
}
