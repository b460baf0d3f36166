package server

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// posting is a registration whose messages are one word in a header, beside the secret.
var posting = provider.Registration{Name: "posting", Notice: func(r provider.NoticeRequest) (n provider.Notice, err error) {
	if word := r.Query.Get("check"); word != "" {
		n.Echo = []byte(word)
		return n, nil
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Secret")), []byte(r.Secret)) != 1 {
		return n, domain.E(domain.KindUnauthenticated, "the secret %s is wrong", r.Secret)
	}
	switch r.Header.Get("X-Word") {
	case "changed":
		n.Changed = true
	case "missed":
		n.Missed = true
	case "removed":
		n.Removed = true
	case "renew":
		n.Renew = true
	case "garbage":
		return n, domain.Invalid("body", "must be JSON")
	case "panic":
		panic("quoting " + r.Secret)
	}
	return n, nil
}}

// postbox is a door for messages over watches in memory.
type postbox struct {
	*testing.T
	n *Notices

	mu      sync.Mutex
	now     time.Time
	watches map[domain.WatchID]store.WatchRecord
	reads   int
	noted   []store.WatchNotice
	fault   error
	slow    bool
}

const (
	watchID    = domain.WatchID("01900000-0000-7000-8000-0000000000aa")
	retiredID  = domain.WatchID("01900000-0000-7000-8000-0000000000bb")
	orphanID   = domain.WatchID("01900000-0000-7000-8000-0000000000cc")
	unknownID  = domain.WatchID("01900000-0000-7000-8000-0000000000dd")
	watchWords = "correct-horse-battery-staple-correct-horse-b"
)

func newPost(t *testing.T, limits ...IntakeLimits) *postbox {
	t.Helper()
	record := store.WatchRecord{Org: "01900000-0000-7000-8000-000000000001", Integration: "01900000-0000-7000-8000-000000000002", Provider: "posting",
		State: domain.WatchPending, Secret: watchWords}
	over, orphan := record, record
	over.State, orphan.Provider = domain.WatchRetired, "gone"
	p := &postbox{T: t, now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC),
		watches: map[domain.WatchID]store.WatchRecord{watchID: record, retiredID: over, orphanID: orphan}}
	deps := NoticeDeps{Record: p.record, Note: p.note, Now: p.clock,
		Provider: func(name string) (provider.Registration, bool) { return posting, name == "posting" }}
	if len(limits) > 0 {
		deps.Limits = limits[0]
	}
	var err error
	if p.n, err = NewNotices(deps); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *postbox) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *postbox) record(_ context.Context, id domain.WatchID) (store.WatchRecord, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	r, ok := p.watches[id]
	if !ok {
		return r, domain.E(domain.KindNotFound, "no such watch")
	}
	return r, nil
}

func (p *postbox) note(ctx context.Context, org domain.OrgID, id domain.WatchID, n store.WatchNotice) (bool, error) {
	p.mu.Lock()
	slow, fault := p.slow, p.fault
	p.mu.Unlock()
	if slow {
		<-ctx.Done()
		return false, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if fault != nil {
		return false, fault
	}
	w := p.watches[id]
	if org != w.Org || w.State == domain.WatchRetired {
		return false, nil
	}
	if n.Removed {
		w.State = domain.WatchRetired
		p.watches[id] = w
	}
	p.noted = append(p.noted, n)
	return true, nil
}

func (p *postbox) send(id domain.WatchID, secret, word, query string, body []byte) *httptest.ResponseRecorder {
	p.Helper()
	e := echo.New()
	e.POST(echoNotifyPath, p.n.Handle)
	r := httptest.NewRequest(http.MethodPost, provider.NotifyPath+string(id)+query, bytes.NewReader(body))
	r.Header.Set("X-Secret", secret)
	r.Header.Set("X-Word", word)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), watchWords) {
		p.Error("the answer tells the secret")
	}
	return w
}

