package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// behindProxy makes the test's own connection a trusted proxy, so that requests can come from any address.
func behindProxy(t *testing.T) func(*IntakeDeps) {
	t.Helper()
	trusted, err := clientaddr.ParseTrusted([]string{"127.0.0.0/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	senders, err := clientaddr.New(clientaddr.Options{Trusted: trusted})
	if err != nil {
		t.Fatal(err)
	}
	return func(d *IntakeDeps) { d.Senders = senders }
}

func (r *intakeRig) forged(t *testing.T, id domain.IntegrationID) *http.Request {
	t.Helper()
	req := r.hook(t, id, "msg_1", "{}")
	req.Header.Set("Webhook-Signature", "v1,"+strings.Repeat("A", 43)+"=")
	return req
}

func (r *intakeRig) decisions(t *testing.T, want map[string]float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(r.m.admissions); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	for decision, n := range want {
		if got[decision] != n {
			t.Errorf("decision %s was counted %g times; want %g", decision, got[decision], n)
		}
	}
}

func TestAGuesserIsSlowedAndNobodyElseIs(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{GuessRate: 0.5, GuessBurst: 3}, behindProxy(t))
	other := rig.add(nil)
	from := func(req *http.Request, addr string) *http.Request {
		req.Header.Set("X-Forwarded-For", addr)
		return req
	}
	var got []int
	for i := range 6 {
		r := post(t, from(rig.forged(t, rig.id), fmt.Sprintf("2001:db8:1:2::%d", i))) // one /64 network
		got = append(got, r.Status)
		if r.Status == http.StatusTooManyRequests && r.RetryAfter != "2" {
			t.Errorf("Retry-After %q; want 2", r.RetryAfter)
		}
	}
	if diff := cmp.Diff([]int{401, 401, 401, 429, 429, 429}, got); diff != "" {
		t.Errorf("guesses (-want +got):\n%s", diff)
	}
	for name, req := range map[string]*http.Request{
		"another address":     from(rig.hook(t, rig.id, "msg_2", "{}"), "2001:db8:1:3::1"),
		"another integration": from(rig.hook(t, other, "msg_3", "{}"), "2001:db8:1:2::1"),
	} {
		if r := post(t, req); r.Status != http.StatusAccepted {
			t.Errorf("%s: %+v; want 202", name, r)
		}
	}
	rig.at(rig.now.Load().Add(2 * time.Second))
	if r := post(t, from(rig.hook(t, rig.id, "msg_4", "{}"), "2001:db8:1:2::1")); r.Status != http.StatusAccepted {
		t.Errorf("two seconds later: %+v; want 202", r)
	}
	rig.decisions(t, map[string]float64{"signature": 3, "guesses": 3, "accepted": 3})
}

func TestAnAddressHasItsShareAndWhatLeadsNowhereCostsMore(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{AddressRate: 1, AddressBurst: 25, StrayCost: 10, Rate: 1, Burst: 100}, behindProxy(t))
	send := func(req *http.Request, addr string) int {
		req.Header.Set("X-Forwarded-For", addr)
		return post(t, req).Status
	}
	if got := []int{send(rig.forged(t, rig.id), "192.0.2.1"), send(rig.hook(t, "no-id", "m", "{}"), "192.0.2.1"),
		send(rig.hook(t, rig.id, "m1", "{}"), "192.0.2.1")}; !cmp.Equal(got, []int{401, 404, 202}) {
		t.Errorf("got %v; want 401, 404 and 202, for 21 in all", got)
	}
	if got := []int{send(rig.hook(t, domain.NewID[domain.IntegrationID](time.Now()), "m", "{}"), "192.0.2.1"), send(rig.hook(t, rig.id, "m2", "{}"), "192.0.2.1")}; !cmp.Equal(got, []int{404, 429}) {
		t.Errorf("got %v; want 404 for the rest of it, and 429", got)
	}
	if got := send(rig.hook(t, rig.id, "m2", "{}"), "192.0.2.2"); got != http.StatusAccepted {
		t.Errorf("another address: %d; want 202", got)
	}
	rig.decisions(t, map[string]float64{"address_rate": 1, "unknown": 2, "signature": 1, "accepted": 2})
}

