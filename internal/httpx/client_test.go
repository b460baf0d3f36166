package httpx

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestStatusBecomesKind(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscan(r.URL.Query().Get("status"), &status)
		w.Header().Set("X-Request-Id", "vendor-17")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		if status != 204 && status != 304 {
			_, _ = io.WriteString(w, "hush Perrin")
		}
	})
	c := newClient(t, Options{Allow: AllowPrivate})
	for status, want := range map[int]domain.ErrorKind{
		200: "", 201: "", 204: "", 207: "", 304: "",
		300: domain.KindPermanent, 301: domain.KindPermanent, 302: domain.KindPermanent, 303: domain.KindPermanent, 307: domain.KindPermanent, 308: domain.KindPermanent,
		400: domain.KindPermanent, 401: domain.KindUnauthenticated, 403: domain.KindForbidden, 404: domain.KindNotFound,
		405: domain.KindPermanent, 408: domain.KindUnavailable, 409: domain.KindConflict, 410: domain.KindNotFound,
		412: domain.KindConflict, 413: domain.KindPermanent, 422: domain.KindPermanent, 423: domain.KindUnavailable, 425: domain.KindUnavailable,
		429: domain.KindRateLimited, 500: domain.KindUnavailable, 502: domain.KindUnavailable, 503: domain.KindUnavailable, 504: domain.KindUnavailable, 507: domain.KindUnavailable,
	} {
		res, err := c.Do(request(t, "GET", fmt.Sprintf("%s/mailbox/Perrin?token=hush&status=%d", srv.URL, status), ""))
		if got := domain.KindOf(err); got != want {
			t.Errorf("%d: %v, want %q", status, err, want)
		}
		noLeak(t, err)
		if res == nil || res.Status != status || res.RequestID != "vendor-17" {
			t.Fatalf("%d: response %+v", status, res)
		}
		if err != nil {
			if StatusOf(err) != status || !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.Contains(err.Error(), "GET 127.0.0.1") {
				t.Errorf("%d: %v", status, err)
			}
			if string(res.Body) != "hush Perrin" {
				t.Errorf("%d: the vendor's explanation is lost: %q", status, res.Body)
			}
		}
		if gone := domain.KindOf(GoneToken(err)); (status == 410) != (gone == domain.KindGoneToken) || (status != 410 && gone != want) {
			t.Errorf("%d: GoneToken gives %q", status, gone)
		}
	}
	if StatusOf(nil) != 0 || StatusOf(io.EOF) != 0 || GoneToken(nil) != nil || GoneToken(io.EOF) != io.EOF {
		t.Error("helpers make something of other errors")
	}
}

func TestRetryAfterIsReadAndBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscan(r.Header.Get("Want-Status"), &status)
		w.Header().Set("Retry-After", r.Header.Get("Want-Wait"))
		w.Header()["Date"] = nil // then our clock counts
		w.WriteHeader(status)
	})
	c := newClient(t, Options{Allow: AllowPrivate, Now: func() time.Time { return now }})
	for _, x := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "30", 30 * time.Second},
		{503, "30", 30 * time.Second},
		{502, "5", 5 * time.Second},
		{429, "3600", time.Hour},
		{429, "3601", time.Hour},
		{429, "9223372036854775807", time.Hour},
		{429, "99999999999999999999999999", time.Hour},
		{429, "0", 0},
		{429, "-5", 0},
		{429, "", 0},
		{429, "soon", 0},
		{429, "1.5", 0},
		{429, now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{503, now.Add(48 * time.Hour).Format(http.TimeFormat), time.Hour},
		{503, now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{403, "30", 0},
	} {
		req := request(t, "GET", srv.URL, "")
		req.Header.Set("Want-Status", fmt.Sprint(x.status))
		req.Header.Set("Want-Wait", x.value)
		_, err := c.Do(req)
		if got := domain.RetryAfter(err); got != x.want {
			t.Errorf("%d %q: %s, want %s (%v)", x.status, x.value, got, x.want, err)
		}
		if x.status == 429 && domain.KindOf(err) != domain.KindRateLimited || x.status == 503 && domain.KindOf(err) != domain.KindUnavailable {
			t.Errorf("%d %q: kind lost: %v", x.status, x.value, err)
		}
	}
}