func TestMessageIsAnsweredOnceItIsStored(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for _, word := range []string{"changed", "changed", "missed", "renew", "sync", "removed"} {
		if w := p.send(watchID, watchWords, word, "", nil); w.Code != 202 || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", word, w.Code, w.Body)
		}
	}
	want := []store.WatchNotice{{Pull: true}, {Pull: true}, {Pull: true}, {Renew: true}, {}, {Removed: true}}
	if len(p.noted) != len(want) {
		t.Fatalf("noted %+v", p.noted)
	}
	for n := range want {
		if p.noted[n] != want[n] {
			t.Errorf("message %d is noted as %+v, want %+v", n, p.noted[n], want[n])
		}
	}
	if p.reads != 1 {
		t.Errorf("the watch was read %d times", p.reads)
	}
	// It is over now.
	if w := p.send(watchID, watchWords, "changed", "", nil); w.Code != 202 || len(p.noted) != len(want) {
		t.Errorf("a message after the end: %d, noted %+v", w.Code, p.noted)
	}
}

func TestMessagesToWhatIsOverOrUnknownAreTakenQuietly(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for _, id := range []domain.WatchID{retiredID, unknownID, unknownID} {
		if w := p.send(id, "whatever", "changed", "", []byte("{}")); w.Code != 202 || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", id, w.Code, w.Body)
		}
	}
	if w := p.send("no-id", watchWords, "changed", "", nil); w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("what is no id: %d %q", w.Code, w.Body)
	}
	if len(p.noted) != 0 || p.reads != 2 {
		t.Errorf("noted %+v after %d reads", p.noted, p.reads)
	}
}

func TestHandshakeIsEchoedAsPlainTextWhileTheWatchIsPending(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	w := p.send(watchID, "", "", "?check=%3Cscript%3Ealert(1)%3C%2Fscript%3E+%26", nil)
	if w.Code != 200 || w.Body.String() != "<script>alert(1)</script> &" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" ||
		w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
	if len(p.noted) != 0 {
		t.Error("a handshake counts as a message")
	}
}

func TestWrongSecretIsRefusedWithoutAWordAndSlowsItsSenderDown(t *testing.T) {
	t.Parallel()
	p := newPost(t, IntakeLimits{GuessBurst: 3})
	for n := range 5 {
		w := p.send(watchID, "wrong", "changed", "", nil)
		if want := map[bool]int{true: 401, false: 429}[n < 3]; w.Code != want || w.Body.Len() != 0 {
			t.Errorf("guess %d: %d %q", n, w.Code, w.Body)
		}
	}
	if len(p.noted) != 0 {
		t.Errorf("noted %+v", p.noted)
	}
}

func TestMessagesThatCannotBeReadOrStoredAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for word, want := range map[string]int{"garbage": 422, "panic": 422} {
		if w := p.send(watchID, watchWords, word, "", nil); w.Code != want || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", word, w.Code, w.Body)
		}
	}
	if w := p.send(orphanID, watchWords, "changed", "", nil); w.Code != 500 {
		t.Errorf("a provider that is not in this build: %d", w.Code)
	}
	if w := p.send(watchID, watchWords, "changed", "", make([]byte, MaxNotice+1)); w.Code != 413 {
		t.Errorf("a body that is too large: %d", w.Code)
	}
	if w := p.send(watchID, watchWords, "changed", "", make([]byte, MaxNotice)); w.Code != 202 {
		t.Errorf("the largest body: %d", w.Code)
	}
	p.mu.Lock()
	p.fault = domain.E(domain.KindUnavailable, "the database is down")
	p.mu.Unlock()
	if w := p.send(watchID, watchWords, "changed", "", nil); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("storage that is down: %d %v", w.Code, w.Header())
	}
}

func TestMessageIsAnsweredInTimeWhateverStorageDoes(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.slow = true
	began := time.Now()
	w := p.send(watchID, watchWords, "changed", "", nil)
	if took := time.Since(began); w.Code != 503 || took >= 3*time.Second {
		t.Errorf("%d after %s", w.Code, took)
	}
}

