package httpx

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// serveTLS returns a server and the pool that trusts it.
func serveTLS(t *testing.T, h http.HandlerFunc) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the point of some tests
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv, pool
}

func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// noLeak fails when an error text holds a part of the URL behind the host, a credential or a body.
func noLeak(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, word := range []string{"Perrin", "hush", "mailbox", "token=", "/"} {
		if strings.Contains(err.Error(), word) {
			t.Errorf("error shows %q: %v", word, err)
		}
	}
}

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

func TestBodyIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, 1000))
		case "/over":
			_, _ = w.Write(make([]byte, 1001))
		case "/over-chunked":
			w.(http.Flusher).Flush()
			_, _ = w.Write(make([]byte, 1001))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			_, _ = zip.Write(make([]byte, 1<<20))
			_ = zip.Close()
		case "/error-over":
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write(make([]byte, 5000))
		case "/cut":
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, "Perrin")
		case "/cut-chunked":
			_, _ = io.WriteString(w, "Perrin")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/cut-zip":
			w.Header().Set("Content-Encoding", "gzip")
			var buf bytes.Buffer
			zip := gzip.NewWriter(&buf)
			_, _ = io.WriteString(zip, strings.Repeat("Perrin", 50))
			_ = zip.Close()
			_, _ = w.Write(buf.Bytes()[:buf.Len()-4])
		}
	})
	c := newClient(t, Options{Allow: AllowPrivate, MaxBody: 1000})
	for path, want := range map[string]domain.ErrorKind{
		"/exact": "", "/over": domain.KindTooLarge, "/over-chunked": domain.KindTooLarge, "/bomb": domain.KindTooLarge,
		"/error-over": domain.KindConflict, "/cut": domain.KindUnavailable, "/cut-chunked": domain.KindUnavailable, "/cut-zip": domain.KindUnavailable,
	} {
		res, err := c.Do(request(t, "GET", srv.URL+path, ""))
		if domain.KindOf(err) != want {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		noLeak(t, err)
		if want == domain.KindTooLarge && !strings.Contains(err.Error(), "1000 bytes") {
			t.Errorf("%s: limit not named: %v", path, err)
		}
		if res == nil {
			t.Fatalf("%s: no response", path)
		}
		if wantLen := map[bool]int{true: 1000}[path == "/exact"]; len(res.Body) != wantLen {
			t.Errorf("%s: %d bytes of body", path, len(res.Body))
		}
	}
}

func TestALongAnswerIsReadAsItComesUpToItsLimit(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			w.WriteHeader(http.StatusForbidden)
		case "/cut":
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, "twelve bytes")
	})
	c := newClient(t, Options{Allow: AllowPrivate, MaxBody: 5})
	own := errors.New("an error of the reader")
	for _, tt := range []struct {
		path  string
		limit int64
		fails error
		kind  domain.ErrorKind
		got   string
	}{
		{"/", 12, nil, "", "twelve bytes"},
		{"/", 11, nil, domain.KindTooLarge, ""},
		{"/", 12, own, domain.KindInternal, "twelve bytes"},
		{"/cut", 100, nil, domain.KindUnavailable, "twelve bytes"},
		{"/cut", 100, own, domain.KindUnavailable, "twelve bytes"},
	} {
		var got bytes.Buffer
		res, err := c.DoRead(request(t, http.MethodGet, srv.URL+tt.path, ""), tt.limit, func(r io.Reader) error {
			// What the reader makes of a fault does not matter.
			if _, err := got.ReadFrom(r); err != nil && tt.fails == nil {
				return nil
			}
			return tt.fails
		})
		if domain.KindOf(err) != tt.kind || res == nil || res.Body != nil || tt.got != "" && got.String() != tt.got {
			t.Errorf("%s up to %d: %q, %v, want %q and kind %q", tt.path, tt.limit, got.String(), err, tt.got, tt.kind)
		}
		if tt.kind == domain.KindInternal && !errors.Is(err, own) {
			t.Errorf("%v, want the reader's own error", err)
		}
	}
	res, err := c.DoRead(request(t, http.MethodGet, srv.URL+"/refused", ""), 100, func(io.Reader) error {
		t.Error("the body of a refusal is handed over")
		return nil
	})
	if domain.KindOf(err) != domain.KindForbidden || res == nil || res.Status != http.StatusForbidden {
		t.Errorf("refusal: %v", err)
	}
}

