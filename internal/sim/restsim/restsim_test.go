package restsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/sim/restsim"
)

var now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

func setup(t *testing.T, o restsim.Options, entries int) (*restsim.Server, string) {
	t.Helper()
	o.Now = func() time.Time { return now }
	sim := restsim.New(o)
	for range entries {
		sim.Add(restsim.Entry{Kind: "meeting", State: "booked", Starts: "2027-06-05T14:00:00Z", Ends: "2027-06-05T15:00:00Z"})
	}
	srv := httptest.NewServer(sim)
	t.Cleanup(func() { sim.Heal(); srv.Close() })
	return sim, srv.URL
}

func ask(t *testing.T, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestEachPagingTellsWhereTheNextPageIs(t *testing.T) {
	t.Parallel()
	for kind, want := range map[restsim.Paging]string{
		restsim.Page: `"pages":3`, restsim.Offset: `"has_more":true`, restsim.Cursor: `"next_cursor":"after-2"`,
		restsim.NextLink: `cursor=after-2\u0026limit=2"`, restsim.LinkHeader: `"id":"en00001"`, restsim.HAL: `"next":{"href":"/v1/entries?limit=2\u0026page=2"}`,
	} {
		_, url := setup(t, restsim.Options{Paging: kind}, 5)
		status, header, body := ask(t, http.MethodGet, url+"/v1/entries?limit=2", "")
		if status != http.StatusOK || !strings.Contains(body, want) || header.Get("Date") == "" {
			t.Errorf("%s: %d %s", kind, status, body)
		}
		if kind == restsim.LinkHeader && (!strings.Contains(header.Get("Link"), `page=2>; title="further, \"more\""; rel="prefetch next"`) || header.Get("X-Total-Count") != "5") {
			t.Errorf("headers %v", header)
		}
	}
}

func TestWritesAreRepeatableAndVersioned(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, restsim.Options{Token: "t"}, 0)
	auth := []string{"Authorization", "Bearer t", "Idempotency-Key", "k"}
	if status, _, _ := ask(t, http.MethodGet, url+"/v1/me", ""); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	body := `{"kind":"hold","state":"booked","starts_at":"2027-06-05T14:00:00Z","ends_at":"2027-06-05T15:00:00Z"}`
	_, _, one := ask(t, http.MethodPost, url+"/v1/entries", body, auth...)
	_, _, two := ask(t, http.MethodPost, url+"/v1/entries", body, auth...)
	if one != two || len(sim.All()) != 1 {
		t.Errorf("%s\n%s", one, two)
	}
	var e restsim.Entry
	if err := json.Unmarshal([]byte(one), &e); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]int{"7": http.StatusPreconditionFailed, "1": http.StatusOK} {
		status, _, _ := ask(t, http.MethodPatch, url+"/v1/entries/"+e.ID, `{"name":"n"}`, append([]string{"If-Match", version}, auth...)...)
		if version == "7" && status != want {
			t.Errorf("If-Match %s: %d", version, status)
		}
	}
	if got, _ := sim.Get(e.ID); got.Name != "n" || got.Version != 2 || got.Starts != e.Starts {
		t.Errorf("%+v", got)
	}
	if status, _, _ := ask(t, http.MethodDelete, url+"/v1/entries/"+e.ID, "", auth...); status != http.StatusOK {
		t.Errorf("remove: %d", status)
	}
	if status, _, _ := ask(t, http.MethodGet, url+"/v1/entries/"+e.ID, "", auth...); status != http.StatusNotFound {
		t.Errorf("removed: %d", status)
	}
}

func TestChangesSinceATimeHoldRemovalsWhereTheSystemKeepsThem(t *testing.T) {
	t.Parallel()
	for _, tombstones := range []bool{false, true} {
		sim, url := setup(t, restsim.Options{Tombstones: tombstones}, 3)
		sim.Remove("en00001")
		_, _, body := ask(t, http.MethodGet, url+"/v1/entries?updated_since=2027-03-01T09:00:04Z", "")
		if strings.Contains(body, "en00001") != tombstones || strings.Contains(body, "en00002") {
			t.Errorf("tombstones %t: %s", tombstones, body)
		}
		if _, _, body := ask(t, http.MethodGet, url+"/v1/entries", ""); strings.Contains(body, "en00001") {
			t.Errorf("a removed entry is listed: %s", body)
		}
	}
}

func TestFaultsHappenAsOftenAsAskedFor(t *testing.T) {
	t.Parallel()
	sim, url := setup(t, restsim.Options{}, 25)
	for fault, want := range map[restsim.Fault]int{restsim.FaultUnauthorized: 401, restsim.FaultRateLimit: 429, restsim.FaultRateLimitMute: 429, restsim.FaultSoftLimit: 200,
		restsim.FaultServerError: 503, restsim.FaultCursorExpired: 410} {
		sim.Break(fault, 1)
		status, header, _ := ask(t, http.MethodGet, url+"/v1/entries?page=2", "")
		if status != want || (header.Get("Retry-After") != "") != (fault == restsim.FaultRateLimit || fault == restsim.FaultServerError) {
			t.Errorf("%s: %d %v", fault, status, header)
		}
		if status, _, _ := ask(t, http.MethodGet, url+"/v1/entries?page=2", ""); status != http.StatusOK {
			t.Errorf("after %s: %d", fault, status)
		}
	}
	first := func(page int) string {
		_, _, body := ask(t, http.MethodGet, fmt.Sprint(url, "/v1/entries?limit=5&page=", page), "")
		_, after, _ := strings.Cut(body, `"id":"`)
		return after[:7]
	}
	for fault, want := range map[restsim.Fault]string{restsim.FaultMissingPage: "en00011", restsim.FaultDuplicatePage: "en00001"} {
		sim.Break(fault, 1)
		if got := first(2); got != want {
			t.Errorf("%s: page 2 begins with %s", fault, got)
		}
	}
	sim.Break(restsim.FaultShrink, 1)
	if got := first(2); got != "en00007" || len(sim.All()) != 24 {
		t.Errorf("after an entry went, page 2 begins with %s", got)
	}
}