func TestInventedAddressesCauseFewReadsAndPushNothingOut(t *testing.T) {
	t.Parallel()
	p := newPost(t, IntakeLimits{StrangerReads: 5})
	p.send(watchID, watchWords, "changed", "", nil)
	refused := 0
	for range 200 {
		if w := p.send(domain.NewID[domain.WatchID](p.clock()), "", "", "", nil); w.Code == 429 {
			refused++
		} else if w.Code != 202 {
			t.Fatalf("an invented address is answered with %d", w.Code)
		}
	}
	if p.reads > 20 || refused < 180 {
		t.Errorf("%d reads, %d refused", p.reads, refused)
	}
	if w := p.send(watchID, watchWords, "changed", "", nil); w.Code != 202 {
		t.Errorf("the real one is answered with %d", w.Code)
	}
}

// TestStrangersDoNotKeepTheMessagesOfKnownWatchesOut invents addresses without end, also when a watch is to be read again.
func TestStrangersDoNotKeepTheMessagesOfKnownWatchesOut(t *testing.T) {
	t.Parallel()
	p := newPost(t, IntakeLimits{StrangerReads: 5})
	invent := func() {
		t.Helper()
		for range 50 {
			if w := p.send(domain.NewID[domain.WatchID](p.clock()), "", "", "", nil); w.Code == 429 {
				return
			}
		}
		t.Fatal("strangers are not refused")
	}
	p.send(watchID, watchWords, "changed", "", nil)
	invent()
	p.mu.Lock()
	p.now = p.now.Add(2 * watchFreshFor)
	p.mu.Unlock()
	invent()
	if w := p.send(watchID, watchWords, "changed", "", nil); w.Code != 202 {
		t.Errorf("a watch that is to be read again is answered with %d", w.Code)
	}
	if w := p.send(orphanID, watchWords, "changed", "", nil); w.Code != 429 {
		t.Errorf("one that was never read is answered with %d", w.Code)
	}
	// What storage does not know any more is unknown, and pushes nothing out either.
	p.mu.Lock()
	delete(p.watches, watchID)
	p.now = p.now.Add(2 * watchFreshFor)
	p.mu.Unlock()
	if w := p.send(watchID, "any", "changed", "", nil); w.Code != 202 || len(p.noted) != 2 || len(p.n.cached) != 0 {
		t.Errorf("a watch that is gone: %d, noted %d, %d kept", w.Code, len(p.noted), len(p.n.cached))
	}
}

// TestABodyThatNobodyWantsHoldsNoConnection announces a body to a watch that is over, and sends none of it.
func TestABodyThatNobodyWantsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	e := echo.New()
	e.POST(echoNotifyPath, p.n.Handle)
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", provider.NotifyPath, retiredID); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 202 ") {
		t.Errorf("answered %q, and then: %v; want 202 and the end of the connection", answer, err)
	}
}

func TestNoticesNeedTheirParts(t *testing.T) {
	t.Parallel()
	if _, err := NewNotices(NoticeDeps{}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("without parts: %v", err)
	}
}

