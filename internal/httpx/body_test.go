package httpx

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

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
