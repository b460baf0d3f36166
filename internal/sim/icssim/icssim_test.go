package icssim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/sim/icssim"
)

func get(t *testing.T, url string, header ...string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
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
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestValidatorsChangeWithEachContentAndOnlyThen(t *testing.T) {
	t.Parallel()
	sim := icssim.New(func() time.Time { return time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC) })
	server := httptest.NewServer(sim.Handler())
	defer server.Close()
	sim.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z")
	status, h, body := get(t, server.URL+"/x.ics")
	if status != 200 || !strings.Contains(body, "UID:a\r\nSUMMARY:One\r\n") || !strings.HasSuffix(body, "END:VCALENDAR\r\n") {
		t.Fatalf("%d %s", status, body)
	}
	for _, condition := range [][]string{{"If-None-Match", h.Get("ETag")}, {"If-Modified-Since", h.Get("Last-Modified")}} {
		if status, _, body := get(t, server.URL+"/x.ics", condition...); status != 304 || body != "" {
			t.Errorf("%s: %d %s", condition[0], status, body)
		}
	}
	sim.Put("a", "SUMMARY:Two", "DTSTART:20270605T100000Z")
	for _, condition := range [][]string{{"If-None-Match", h.Get("ETag")}, {"If-Modified-Since", h.Get("Last-Modified")}} {
		if status, _, _ := get(t, server.URL+"/x.ics", condition...); status != 200 {
			t.Errorf("%s after a change: %d", condition[0], status)
		}
	}
	if all, unsent := sim.Requests(); all != 5 || unsent != 2 {
		t.Errorf("%d requests, %d answered by 304", all, unsent)
	}
	sim.SetFaults(icssim.Faults{Half: true})
	if _, _, body := get(t, server.URL+"/x.ics"); strings.Contains(body, "END:VCALENDAR") {
		t.Error("half a feed has an end")
	}
	if status, _, _ := get(t, server.URL+"/other"); status != 404 {
		t.Errorf("another path: %d", status)
	}
}