// TestMessageReachesTheRowThroughTheRealRouter goes the whole way over HTTP and Postgres.
func TestMessageReachesTheRowThroughTheRealRouter(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) {
		var err error
		d.Notices, err = NewNotices(NoticeDeps{Record: d.Store.WatchRecord, Note: func(ctx context.Context, org domain.OrgID, id domain.WatchID, n store.WatchNotice) (stood bool, err error) {
			err = d.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
				stood, err = tx.NoteNotice(ctx, id, n)
				return err
			})
			return stood, err
		}, Provider: func(string) (provider.Registration, bool) { return posting, true }})
		if err != nil {
			t.Fatal(err)
		}
	})
	id := domain.NewID[domain.WatchID](time.Now())
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.CreateWatch(ctx, b.a.integration, id, watchWords, store.SettingsHash{})
		return err
	}))
	wanted := func() bool {
		var plan store.WatchPlan
		b.must(b.store.TenantRead(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
			plan, err = tx.WatchPlan(ctx, b.a.integration, store.SettingsHash{})
			return err
		}))
		return plan.PullWanted != nil
	}
	path := provider.NotifyPath + string(id)
	if r := b.do("POST", path, "", "", header("X-Secret", "wrong"), header("X-Word", "changed")); r.status != 401 || len(r.body) != 0 || r.header.Get("WWW-Authenticate") != "" || wanted() {
		t.Errorf("wrong secret: %d %q %v", r.status, r.body, r.header)
	}
	if r := b.do("POST", path+"?check=hello", "", "x", header("Content-Type", "text/plain")); r.status != 200 || string(r.body) != "hello" {
		t.Errorf("handshake: %d %q", r.status, r.body)
	}
	if r := b.do("POST", path, "", `{"value":[]}`, header("X-Secret", watchWords), header("X-Word", "changed")); r.status != 202 || !wanted() {
		t.Errorf("message: %d %q, pull wanted %t", r.status, r.body, wanted())
	}
	if r := b.do("GET", path, "", ""); r.status != 405 {
		t.Errorf("GET: %d", r.status)
	}
	// The admin sees it.
	var got struct {
		Freshness domain.Freshness `json:"freshness"`
	}
	b.do("GET", "/v1/integrations/"+string(b.a.integration), b.token(b.a.org, domain.RoleViewer), "").into(t, &got)
	if f := got.Freshness; len(f.Watches) != 1 || f.Watches[0].Notices != 1 || f.Watches[0].LastNoticeAt == nil || f.Watches[0].State != domain.WatchPending {
		t.Errorf("freshness is %+v", f)
	}
}

func TestFreshnessIsShownInTheAPIAndOnTheDashboard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	b.must(b.store.Tenant(ctx, b.a.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, b.a.integration)
		if err != nil {
			return err
		}
		i.PollEvery = 5 * time.Minute
		if err := tx.UpdateIntegration(ctx, i, nil, i.Version); err != nil {
			return err
		}
		if err := tx.AddLags(ctx, i.ID, []time.Duration{20 * time.Second, 90 * time.Second, 20 * time.Minute}, 1); err != nil {
			return err
		}
		_, _, err = tx.AddSyncPage(ctx, b.a.run, store.SyncPage{Seen: 250, Applied: 250, Total: 1000, Next: "n"})
		return err
	}))
	viewer := b.token(b.a.org, domain.RoleViewer)
	var got struct {
		Freshness *domain.Freshness `json:"freshness"`
	}
	b.do("GET", "/v1/integrations/"+string(b.a.integration), viewer, "").into(t, &got)
	f := got.Freshness
	if f == nil || f.TargetMS != 360_000 || f.LastMS == nil || *f.LastMS != 1_200_000 || *f.P50MS != 90_000 || f.Samples != 3 || f.LateCount != 1 || !f.Late || f.LateReason == "" {
		t.Errorf("freshness is %+v", f)
	}
	var run struct {
		Progress *domain.Progress `json:"progress"`
	}
	b.do("GET", "/v1/syncs/"+string(b.a.run), viewer, "").into(t, &run)
	if p := run.Progress; p == nil || p.Expected != 1000 || p.Percent != 25 || p.ETA == nil || p.PerSecond <= 0 {
		t.Errorf("progress is %+v", p)
	}
	page := string(b.do("GET", "/", "", "", header("Cookie", "wedsync="+viewer)).body)
	for _, want := range []string{"Lag: 20 min, usually 90 s", "(target 6 min)", "Late: the last change took longer", "Reading: 250 of about 1000 entries", "until about"} {
		if !strings.Contains(page, want) {
			t.Errorf("the dashboard does not say %q", want)
		}
	}
	// Nobody else sees it.
	if r := b.do("GET", "/v1/integrations/"+string(b.a.integration), b.token(b.b.org, domain.RoleAdmin), ""); r.status != 404 {
		t.Errorf("another organisation gets %d", r.status)
	}
}