func TestSilenceTimesOutInEveryPhase(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	short := 50 * time.Millisecond
	for _, x := range []struct {
		name string
		url  string
		t    Timeouts
	}{
		{"header", srv.URL + "/header", Timeouts{Header: short}},
		{"total before the header", srv.URL + "/header", Timeouts{Total: short}},
		{"total in the body", srv.URL + "/body", Timeouts{Total: short}},
		{"handshake", "https://" + mute.Addr().String(), Timeouts{TLS: short}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, Options{Allow: AllowPrivate, Timeouts: x.t}).Do(request(t, "GET", x.url+"?token=hush", ""))
			if domain.KindOf(err) != domain.KindUnavailable || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "timed out") {
				t.Errorf("%v", err)
			}
			noLeak(t, err)
		})
	}
}

func TestCallerGivingUpIsToldApart(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := newClient(t, Options{Allow: AllowPrivate}).Do(request(t, "GET", srv.URL, "").WithContext(ctx))
	if !errors.Is(err, context.Canceled) || domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("%v", err)
	}
}

func TestBrokenConnectionsAreUnavailableAndTellNothingOfTheAnswer(t *testing.T) {
	t.Parallel()
	listen := func(answer string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				buf := make([]byte, 1024)
				_, _ = conn.Read(buf)
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}()
		return l.Addr().String()
	}
	trusted, pool := serveTLS(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(trusted.Listener.Addr().String())
	for _, x := range []struct {
		name, url, want string
		pool            *x509.CertPool
	}{
		// A port that was just closed may be given to somebody else at once; the first one is never given.
		{"nobody listens", "http://127.0.0.1:1", "connection refused", nil},
		{"closed without an answer", "http://" + listen(""), "connection broke", nil},
		{"not HTTP", "http://" + listen("Perrin hush\r\n\r\n"), "connection broke", nil},
		{"malformed header", "http://" + listen("HTTP/1.1 200 OK\r\nPerrin hush\r\n\r\n"), "connection broke", nil},
		{"endless header", "http://" + listen("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("Perrin", 30_000)), "connection broke", nil},
		{"plain text on a TLS port", "https://" + listen("HTTP/1.1 200 OK\r\n\r\n"), "", nil},
		{"untrusted certificate", trusted.URL, "not from a trusted authority", nil},
		{"certificate of another host", "https://localhost:" + port, "for another host", pool},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "POST", x.url+"/mailbox?token=hush", "Perrin")
			req.Header.Set("Authorization", "Bearer hush")
			_, err := newClient(t, Options{Allow: AllowPrivate, RootCAs: x.pool}).Do(req)
			if domain.KindOf(err) != domain.KindUnavailable || !strings.Contains(err.Error(), x.want) || !strings.HasPrefix(err.Error(), "POST ") {
				t.Errorf("%v", err)
			}
			noLeak(t, err)
			if x.name == "nobody listens" && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("cause lost: %v", err)
			}
		})
	}
}

func TestInwardNamesAndAddressesAreNotReached(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	srv, pool := serveTLS(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	c := newClient(t, Options{RootCAs: pool})
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0.0.0.0", "2130706433", "0x7f.1"} {
		_, err := c.Do(request(t, "GET", "https://"+host+":"+port+"/mailbox?token=hush", ""))
		// Odd spellings are names to the resolver: not found is as good as refused.
		if err == nil || (!errors.Is(err, ErrAddress) && !strings.Contains(err.Error(), "host name")) {
			t.Errorf("%s: %v", host, err)
		}
		noLeak(t, err)
	}
	if _, err := c.Do(request(t, "GET", "https://localhost:"+port, "")); !errors.Is(err, ErrAddress) || domain.KindOf(err) != domain.KindPermanent {
		t.Errorf("a name that points inwards: %v", err)
	}
	if _, err := c.Do(request(t, "GET", "http://example.com", "")); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("plain http: %v", err)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests arrived", hits.Load())
	}
	if c.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy could make the connection instead")
	}
	if res, err := newClient(t, Options{RootCAs: pool, Allow: AllowPrivate}).Do(request(t, "GET", srv.URL, "")); err != nil || res.Status != 200 {
		t.Errorf("allowed for development: %v", err)
	}
}

