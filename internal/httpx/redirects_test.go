package httpx

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

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
