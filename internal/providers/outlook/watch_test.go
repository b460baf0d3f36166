package outlook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

const watchSecret = "c2VjcmV0LW9mLXRoZS13YXRjaC1pbi00My1sZXR0ZXI"

// receiver is the address of a watch, which knows no remote id yet.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	echoes  int
	notices []provider.Notice
	faults  []error
}

func receive(t testing.TB) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		n, err := Registration.Notice(provider.NoticeRequest{Secret: watchSecret, Header: req.Header, Query: req.URL.Query(), Body: body})
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err != nil:
			r.faults = append(r.faults, err)
			w.WriteHeader(http.StatusUnauthorized)
		case n.Echo != nil:
			r.echoes++
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(n.Echo)
		default:
			r.notices = append(r.notices, n)
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take() []provider.Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.notices
	r.notices = nil
	return out
}

func wanted(b *bundle, to string, until time.Duration) provider.WatchRequest {
	return provider.WatchRequest{ID: "0193d000-0000-7000-8000-000000000001", URL: to, Secret: watchSecret, Until: b.clock().Add(until)}
}

func TestWatchAnswersBothHandshakesAndTakesTheEndThatIsGiven(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{MaxSubscription: time.Hour})
	r := receive(t)
	// The address is asked while the call is under way, so nothing of the answer is known there.
	w, err := b.conn.Watch(t.Context(), wanted(b, r.URL+"/v1/notify/1", 1000*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if r.echoes != 2 {
		t.Errorf("%d handshakes, want those of notifications and of the lifecycle", r.echoes)
	}
	if !w.ExpiresAt.Equal(b.clock().Add(time.Hour)) || w.RemoteID == "" || w.ID == "" {
		t.Errorf("watch is %+v", w)
	}
	b.pass(30 * time.Minute)
	if w, err = b.conn.Renew(t.Context(), w, b.clock().Add(20*time.Minute)); err != nil || !w.ExpiresAt.Equal(b.clock().Add(20*time.Minute)) {
		t.Errorf("renewed to %s, %v", w.ExpiresAt, err)
	}
	if err := b.conn.Unwatch(t.Context(), w); err != nil {
		t.Error(err)
	}
	if err := b.conn.Unwatch(t.Context(), w); err != nil {
		t.Errorf("ending it again: %v", err)
	}
	_, err = b.conn.Renew(t.Context(), w, b.clock().Add(time.Hour))
	wantKind(t, err, domain.KindNotFound)
}

func TestWatchNeverAsksForMoreThanTheMaximum(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{MaxSubscription: 1000 * time.Hour})
	w, err := b.conn.Watch(t.Context(), wanted(b, receive(t).URL, 900*time.Hour))
	if err != nil || !w.ExpiresAt.Equal(b.clock().Add(maxWatch)) {
		t.Errorf("ends %s, %v", w.ExpiresAt, err)
	}
}

func TestAddressThatDoesNotEchoGetsNoWatch(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	deaf := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(deaf.Close)
	_, err := b.conn.Watch(t.Context(), wanted(b, deaf.URL, time.Hour))
	wantKind(t, err, domain.KindPermanent)
}

func TestWatchWhoseAnswerWasLostIsTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	r := receive(t)
	b.sim.SetFaults(graphsim.Faults{LoseAnswers: 1})
	if _, err := b.conn.Watch(t.Context(), wanted(b, r.URL, time.Hour)); !domain.Retryable(err) {
		t.Fatalf("lost answer: %v", err)
	}
	w, err := b.conn.Watch(t.Context(), wanted(b, r.URL, 2*time.Hour))
	if err != nil || b.sim.Subscriptions() != 1 || !w.ExpiresAt.Equal(b.clock().Add(2*time.Hour)) {
		t.Errorf("%d subscriptions, %+v, %v", b.sim.Subscriptions(), w, err)
	}
}

func TestNotificationsSayPullAndTheLifecycleSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	r := receive(t)
	w, err := b.conn.Watch(t.Context(), wanted(b, r.URL, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	id := b.sim.Add("Calendar", tasting())
	b.sim.Edit(id, tasting())
	b.sim.Delete(id)
	if got := b.sim.Deliver(t.Context()); !slices.Equal(got, []int{http.StatusAccepted}) {
		t.Errorf("statuses %v", got)
	}
	if got := r.take(); len(got) != 1 || !got[0].Changed || got[0].Removed || got[0].Renew || got[0].Missed {
		t.Errorf("three changes told as %+v", got)
	}
	b.sim.Lifecycle("missed")
	b.sim.Lifecycle("reauthorizationRequired")
	b.sim.Deliver(t.Context())
	if got := r.take(); len(got) != 1 || !got[0].Missed || !got[0].Renew || got[0].Removed {
		t.Errorf("lifecycle told as %+v", got)
	}
	b.sim.Lifecycle("subscriptionRemoved")
	b.sim.Deliver(t.Context())
	if got := r.take(); len(got) != 1 || !got[0].Removed {
		t.Errorf("the end told as %+v", got)
	}
	_, err = b.conn.Renew(t.Context(), w, b.clock().Add(time.Hour))
	wantKind(t, err, domain.KindNotFound)
	if len(r.faults) != 0 {
		t.Errorf("refused: %v", r.faults)
	}
}

// Pushes are lost, doubled and out of order: what is pulled afterwards is the same.
func TestPullingDoesNotDependOnWhichNotificationsArrive(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]graphsim.Faults{"dropped": {DropNotes: true}, "doubled": {DuplicateNotes: true}, "reversed": {ReverseNotes: true}} {
		b := setup(t, graphsim.Options{})
		r := receive(t)
		if _, err := b.conn.Watch(t.Context(), wanted(b, r.URL, time.Hour)); err != nil {
			t.Fatal(err)
		}
		cursor := pullAll(t, b.conn, "").Next
		id := b.sim.Add("Calendar", tasting())
		b.sim.SetFaults(faults)
		b.sim.Deliver(t.Context())
		for _, n := range r.take() {
			if !n.Changed || n.Removed || n.Renew {
				t.Errorf("%s: told as %+v", name, n)
			}
		}
		byID(t, pullAll(t, b.conn, cursor), id)
	}
}