// TestRetryAfterAsADateIsOneOfTheServersClock counts with servers whose clock is minutes off.
func TestRetryAfterAsADateIsOneOfTheServersClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	var theirs atomic.Pointer[time.Time]
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", theirs.Load().Format(http.TimeFormat))
		w.Header().Set("Retry-After", theirs.Load().Add(40*time.Second).Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := newClient(t, Options{Allow: AllowPrivate, Now: func() time.Time { return now }})
	for _, ahead := range []time.Duration{0, 11 * time.Minute, -11 * time.Minute} {
		at := now.Add(ahead)
		theirs.Store(&at)
		_, err := c.Do(request(t, "GET", srv.URL, ""))
		if got := domain.RetryAfter(err); got != 40*time.Second {
			t.Errorf("a server whose clock is ahead by %s: %s (%v)", ahead, got, err)
		}
	}
}
func TestRequestIDIsKeptOnlyWhenHarmless(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{}, ""},
		{http.Header{"X-Request-Id": {"a"}, "Cf-Ray": {"b"}}, "a"},
		{http.Header{"Request-Id": {"graph"}}, "graph"},
		{http.Header{"X-Apple-Request-Uuid": {"icloud"}}, "icloud"},
		{http.Header{"X-Request-Id": {"a b"}, "Cf-Ray": {"ray"}}, "ray"},
		{http.Header{"X-Request-Id": {strings.Repeat("x", 129)}}, ""},
		{http.Header{"X-Request-Id": {"é"}}, ""},
	} {
		if got := requestID(x.header); got != x.want {
			t.Errorf("%v: %q", x.header, got)
		}
	}
	for _, name := range requestIDHeaders {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not canonical and never found", name)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"Timeouts.Dial: -1s":    {Timeouts: Timeouts{Dial: -time.Second}},
		"Timeouts.Total: -1ns":  {Timeouts: Timeouts{Total: -1}},
		"MaxBody: -1":           {MaxBody: -1},
		"MaxConnsPerHost: -1":   {MaxConnsPerHost: -1},
		"PerHost: rate":         {PerHost: Rate{PerSecond: -1}},
		"PerHost: rate and":     {PerHost: Rate{PerSecond: math.NaN()}},
		"Allow: unknown":        {Allow: 7},
		"PerHost: rate and bur": {PerHost: Rate{Burst: -1}},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), want) || domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"1", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 20 Jun 2026 12:00:30 GMT", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 || d > MaxRetryAfter {
			t.Fatalf("%q: %s", s, d)
		}
	})
}

func TestTheVendorsRequestIDIsToldWithTheFailure(t *testing.T) {
	t.Parallel()
	id := ""
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", id)
		w.WriteHeader(http.StatusBadGateway)
	})
	c := newClient(t, Options{Allow: AllowPrivate})
	for _, x := range []struct{ id, want string }{
		{"7f4c-11:a/b_c+d=.9", "7f4c-11:a/b_c+d=.9"}, {"", ""}, {"ann@example.test-1", ""}, {"Ann Smith 1", ""}, {"no-number-at-all", ""}, {strings.Repeat("1", 101), ""},
	} {
		id = x.id
		_, err := c.Do(request(t, "GET", srv.URL, ""))
		told := x.want != "" && strings.Contains(err.Error(), x.want)
		if RequestIDOf(err) != x.want || told != (x.want != "") || x.want == "" && strings.Contains(err.Error(), "request id") {
			t.Errorf("id %q: %q, %v", x.id, RequestIDOf(err), err)
		}
	}
}
