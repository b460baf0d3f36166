package providertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// truth is what the caller of a webhook source holds for true: the newest by the system's own order and, where that is not
// told, by arrival. It is the rule of rules/reconcile in few words, removals of what nobody knows included.
type truth map[string]domain.Change

func (w truth) take(c domain.Change) {
	had, known := w[c.ExternalID]
	if known && c.RemoteVersion > 0 && c.RemoteVersion < had.RemoteVersion {
		return
	}
	w[c.ExternalID] = c
}

// says is what can be seen of it, without versions.
func (w truth) says() map[string]string {
	out := map[string]string{}
	for id, c := range w {
		if c.Op == domain.OpRemove || c.Status == domain.StatusCancelled {
			out[id] = "gone"
			continue
		}
		c.RemoteVersion, c.Revision, c.ChangedAt = 0, "", nil
		out[id] = c.Hash()
	}
	return out
}

// orders are ways in which the deliveries of a life arrive. Each holds all of them at least once.
func orders(n int) map[string][]int {
	straight := make([]int, n)
	for i := range straight {
		straight[i] = i
	}
	backwards := slices.Clone(straight)
	slices.Reverse(backwards)
	var doubled, swapped []int
	for _, i := range straight {
		doubled = append(doubled, i, i)
	}
	swapped = slices.Clone(straight)
	for i := 0; i+1 < n; i += 2 {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	return map[string][]int{"backwards": backwards, "each twice": doubled, "neighbours swapped": swapped,
		"the first once more at the end": append(slices.Clone(straight), 0), "all over again": append(slices.Clone(straight), straight...)}
}

// lifeCases are about the order in which a webhook source is told of things.
var lifeCases = []testCase{
	{"late, swapped and repeated deliveries end in the same", func(t *testing.T, b *bundle) {
		lives := b.lives(t, 0)
		for _, life := range lives {
			decoded := b.decoded(t, life)
			end := truth{}
			for _, changes := range decoded {
				for _, c := range changes {
					end.take(c)
				}
			}
			for name, order := range orders(len(decoded)) {
				got := truth{}
				for _, i := range order {
					for _, c := range decoded[i] {
						got.take(c)
					}
				}
				if diff := cmp.Diff(end.says(), got.says()); diff != "" {
					t.Errorf("%s, %s: another end than in the order of things (-in order +so):\n%s", life.Name, name, diff)
				}
			}
		}
		b.record.meet(HazardLateHook)
		b.record.meet(HazardRepeatHook)
		b.record.meet(HazardHookOrder)
	}},
	{"last delivery says it all when those before it are lost", func(t *testing.T, b *bundle) {
		for _, life := range b.lives(t, 0) {
			decoded := b.decoded(t, life)
			end, alone := truth{}, truth{}
			for _, changes := range decoded {
				for _, c := range changes {
					end.take(c)
				}
			}
			for _, c := range decoded[len(decoded)-1] {
				alone.take(c)
			}
			if diff := cmp.Diff(end.says(), alone.says()); diff != "" {
				t.Errorf("%s: the last delivery by itself says something else (-all +last):\n%s", life.Name, diff)
			}
		}
		b.record.meet(HazardLostHook)
	}},
	{"clock minutes ahead or behind changes neither content nor order", func(t *testing.T, b *bundle) {
		usual := b.lives(t, 0)
		for _, ahead := range []time.Duration{aheadBy, -aheadBy} {
			for n, life := range b.lives(t, ahead) {
				want, got := b.decoded(t, usual[n]), b.decoded(t, life)
				for i := range want {
					for k := range want[i] {
						a, z := truth{"": want[i][k]}, truth{"": got[i][k]}
						if diff := cmp.Diff(a.says(), z.says()); diff != "" {
							t.Errorf("%s, %s: delivery %d says something else:\n%s", life.Name, ahead, i, diff)
						}
						if i > 0 && len(got[i-1]) > k && got[i][k].RemoteVersion < got[i-1][k].RemoteVersion {
							t.Errorf("%s, %s: delivery %d is older than the one before it", life.Name, ahead, i)
						}
					}
				}
			}
		}
		b.record.meet(HazardSkew)
	}},
}

func (b *bundle) lives(t *testing.T, ahead time.Duration) []Life {
	t.Helper()
	world, ok := b.bare.(Lived)
	if !ok {
		t.Skipf("this world of %s tells no lives", b.h.Registration.Name)
	}
	lives := world.Lives(t, ahead)
	for _, l := range lives {
		if len(l.Deliveries) < 2 {
			t.Fatalf("the life %q has %d deliveries, want two at least", l.Name, len(l.Deliveries))
		}
	}
	if len(lives) == 0 {
		t.Fatal("the world tells no life")
	}
	return lives
}

func (b *bundle) decoded(t *testing.T, life Life) [][]domain.Change {
	t.Helper()
	src := as[provider.WebhookSource](t, b)
	out := make([][]domain.Change, len(life.Deliveries))
	told := 0
	for i, d := range life.Deliveries {
		got, err := src.Decode(b.ctx, d)
		b.ok(t, "decode "+life.Name, err)
		out[i], told = got.Changes, told+len(got.Changes)
	}
	if told < 2 {
		t.Fatalf("the life %q tells %d changes, want two at least", life.Name, told)
	}
	return out
}

// mailbox is our end of a watch: it answers as the server does and keeps what was posted.
type mailbox struct {
	request provider.WatchRequest // the wish for a watch whose messages arrive here
	mu      sync.Mutex
	got     []provider.NoticeRequest
	at      []string // the path to which each was posted
}

// listening returns where messages of watches arrive, or skips the test.
func (b *bundle) listening(t *testing.T) (m *mailbox, tell func()) {
	t.Helper()
	world, ok := b.bare.(Hooked)
	if !ok {
		t.Skipf("this world of %s posts no messages", b.h.Registration.Name)
	}
	m = &mailbox{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 256<<10))
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		asked := provider.NoticeRequest{Secret: m.request.Secret, Header: r.Header.Clone(), Query: r.URL.Query(), Body: body, At: Now}
		if n, err := b.h.Registration.Notice(asked); err == nil && n.Echo != nil {
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = rw.Write(n.Echo)
			return
		}
		m.mu.Lock()
		m.got, m.at = append(m.got, asked), append(m.at, r.URL.Path)
		m.mu.Unlock()
		rw.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	m.request = provider.WatchRequest{ID: "0193d000-0000-7000-8000-000000000001", Secret: strings.Repeat("s3cret-", 6) + "x", Until: Now.Add(6 * 24 * time.Hour)}
	m.request.URL = server.URL + provider.NotifyPath + m.request.ID
	return m, func() { world.Tell(t) }
}

