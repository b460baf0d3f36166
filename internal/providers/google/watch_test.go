package google

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

// receiver takes messages of a watch as the server does.
type receiver struct {
	mu      sync.Mutex
	secret  string
	remote  string
	notices []provider.Notice
	errs    []error
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := notice(provider.NoticeRequest{Secret: r.secret, RemoteID: r.remote, Header: req.Header})
	r.notices, r.errs = append(r.notices, n), append(r.errs, err)
	w.WriteHeader(http.StatusAccepted)
}

func (r *receiver) take() (changed int, errs []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.notices {
		if n.Changed {
			changed++
		}
		if r.errs[i] != nil {
			errs = append(errs, r.errs[i])
		}
	}
	r.notices, r.errs = nil, nil
	return changed, errs
}

func TestWatchIsHeardFromBeforeItsAnswerAndAfterItsEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, change{sim: func(o *googlesim.Options) { o.PlainHTTP = true }})
	r := &receiver{secret: "0123456789012345678901234567890123456789abc"}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	request := provider.WatchRequest{ID: "0193d000-0000-7000-8000-000000000001", URL: server.URL + "/v1/notify/x", Secret: r.secret, Until: providertest.Now.AddDate(0, 1, 0)}
	w, err := b.conn.Watch(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if w.ID != request.ID || w.RemoteID == "" || w.ResourceID == "" || !w.ExpiresAt.Equal(providertest.Now.Add(7*day)) {
		t.Errorf("%+v: the end is what Google answered", w)
	}
	// The sync message came while nothing was stored, and is no change.
	r.mu.Lock()
	if len(r.notices) != 1 || r.notices[0].Changed || r.errs[0] != nil {
		t.Errorf("%+v %v", r.notices, r.errs)
	}
	r.notices, r.errs, r.remote = nil, nil, w.RemoteID
	r.mu.Unlock()

	deliver := func(p googlesim.Pushes) (int, []error) {
		b.sim.SetPushes(p)
		b.sim.Put(studio, timed("Fitting", soon(1), time.Hour))
		if _, err := b.sim.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.take()
	}
	if n, errs := deliver(googlesim.Pushes{Duplicate: true}); n != 2 || errs != nil {
		t.Errorf("%d hints, %v", n, errs)
	}
	// An answer that was lost leaves a channel behind: its id is taken, and the next try makes another beside it.
	second, err := b.conn.Watch(t.Context(), request)
	if err != nil || second.RemoteID == w.RemoteID || second.ID != request.ID {
		t.Fatalf("%+v, %v", second, err)
	}
	r.take()
	if n, errs := deliver(googlesim.Pushes{}); n != 2 || errs != nil {
		t.Errorf("both channels: %d hints, %v", n, errs)
	}
	_, err = b.conn.Renew(t.Context(), w, providertest.Now.AddDate(0, 0, 7))
	wantKind(t, err, domain.KindNotFound)
	for range 2 {
		if err := b.conn.Unwatch(t.Context(), w); err != nil {
			t.Error(err)
		}
	}
	if err := b.conn.Unwatch(t.Context(), provider.Watched{RemoteID: "unknown", ResourceID: "x"}); err != nil {
		t.Errorf("a channel that Google does not know: %v", err)
	}
	r.mu.Lock()
	r.remote = second.RemoteID
	r.mu.Unlock()
	if n, errs := deliver(googlesim.Pushes{AfterStop: true, Reverse: true}); n != 2 || errs != nil {
		t.Errorf("a retired channel: %d hints, %v", n, errs)
	}
}

func TestNoticeBelievesOnlyTheToken(t *testing.T) {
	t.Parallel()
	const secret = "0123456789012345678901234567890123456789abc"
	header := func(token, state, channel string) http.Header {
		h := http.Header{}
		for k, v := range map[string]string{"X-Goog-Channel-Token": token, "X-Goog-Resource-State": state, "X-Goog-Channel-ID": channel} {
			if v != "" {
				h.Set(k, v)
			}
		}
		return h
	}
	for name, c := range map[string]struct {
		request provider.NoticeRequest
		changed bool
		kind    domain.ErrorKind
	}{
		"sync":                      {provider.NoticeRequest{Secret: secret, Header: header(secret, "sync", "c")}, false, ""},
		"exists":                    {provider.NoticeRequest{Secret: secret, Header: header(secret, "exists", "c")}, true, ""},
		"not_exists":                {provider.NoticeRequest{Secret: secret, Header: header(secret, "not_exists", "c")}, true, ""},
		"a state of another API":    {provider.NoticeRequest{Secret: secret, Header: header(secret, "add", "c")}, true, ""},
		"a retired channel":         {provider.NoticeRequest{Secret: secret, RemoteID: "newer", Header: header(secret, "exists", "older")}, true, ""},
		"wrong token":               {provider.NoticeRequest{Secret: secret, Header: header(secret[1:]+"d", "exists", "c")}, false, domain.KindUnauthenticated},
		"no token":                  {provider.NoticeRequest{Secret: secret, Header: header("", "exists", "c")}, false, domain.KindUnauthenticated},
		"no secret, no token":       {provider.NoticeRequest{Header: header("", "exists", "c")}, false, domain.KindUnauthenticated},
		"no state":                  {provider.NoticeRequest{Secret: secret, Header: header(secret, "", "c")}, false, domain.KindInvalid},
		"no channel":                {provider.NoticeRequest{Secret: secret, Header: header(secret, "exists", "")}, false, domain.KindInvalid},
		"nothing, not even headers": {provider.NoticeRequest{Secret: secret}, false, domain.KindUnauthenticated},
	} {
		n, err := notice(c.request)
		if n.Changed != c.changed || n.Removed || n.Echo != nil || domain.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}