func TestAnOrganisationHasItsShareOverAllOfItsIntegrations(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{OrgRate: 1, OrgBurst: 3})
	org := domain.NewID[domain.OrgID](time.Now())
	mine := func(r *store.IntakeRecord) { r.Integration.OrgID = org }
	one, two := rig.add(mine), rig.add(mine)
	for range 10 {
		post(t, rig.forged(t, one))
	}
	var got []int
	for i, id := range []domain.IntegrationID{one, two, one, two, one} {
		got = append(got, post(t, rig.hook(t, id, fmt.Sprint("msg_", i), "{}")).Status)
	}
	if diff := cmp.Diff([]int{202, 202, 202, 429, 429}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if r := post(t, rig.hook(t, rig.id, "msg", "{}")); r.Status != http.StatusAccepted {
		t.Errorf("another organisation: %+v; want 202", r)
	}
	rig.decisions(t, map[string]float64{"organization_rate": 2, "accepted": 4})
}

func TestServersLeaseAnOrganisationsTokensInTheBackground(t *testing.T) {
	t.Parallel()
	asked := make(chan ratelimit.Ask, 100)
	rig := newIntakeRig(t, IntakeLimits{OrgRate: 10, OrgBurst: 10}, func(d *IntakeDeps) {
		d.Lease = func(_ context.Context, asks []ratelimit.Ask) ([]int, error) {
			for _, a := range asks {
				asked <- a
			}
			return make([]int, len(asks)), nil
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = rig.Run(ctx) // always nil
	}()
	defer func() {
		stop()
		<-done
	}()
	status := 0
	for i := 0; status != http.StatusTooManyRequests && i < 100; i++ {
		status = post(t, rig.hook(t, rig.id, fmt.Sprint("msg_", i), "{}")).Status
	}
	if a := <-asked; status != http.StatusTooManyRequests || a.Key == (ratelimit.Key{}) {
		t.Errorf("status %d after %+v; want 429 when nothing is left to lease", status, a)
	}
}

func TestAnswersTellTheLimitsAndStrangersOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{AddressRate: 10, AddressBurst: 30, Rate: 5, Burst: 8, OrgRate: 100, OrgBurst: 200})
	headers := func(req *http.Request) [2]string {
		t.Helper()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return [2]string{resp.Header.Get("RateLimit-Policy"), resp.Header.Get("RateLimit")}
	}
	if diff := cmp.Diff([2]string{`"address";q=30;w=3, "integration";q=8;w=2, "organization";q=200;w=2`,
		`"address";r=29;t=1, "integration";r=7;t=1, "organization";r=199;t=1`}, headers(rig.hook(t, rig.id, "m1", "{}"))); diff != "" {
		t.Errorf("genuine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([2]string{`"address";q=30;w=3`, `"address";r=19;t=2`}, headers(rig.forged(t, rig.id))); diff != "" {
		t.Errorf("forged (-want +got):\n%s", diff)
	}
}

func TestWhatIsFullOrWaitsTooLongIsShedWith503(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	var waiting atomic.Int64
	var fault atomic.Bool
	rig := newIntakeRig(t, IntakeLimits{MaxWaiting: 100}, func(d *IntakeDeps) {
		d.Full = full.Load
		d.Waiting = func(_ context.Context, most, each int) (int, error) {
			if each != 50 {
				t.Errorf("up to %d of one integration are counted; want half of the mark", each)
			}
			if fault.Load() {
				return 0, errors.New("database is down")
			}
			return min(most, int(waiting.Load())), nil
		}
	})
	send := func(name string, want int) {
		t.Helper()
		r := post(t, rig.hook(t, rig.id, strings.ReplaceAll(name, " ", "_"), "{}"))
		if r.Status != want || want != http.StatusAccepted && r.RetryAfter == "" {
			t.Errorf("%s: %+v; want %d", name, r, want)
		}
	}
	count := func(n int64) {
		t.Helper()
		waiting.Store(n)
		if err := rig.guard.count(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	send("empty", 202)
	full.Store(true)
	send("queue full", 503)
	full.Store(false)
	count(99)
	send("below the mark", 202)
	count(100)
	send("at the mark", 503)
	count(95)
	send("not yet over", 503)
	fault.Store(true)
	if err := rig.guard.count(t.Context()); err == nil {
		t.Error("want the fault of the count")
	}
	send("count failed", 503)
	fault.Store(false)
	count(89)
	send("over", 202)
	rig.decisions(t, map[string]float64{"queue_full": 1, "backlog": 3, "accepted": 3})
}

func TestAnIntegrationWhoseDeliveriesPileUpIsShedAloneUntilNineTenths(t *testing.T) {
	t.Parallel()
	var pile atomic.Int64
	var rig *intakeRig
	rig = newIntakeRig(t, IntakeLimits{MaxWaiting: 100}, func(d *IntakeDeps) {
		d.Piles = func(_ context.Context, least, most int) (map[domain.IntegrationID]int, error) {
			n := int(pile.Load())
			switch {
			case n < 0:
				return nil, errors.New("database is down")
			case n < least:
				return map[domain.IntegrationID]int{}, nil
			}
			return map[domain.IntegrationID]int{rig.id: min(n, most)}, nil
		}
	})
	other := rig.add(nil)
	for i, c := range []struct {
		pile int64
		want int
	}{{0, 202}, {95, 202}, {100, 503}, {95, 503}, {-1, 503}, {90, 503}, {89, 202}, {95, 202}} {
		pile.Store(c.pile)
		if err := rig.guard.countPiles(t.Context()); (err != nil) != (c.pile < 0) {
			t.Fatal(err)
		}
		r := post(t, rig.hook(t, rig.id, fmt.Sprint("m", i), "{}"))
		if r.Status != c.want || c.want == http.StatusServiceUnavailable && r.RetryAfter != "30" {
			t.Errorf("step %d, %d waiting: %+v; want %d", i, c.pile, r, c.want)
		}
		if r := post(t, rig.hook(t, other, fmt.Sprint("m", i), "{}")); r.Status != http.StatusAccepted {
			t.Errorf("step %d: another integration got %+v; want 202", i, r)
		}
	}
	rig.decisions(t, map[string]float64{"integration_backlog": 4, "accepted": 12})
}

func TestAStrangerCausesNoWriteAndFewReads(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{StrangerReads: 5, GuessBurst: 20, MaxHeaders: 30})
	post(t, rig.hook(t, rig.id, "genuine", "{}"))
	reads := rig.reads.Load()
	for i := range 300 {
		switch i % 4 {
		case 0:
			post(t, rig.forged(t, rig.id))
		case 1:
			post(t, rig.hook(t, domain.NewID[domain.IntegrationID](time.Now()), "m", "{}"))
		case 2:
			post(t, rig.hook(t, "1' OR '1'='1", "m", "{}"))
		case 3:
			req := rig.forged(t, rig.id)
			for n := range 40 {
				req.Header.Set(fmt.Sprint("X-", n), "x")
			}
			if r := post(t, req); r.Status != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("40 headers: %+v; want 431", r)
			}
		}
	}
	if n := rig.reads.Load() - reads; n > 11 {
		t.Errorf("%d reads of storage; want at most 11", n)
	}
	if n := rig.stored(); n != 1 {
		t.Errorf("%d rows; want the genuine one only", n)
	}
	rig.decisions(t, map[string]float64{"headers": 75, "signature": 20, "guesses": 55})
}

func TestSchemesAreGivenTheRequestAsTheSenderMadeIt(t *testing.T) {
	t.Parallel()
	trusted, err := clientaddr.ParseTrusted([]string{"127.0.0.1", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for public, want := range map[string]string{"": "https://sync.example.com/v1/webhooks/ID?a=1", "https://hooks.example.com": "https://hooks.example.com/v1/webhooks/ID?a=1"} {
		senders, err := clientaddr.New(clientaddr.Options{Trusted: trusted, PublicURL: public})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/webhooks/ID?a=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.RemoteAddr = "127.0.0.1:99"
		for k, v := range map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "sync.example.com"} {
			req.Header.Set(k, v)
		}
		s := senders.Resolve(req)
		got := webhookauth.Request{URL: senders.URL(req, s), Peer: s.Addr}
		if got.URL != want || got.Peer.String() != "192.0.2.7" {
			t.Errorf("public address %q: %+v; want %s of 192.0.2.7", public, got, want)
		}
	}
}

// dial opens a plain connection to the rig, whose whole answer is read by the returned func.
func (r *intakeRig) dial(t *testing.T) (net.Conn, func() string) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, func() string {
		t.Helper()
		all, err := io.ReadAll(bufio.NewReader(c))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("the connection was still open after 20 s, with %q", all)
		}
		return string(all)
	}
}

