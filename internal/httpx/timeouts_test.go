package httpx

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

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