func TestDoNeverFollowsRedirects(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Location", "/mailbox?token=hush")
		w.WriteHeader(http.StatusFound)
	})
	res, err := newClient(t, Options{Allow: AllowPrivate}).Do(request(t, "GET", srv.URL, ""))
	if hits.Load() != 1 || res.Status != 302 || res.Header.Get("Location") == "" || domain.KindOf(err) != domain.KindPermanent {
		t.Errorf("%d hits, %+v, %v", hits.Load(), res, err)
	}
	noLeak(t, err)
}

func TestDoFollowKeepsMethodBodyAndCredentialsWhereAllowed(t *testing.T) {
	t.Parallel()
	type seen struct{ Host, Method, Path, Auth, Depth, Body string }
	var got []seen // requests of this test come one after another
	record := func(name string, next func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = append(got, seen{name, r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Depth"), string(body)})
			next(w, r)
		}
	}
	other := serve(t, record("other", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMultiStatus) }))
	first := serve(t, record("first", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/caldav" {
			w.Header().Set("Location", "../dav/")
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Location", other.URL+"/principal#part")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	req := request(t, "PROPFIND", first.URL+"/.well-known/caldav", "<propfind/>")
	req.Header.Set("Authorization", "Basic hush")
	req.Header.Set("Depth", "0")
	c := newClient(t, Options{Allow: AllowPrivate})
	res, err := c.DoFollow(req, 3, func(u *url.URL) bool { return "http://"+u.Host == other.URL })
	if err != nil || res.Status != 207 || res.URL.String() != other.URL+"/principal" {
		t.Fatalf("%+v, %v", res, err)
	}
	want := []seen{
		{"first", "PROPFIND", "/.well-known/caldav", "Basic hush", "0", "<propfind/>"},
		{"first", "PROPFIND", "/dav/", "Basic hush", "0", "<propfind/>"},
		{"other", "PROPFIND", "/principal", "Basic hush", "0", "<propfind/>"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	req = request(t, "PROPFIND", first.URL+"/dav/", "<propfind/>")
	req.Header.Set("Authorization", "Basic hush")
	res, err = c.DoFollow(req, 3, nil)
	if len(got) != 1 || got[0].Host != "first" {
		t.Errorf("a host that is not allowed was asked: %+v", got)
	}
	if domain.KindOf(err) != domain.KindPermanent || !strings.Contains(err.Error(), "not allowed") || res.Status != 307 || StatusOf(err) != 307 {
		t.Errorf("%+v, %v", res, err)
	}
	noLeak(t, err)
}

func TestDoFollowRefusesWhatCouldLeadAstray(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("plain http was asked") })
	var hits atomic.Int32
	srv, pool := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		status := http.StatusMovedPermanently
		switch r.URL.Path {
		case "/loop":
			w.Header().Set("Location", "/loop")
		case "/plain":
			w.Header().Set("Location", plain.URL)
		case "/user":
			w.Header().Set("Location", "https://hush:Perrin@"+r.Host+"/")
		case "/two":
			w.Header()["Location"] = []string{"/a", "/b"}
		case "/none":
		case "/malformed":
			w.Header().Set("Location", "https://[::Perrin")
		case "/scheme":
			w.Header().Set("Location", "file:///etc/passwd")
		case "/see-other":
			w.Header().Set("Location", "/ok")
			status = http.StatusSeeOther
		case "/metadata":
			w.Header().Set("Location", "https://169.254.169.254/latest")
		}
		w.WriteHeader(status)
	})
	c := newClient(t, Options{Allow: AllowPrivate, RootCAs: pool})
	for _, x := range []struct {
		path, want string
		kind       domain.ErrorKind
		hits       int32
	}{
		{"/loop", "more redirects than allowed", domain.KindPermanent, 4},
		{"/plain", "target is not https", domain.KindPermanent, 1},
		{"/user", "target names a user", domain.KindPermanent, 1},
		{"/two", "no single Location", domain.KindPermanent, 1},
		{"/none", "no single Location", domain.KindPermanent, 1},
		{"/malformed", "", domain.KindUnavailable, 1},
		{"/scheme", "target is not https", domain.KindPermanent, 1},
		{"/see-other", "303 asks for another method", domain.KindPermanent, 1},
		{"/metadata", "metadata service", domain.KindPermanent, 1},
	} {
		hits.Store(0)
		_, err := c.DoFollow(request(t, "PROPFIND", srv.URL+x.path, "x"), 3, func(*url.URL) bool { return true })
		if domain.KindOf(err) != x.kind || !strings.Contains(fmt.Sprint(err), x.want) || hits.Load() != x.hits {
			t.Errorf("%s: %d hits, %v", x.path, hits.Load(), err)
		}
		noLeak(t, err)
	}
	for _, n := range []int{-1, MaxRedirects + 1} {
		if _, err := c.DoFollow(request(t, "GET", srv.URL, ""), n, nil); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("max %d: %v", n, err)
		}
	}
	once, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DoFollow(once, 1, nil); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), "GetBody") {
		t.Errorf("a body that cannot be repeated: %v", err)
	}
}

