package httpx

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

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