// head writes the head of a genuine request by hand.
func (r *intakeRig) head(t *testing.T, message, body string, more ...string) string {
	t.Helper()
	req := r.hook(t, r.id, message, body)
	lines := []string{"POST /v1/webhooks/" + string(r.id) + " HTTP/1.1", "Host: x"}
	for k := range req.Header {
		lines = append(lines, k+": "+req.Header.Get(k))
	}
	return strings.Join(append(lines, more...), "\r\n") + "\r\n\r\n"
}

func TestABodyThatDripsIsEndedAndTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{BodyGrace: 300 * time.Millisecond, BodyTime: time.Second, BodyPace: 1000, InFlight: 1})
	for name, head := range map[string]string{
		"of known length":  rig.head(t, "msg_1", "{}", "Content-Length: 5000"),
		"of great length":  rig.head(t, "msg_1", "{}", "Content-Length: 500000"),
		"in chunks":        rig.head(t, "msg_1", "{}", "Transfer-Encoding: chunked"),
		"that never comes": rig.head(t, "msg_1", "{}", "Content-Length: 10"),
	} {
		c, answer := rig.dial(t)
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		dripped := make(chan struct{})
		go func() {
			defer close(dripped)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for name != "that never comes" {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				drip := " "
				if name == "in chunks" {
					drip = "1\r\n \r\n"
				}
				if _, err := io.WriteString(c, drip); err != nil {
					return
				}
			}
		}()
		for rig.inFlight.Load() == 0 {
			runtime.Gosched()
		}
		if r := post(t, rig.hook(t, rig.id, strings.ReplaceAll("meanwhile "+name, " ", "_"), "{}")); r.Status != http.StatusAccepted {
			t.Errorf("%s: a genuine webhook meanwhile: %+v; want 202", name, r)
		}
		if got := answer(); !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, "Connection: close") {
			t.Errorf("a body %s: %q; want 408 and the end", name, got)
		}
		close(stop)
		<-dripped
		for rig.inFlight.Load() != 0 {
			runtime.Gosched()
		}
	}
	if n := rig.bodyBytes.Load(); n != 0 {
		t.Errorf("%d bytes still counted; want 0", n)
	}
}