// A peer checked the clientState of value[0] only.
func TestEveryItemMustShowTheSecret(t *testing.T) {
	t.Parallel()
	item := func(state, lifecycle string) string {
		b, err := json.Marshal(map[string]string{"subscriptionId": "s1", "clientState": state, "lifecycleEvent": lifecycle})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good, evil := item(watchSecret, ""), item("guess", "")
	for name, c := range map[string]struct {
		items  []string
		secret string
		want   domain.ErrorKind
	}{
		"all right":              {[]string{good, good}, watchSecret, ""},
		"the second is forged":   {[]string{good, evil}, watchSecret, domain.KindUnauthenticated},
		"the first is forged":    {[]string{evil, good}, watchSecret, domain.KindUnauthenticated},
		"no state":               {[]string{`{"subscriptionId":"s1"}`}, watchSecret, domain.KindUnauthenticated},
		"no state and no secret": {[]string{`{"subscriptionId":"s1"}`}, "", domain.KindUnauthenticated},
		"a prefix of the secret": {[]string{item(watchSecret[:20], "")}, watchSecret, domain.KindUnauthenticated},
		"a forged end":           {[]string{good, item("guess", "subscriptionRemoved")}, watchSecret, domain.KindUnauthenticated},
		"no items":               {nil, watchSecret, domain.KindInvalid},
	} {
		n, err := notice(provider.NoticeRequest{Secret: c.secret, Body: []byte(`{"value":[` + strings.Join(c.items, ",") + `]}`)})
		if domain.KindOf(err) != c.want {
			t.Errorf("%s: kind %q, want %q", name, domain.KindOf(err), c.want)
		}
		if err != nil && (n.Changed || n.Removed || strings.Contains(err.Error(), watchSecret)) {
			t.Errorf("%s: refused, but says %+v, %v", name, n, err)
		}
	}
}

func TestEndOfAnEarlierSubscriptionIsNotTheEndOfTheWatch(t *testing.T) {
	t.Parallel()
	body := []byte(fmt.Sprintf(`{"value":[{"subscriptionId":"old","clientState":%q,"lifecycleEvent":"subscriptionRemoved"}]}`, watchSecret))
	for remote, want := range map[string]bool{"new": false, "old": true, "": true} {
		n, err := notice(provider.NoticeRequest{Secret: watchSecret, RemoteID: remote, Body: body})
		if err != nil || n.Removed != want {
			t.Errorf("watch %q: removed %v, want %v, %v", remote, n.Removed, want, err)
		}
	}
}

func TestHandshakeEchoesTheDecodedTokenAndNothingElse(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"validationToken=Validation%3A+Testing%20client+1%2B1": "Validation: Testing client 1+1",
		"validationToken=%3Cscript%3E":                         "&lt;script&gt;",
		"validationToken=":                                     "",
		"validationToken=a&validationToken=b":                  "",
		"validationToken=a%0d%0ab":                             "",
		"validationToken=%ff":                                  "",
		"validationToken=" + strings.Repeat("x", maxEcho+1):    "",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		n, err := notice(provider.NoticeRequest{Query: q})
		if string(n.Echo) != want || (want == "") != (domain.KindOf(err) == domain.KindInvalid) {
			t.Errorf("%.60s: %q, %v", query, n.Echo, err)
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add([]byte(`{"value":[{"subscriptionId":"s","clientState":"` + watchSecret + `","changeType":"updated"}]}`))
	f.Add([]byte(`{"value":[{"clientState":"` + watchSecret + `","lifecycleEvent":"missed"}]}`))
	f.Add([]byte(`{"value":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := notice(provider.NoticeRequest{Secret: watchSecret, Body: body})
		if err == nil {
			if !strings.Contains(string(body), "clientState") && !strings.Contains(strings.ToLower(string(body)), "clientstate") {
				t.Fatalf("taken without the secret: %+v", n)
			}
			return
		}
		if k := domain.KindOf(err); k != domain.KindInvalid && k != domain.KindUnauthenticated || n.Changed || n.Echo != nil {
			t.Fatalf("%+v, %v", n, err)
		}
	})
}
