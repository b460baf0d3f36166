package caldavsim_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"

	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

const resource = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Other//EN\r\nBEGIN:VEVENT\r\nUID:one\r\nDTSTAMP:20270101T000000Z\r\n" +
	"DTSTART:20270605T130000Z\r\nDTEND:20270605T140000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

func setup(t *testing.T, opt caldavsim.Options) (*caldavsim.Server, string) {
	t.Helper()
	opt.Calendars = []caldavsim.Calendar{{Name: "weddings"}, {Name: "holidays", ReadOnly: true}}
	sim := caldavsim.New(opt)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() { sim.Heal(); server.Close() })
	return sim, server.URL
}

func do(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestClientOfAnotherHandWorksWithIt(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, caldavsim.Options{Username: "studio", Password: "pw"})
	client, err := caldav.NewClient(webdav.HTTPClientWithBasicAuth(http.DefaultClient, "studio", "pw"), url)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	principal, err := client.FindCurrentUserPrincipal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	home, err := client.FindCalendarHomeSet(ctx, principal)
	if err != nil {
		t.Fatal(err)
	}
	calendars, err := client.FindCalendars(ctx, home)
	if err != nil || len(calendars) != 2 || calendars[1].Path != sim.CalendarPath("weddings") {
		t.Fatalf("calendars %+v, %v", calendars, err)
	}
	cal, err := ical.NewDecoder(strings.NewReader(resource)).Decode()
	if err != nil {
		t.Fatal(err)
	}
	at := sim.CalendarPath("weddings") + "one.ics"
	if _, err := client.PutCalendarObject(ctx, at, cal); err != nil {
		t.Fatal(err)
	}
	got, err := client.MultiGetCalendar(ctx, sim.CalendarPath("weddings"), &caldav.CalendarMultiGet{Paths: []string{at},
		CompRequest: caldav.CalendarCompRequest{Name: "VCALENDAR", AllProps: true, AllComps: true}})
	if err != nil || len(got) != 1 || got[0].Path != at || got[0].ETag == "" {
		t.Errorf("multiget %+v, %v", got, err)
	}
}

func TestConditionsDecideOverWrites(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, caldavsim.Options{})
	at := url + sim.CalendarPath("weddings") + "one.ics"
	put := func(header ...string) int {
		status, _, _ := do(t, http.MethodPut, at, resource, append(header, "Content-Type", "text/calendar")...)
		return status
	}
	steps := []struct {
		name      string
		got, want int
	}{
		{"create", put("If-None-Match", "*"), 201},
		{"create again", put("If-None-Match", "*"), 412},
		{"change a stale one", put("If-Match", `"other"`), 412},
		{"change", put("If-Match", sim.Events("weddings")[0].ETag), 204},
	}
	status, _, _ := do(t, http.MethodDelete, at, "", "If-Match", `"other"`)
	steps = append(steps, struct {
		name      string
		got, want int
	}{"delete a stale one", status, 412})
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: status %d, want %d", s.name, s.got, s.want)
		}
	}
	twin := strings.Replace(at, "one.ics", "two.ics", 1)
	if status, _, body := do(t, http.MethodPut, twin, resource, "Content-Type", "text/calendar"); status != 409 || !strings.Contains(body, "no-uid-conflict") {
		t.Errorf("a UID twice: status %d, %s", status, body)
	}
	if status, _, _ := do(t, http.MethodPut, url+sim.CalendarPath("holidays")+"a.ics", resource, "Content-Type", "text/calendar"); status != 403 {
		t.Errorf("a write to a read-only calendar: status %d", status)
	}
	if status, _, _ := do(t, http.MethodPut, twin, "DTSTART;X=Y", "Content-Type", "text/calendar"); status != 403 {
		t.Errorf("a write of nonsense: status %d", status)
	}
}

func TestSyncTokensTellChangesRemovalsAndTruncation(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, caldavsim.Options{PageLimit: 2})
	calendar := url + sim.CalendarPath("weddings")
	report := func(token string) (int, string) {
		status, _, body := do(t, "REPORT", calendar, `<sync-collection xmlns="DAV:"><sync-token>`+token+`</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>`, "Content-Type", "application/xml")
		return status, body
	}
	tokenIn := func(body string) string {
		from := strings.Index(body, "data:,")
		return body[from : from+strings.Index(body[from:], "<")]
	}
	for _, name := range []string{"a", "b", "c"} {
		sim.PutEvent("weddings", name+".ics", strings.Replace(resource, "UID:one", "UID:"+name, 1))
	}
	_, first := report("")
	if !strings.Contains(first, "507") || strings.Contains(first, "c.ics") {
		t.Errorf("the first answer is not cut: %s", first)
	}
	_, second := report(tokenIn(first))
	if strings.Contains(second, "507") || !strings.Contains(second, "c.ics") {
		t.Errorf("the second answer does not go on: %s", second)
	}
	sim.DeleteEvent(sim.CalendarPath("weddings") + "a.ics")
	if _, body := report(tokenIn(second)); !strings.Contains(body, "a.ics") || !strings.Contains(body, "404") {
		t.Errorf("the removal is not told: %s", body)
	}
	sim.ExpireTokens()
	if status, body := report(tokenIn(second)); status != 403 || !strings.Contains(body, "valid-sync-token") {
		t.Errorf("an expired token: status %d, %s", status, body)
	}
}

func TestFaultsEndWithHeal(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, caldavsim.Options{})
	at := url + sim.PutEvent("weddings", "one.ics", resource)
	sim.SetFaults(caldavsim.Faults{Status: 429})
	if status, _, _ := do(t, http.MethodGet, at, ""); status != 429 {
		t.Errorf("status %d, want 429", status)
	}
	sim.SetFaults(caldavsim.Faults{Hang: true})
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, _, body := do(t, http.MethodGet, at, ""); status != 200 || !bytes.Equal([]byte(body), []byte(resource)) {
			t.Errorf("a request that was held: status %d", status)
		}
	})
	sim.Heal()
	wg.Wait()
}