func TestASlowCommitIsNotTheSendersFault(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{BodyGrace: 50 * time.Millisecond, BodyTime: 50 * time.Millisecond})
	hold := make(chan struct{})
	rig.set(func() { rig.hold = hold })
	got := make(chan receipt, 1)
	req := rig.hook(t, rig.id, "msg_1", "{}")
	go func() {
		r, err := tryPost(req)
		if err != nil {
			t.Errorf("post: %v", err)
		}
		got <- r
	}()
	late := time.NewTimer(200 * time.Millisecond)
	<-late.C
	close(hold)
	if r := <-got; r.Status != http.StatusAccepted {
		t.Errorf("got %+v; want 202", r)
	}
}

func TestARefusedBodyIsNeitherAskedForNorWaitedFor(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{Rate: 0.001, Burst: 1})
	post(t, rig.hook(t, rig.id, "msg_0", "{}")) // the allowance is used up
	for name, head := range map[string]string{
		"expecting 100":   rig.head(t, "msg_1", "{}", "Content-Length: 2", "Expect: 100-continue"),
		"small":           rig.head(t, "msg_1", "{}", "Content-Length: 2"),
		"large":           rig.head(t, "msg_1", "{}", "Content-Length: 200000"),
		"of any length":   rig.head(t, "msg_1", "{}", "Transfer-Encoding: chunked"),
		"over the cap":    rig.head(t, "msg_1", "{}", "Content-Length: 2000000"),
		"over, and asked": rig.head(t, "msg_1", "{}", "Content-Length: 2000000", "Expect: 100-continue"),
	} {
		c, answer := rig.dial(t)
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		if got := answer(); !strings.HasPrefix(got, "HTTP/1.1 429 ") || !strings.Contains(got, "Retry-After: ") {
			t.Errorf("%s: %q; want 429 at once and the end of the connection", name, got)
		}
	}
}

func TestGarbageBehindAWebhookIsNoSecondWebhook(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	body := `{"a":1}`
	c, answer := rig.dial(t)
	if _, err := io.WriteString(c, rig.head(t, "msg_1", body, fmt.Sprint("Content-Length: ", len(body)))+body+"{\"b\":2}\x00\x01 garbage\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got := answer()
	if !strings.HasPrefix(got, "HTTP/1.1 202 ") || strings.Count(got, "HTTP/1.1 ") != 2 || !strings.Contains(got, "HTTP/1.1 400 ") {
		t.Errorf("%q; want 202, then 400 and the end", got)
	}
	if n := rig.stored(); n != 1 {
		t.Errorf("%d rows; want 1", n)
	}
	for name, head := range map[string]string{
		"two lengths":       rig.head(t, "msg_2", body, "Content-Length: 7", "Content-Length: 8"),
		"length and chunks": rig.head(t, "msg_3", body, "Content-Length: 3", "Transfer-Encoding: chunked", "Connection: close"),
		"unknown coding":    rig.head(t, "msg_4", body, "Transfer-Encoding: gzip, chunked"),
		"chunk of bad size": rig.head(t, "msg_5", body, "Transfer-Encoding: chunked"),
	} {
		c, answer := rig.dial(t)
		if _, err := io.WriteString(c, head+"zz\r\n"+body+"\r\n0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := answer(); !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 501 ") || rig.stored() != 1 {
			t.Errorf("%s: %q with %d rows; want it refused", name, got, rig.stored())
		}
	}
}