// watched makes a watch and returns where its messages arrive, or skips the test.
func (b *bundle) watched(t *testing.T) (m *mailbox, w provider.Watched, tell func()) {
	t.Helper()
	m, tell = b.listening(t)
	w, err := as[provider.Watcher](t, b).Watch(b.ctx, m.request)
	b.ok(t, "watch", err)
	m.take() // what the system says of the watch itself
	return m, w, tell
}

func (m *mailbox) take() []provider.NoticeRequest {
	got, _ := m.taken()
	return got
}

// taken is take with the path to which each message was posted.
func (m *mailbox) taken() (got []provider.NoticeRequest, at []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, at, m.got, m.at = m.got, m.at, nil, nil
	return got, at
}

// understood reads messages as the server does, and reports whether one of them asks to pull.
func (b *bundle) understood(t *testing.T, what string, w provider.Watched, messages []provider.NoticeRequest) (pull bool) {
	t.Helper()
	for _, m := range messages {
		m.RemoteID = w.RemoteID
		n, err := b.h.Registration.Notice(m)
		b.ok(t, "read a message, "+what, err)
		if n.Removed {
			t.Errorf("%s: a message of a change is taken for the end of the watch", what)
		}
		pull = pull || n.Changed || n.Missed
	}
	return pull
}

// watcherCases are about messages that only say that something changed.
var watcherCases = []testCase{
	{"messages in any order, late, twice or lost lead to the same", func(t *testing.T, b *bundle) {
		box, w, tell := b.watched(t)
		_, pulls := provider.As[provider.Puller](b.opened)
		if !pulls {
			t.Fatal("a provider that is told that something changed cannot ask what")
		}
		cursor := b.list(t, "").cursor
		a, gone := b.world.Seed(t, entry(0)), b.world.Seed(t, entry(1))
		b.world.Edit(t, a, entry(10))
		b.world.Delete(t, gone)
		tell()
		messages := box.take()
		if len(messages) == 0 {
			t.Fatal("the world posts nothing")
		}
		backwards := slices.Clone(messages)
		slices.Reverse(backwards)
		for what, order := range map[string][]provider.NoticeRequest{"as sent": messages, "backwards": backwards, "twice": slices.Concat(messages, messages), "the last alone": messages[len(messages)-1:]} {
			if !b.understood(t, what, w, order) {
				t.Errorf("%s: no message asks to pull", what)
			}
		}
		b.record.meet(HazardHookOrder)
		b.record.meet(HazardRepeatHook)

		// Whatever came, one pull tells all, and so does one that no message asked for.
		delta := b.list(t, cursor)
		delta.wantSome(t, a, entry(10))
		if _, there := delta.upserts[gone]; there {
			t.Error("what was removed is listed as existing")
		}
		b.record.meet(HazardLostHook)

		// A message that comes after its change was read costs a look and nothing else.
		if !b.understood(t, "late", w, messages[:1]) {
			t.Error("a late message asks for nothing")
		}
		known := delta.hashes()
		again := b.list(t, delta.cursor)
		for id, c := range again.upserts {
			if c.Hash() != known[id] {
				t.Errorf("after a late message %s is told as something else", id)
			}
		}
		b.record.meet(HazardLateHook)
	}},
	{"clock minutes ahead or behind leaves messages understood", func(t *testing.T, b *bundle) {
		for _, ahead := range []time.Duration{aheadBy, -aheadBy} {
			one := setup(t, b.h, b.record)
			skew := one.skew(t)
			box, w, tell := one.watched(t)
			skew(ahead)
			one.world.Seed(t, entry(0))
			tell()
			messages := box.take()
			if len(messages) == 0 || !one.understood(t, ahead.String(), w, messages) {
				t.Errorf("%s: %d messages, and none asks to pull", ahead, len(messages))
			}
		}
	}},
	{"ended watch is ended twice", func(t *testing.T, b *bundle) {
		_, w, _ := b.watched(t)
		watcher := as[provider.Watcher](t, b)
		b.ok(t, "end a watch", watcher.Unwatch(b.ctx, w))
		b.ok(t, "end it again", watcher.Unwatch(b.ctx, w))
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		box, _, _ := b.watched(t)
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Watcher](t, b).Watch(ctx, box.request)
			return err
		})
	}},
}