func TestSameOriginCountsDefaultPortsAndCase(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/x", "https://A.example:443/y", true},
		{"http://a.example", "http://a.example:80", true},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://b.a.example", false},
	} {
		a, _ := url.Parse(x.a)
		b, _ := url.Parse(x.b)
		if sameOrigin(a, b) != x.want {
			t.Errorf("%s and %s", x.a, x.b)
		}
	}
}

func TestConnectionsAreKeptAndHeadersAreOurs(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("User-Agent"))
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := newClient(t, Options{Allow: AllowPrivate, UserAgent: "WedSync-test"})
	for range 5 {
		req := request(t, "GET", srv.URL, "")
		res, err := c.Do(req)
		if err != nil || string(res.Body) != "WedSync-test" {
			t.Fatalf("%+v, %v", res, err)
		}
		if len(req.Header) != 0 {
			t.Errorf("the caller's request was changed: %v", req.Header)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for 5 requests", conns.Load())
	}
	req := request(t, "GET", srv.URL, "")
	req.Header.Set("User-Agent", "mine")
	if res, err := c.Do(req); err != nil || string(res.Body) != "mine" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestHTTP2IsUsedWhereOffered(t *testing.T) {
	t.Parallel()
	srv, pool := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	res, err := newClient(t, Options{Allow: AllowPrivate, RootCAs: pool}).Do(request(t, "GET", srv.URL, ""))
	if err != nil || string(res.Body) != "HTTP/2.0" {
		t.Errorf("%v, %v", res, err)
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

func TestHostRateRefusesLongQueuesAndSparesOtherHosts(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	count := func(http.ResponseWriter, *http.Request) { hits.Add(1) }
	a, b := serve(t, count), serve(t, count)
	c := newClient(t, Options{Allow: AllowPrivate, PerHost: Rate{PerSecond: 0.001, Burst: 2}})
	for range 2 {
		if _, err := c.Do(request(t, "GET", a.URL, "")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Do(request(t, "GET", a.URL+"/mailbox", ""))
	if domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) < time.Minute || StatusOf(err) != 0 {
		t.Errorf("third request: %v, wait %s", err, domain.RetryAfter(err))
	}
	noLeak(t, err)
	if _, err := c.Do(request(t, "GET", b.URL, "")); err != nil {
		t.Errorf("another host: %v", err)
	}
	if hits.Load() != 3 {
		t.Errorf("%d requests arrived", hits.Load())
	}
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := newClient(t, Options{Allow: AllowPrivate, PerHost: Rate{PerSecond: 0.1}})
	if _, err := c.Do(request(t, "GET", srv.URL, "")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Do(request(t, "GET", srv.URL, "").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Do(request(t, "GET", srv.URL, "").WithContext(short)); domain.KindOf(err) != domain.KindRateLimited {
		t.Errorf("a turn after the deadline: %v", err)
	}
}

func TestHostLimitersAreBounded(t *testing.T) {
	t.Parallel()
	h := newHosts(1, 1)
	busy := h.limiter("busy.example")
	busy.Allow()
	for i := range maxHosts + 100 {
		h.limiter(fmt.Sprint(i, ".example"))
	}
	if len(h.list) != maxHosts {
		t.Errorf("%d kept", len(h.list))
	}
	if h.limiter("A.example") != h.limiter("a.EXAMPLE") {
		t.Error("spelling evades the limit")
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

func TestABodyThatStandsStillIsCutOffAndSaysWhy(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "req-1")
		_, _ = io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c := newClient(t, Options{Allow: AllowPrivate, Timeouts: Timeouts{Body: 50 * time.Millisecond}})
	for name, do := range map[string]func() error{
		"whole": func() error { _, err := c.Do(request(t, "GET", srv.URL, "")); return err },
		"as it comes": func() error {
			_, err := c.DoRead(request(t, "GET", srv.URL, ""), 1<<20, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
			return err
		},
	} {
		err := do()
		if domain.KindOf(err) != domain.KindUnavailable || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "the next byte of the body took longer than 50ms") || RequestIDOf(err) != "req-1" {
			t.Errorf("%s: request %q: %v", name, RequestIDOf(err), err)
		}
	}
}

func TestEachTimeLimitIsNamed(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	for _, x := range []struct {
		url, want string
		t         Timeouts
	}{
		{srv.URL, "the first byte of the answer took longer than 60ms", Timeouts{Header: 60 * time.Millisecond}},
		{srv.URL, "the whole answer took longer than 60ms", Timeouts{Total: 60 * time.Millisecond}},
		{"https://" + mute.Addr().String(), "the TLS handshake took longer than 60ms", Timeouts{TLS: 60 * time.Millisecond}},
	} {
		_, err := newClient(t, Options{Allow: AllowPrivate, Timeouts: x.t}).Do(request(t, "GET", x.url, ""))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v; want %q", err, x.want)
		}
	}
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

func TestConnectionsAreCountedAndBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			arrived <- struct{}{}
			<-release
		}
	}
	one, two, three := serve(t, handler), serve(t, handler), serve(t, handler)
	c := newClient(t, Options{Allow: AllowPrivate, MaxConns: 2, Timeouts: Timeouts{Dial: 300 * time.Millisecond}})
	if _, err := c.Do(request(t, "GET", one.URL, "")); err != nil {
		t.Fatal(err)
	}
	if got := c.Connections(); got.Open != 1 || got.Limit != 2 || got.Made != 1 {
		t.Errorf("%+v", got)
	}
	done := make(chan error, 2)
	for _, srv := range []string{two.URL, three.URL} { // the idle one to the first gives way
		go func() { _, err := c.Do(request(t, "GET", srv+"/hold", "")); done <- err }()
	}
	<-arrived
	<-arrived
	_, err := c.Do(request(t, "GET", one.URL, ""))
	if domain.KindOf(err) != domain.KindUnavailable || c.Connections().Open != 2 {
		t.Errorf("%d open, %v; want the third refused", c.Connections().Open, err)
	}
	close(release)
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	c.Close()
	if _, err := c.Do(request(t, "GET", one.URL, "")); err != nil {
		t.Errorf("after others are done: %v", err)
	}
}

// door is a gate that counts.
type door struct {
	shut error
	in   int
	out  []error
}

func (d *door) Enter(req *http.Request) (func(*Response, error), error) {
	if d.shut != nil {
		return nil, d.shut
	}
	d.in++
	req.Header.Set("X-Door", "yes")
	return func(_ *Response, err error) { d.out = append(d.out, err) }, nil
}

func TestAGateSeesEveryExchangeAndMayRefuse(t *testing.T) {
	t.Parallel()
	status, calls := 200, 0
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; r.Header.Get("X-Door") != "yes" {
			t.Error("the header of the gate did not come")
		}
		w.WriteHeader(status)
	})
	d := &door{}
	c := newClient(t, Options{Allow: AllowPrivate}).Through(d)
	if _, err := c.Do(request(t, "GET", srv.URL, "")); err != nil {
		t.Fatal(err)
	}
	own := errors.New("of the caller's own")
	if _, err := c.DoRead(request(t, "GET", srv.URL, ""), 10, func(io.Reader) error { return own }); !errors.Is(err, own) {
		t.Errorf("%v", err)
	}
	status = 500
	_, failed := c.Do(request(t, "GET", srv.URL, ""))
	if d.in != 3 || len(d.out) != 3 || d.out[0] != nil || d.out[1] != nil || d.out[2] != failed {
		t.Errorf("%d in, out with %v", d.in, d.out)
	}
	cause := errors.New("shut")
	d.shut = domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%w", cause), time.Minute)
	if _, err := c.Do(request(t, "GET", srv.URL, "")); !errors.Is(err, cause) || domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) != time.Minute || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
