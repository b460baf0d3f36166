package failover

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/schedulersim"
	"github.com/wedsync/wedsync/internal/store"
)

// pollSeconds is the usual poll interval of every connection: what finds out that hooks are silent.
const pollSeconds = 10

// numbers make the program look more often than it does in production, so that an episode takes seconds.
var numbers = []string{"WEDSYNC_FAILOVER_POLL=2s", "WEDSYNC_FAILOVER_GRACE=3s", "WEDSYNC_FAILOVER_STAY=4s", "WEDSYNC_FAILOVER_QUIET=8s", "WEDSYNC_PROBE_EVERY=5s"}

// bed is the stack under test with the systems that change.
type bed struct {
	*rig.Rig
	o       Options
	db      *store.Store
	flow    *flow.Client
	systems []*system
	done    chan struct{} // closed when changes are to end
	once    sync.Once
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o, done: make(chan struct{})}
	defer func() {
		if err != nil {
			b.close(err)
		}
	}()
	if b.Rig, err = rig.New(ctx, rig.Options{Binary: o.Binary, Dir: o.Dir, Say: o.Say}); err != nil {
		return nil, err
	}
	if b.db, err = b.OpenStore(ctx); err != nil {
		return nil, err
	}
	if b.flow, err = flow.New(flow.Options{Address: b.Stack.TemporalAddress(), Ring: b.Ring, Logger: slog.New(slog.DiscardHandler), Identity: "chaos"}); err != nil {
		return nil, err
	}
	for n := range o.Studios + o.Schedulers {
		s, err := b.connect(ctx, n, n >= o.Studios)
		if s != nil {
			b.systems = append(b.systems, s)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, b.Start(append(numbers, "WEDSYNC_PUBLIC_URL=http://"+b.Addr, "WEDSYNC_ALLOW_PRIVATE=true")...)
}

// connect makes a simulator and its connection, in an organisation of its own.
func (b *bed) connect(ctx context.Context, n int, scheduler bool) (*system, error) {
	now := time.Now().UTC()
	s := &system{name: fmt.Sprintf("System %d", n+1), integration: domain.NewID[domain.IntegrationID](now), client: &http.Client{Timeout: 10 * time.Second}}
	s.hook = "http://" + b.Addr + "/v1/webhooks/" + string(s.integration)
	i := domain.Integration{ID: s.integration, Name: s.name, State: domain.IntegrationActive, Direction: domain.DirectionImport, PollEvery: pollSeconds * time.Second}
	var secrets map[string]string
	if scheduler {
		s.plan = schedulersim.New(schedulersim.Calendly, time.Now)
		s.server = httptest.NewServer(s.plan.Handler())
		i.Provider, secrets = "calendly", map[string]string{"token": schedulersim.Token}
		settings, err := json.Marshal(map[string]any{"development": map[string]string{"api": s.server.URL}})
		if err != nil {
			return s, err
		}
		i.Settings = settings
	} else {
		var key [24]byte
		if _, err := rand.Read(key[:]); err != nil {
			return nil, err
		}
		s.secret = "whsec_" + base64.StdEncoding.EncodeToString(key[:])
		s.crm = crmsim.New(crmsim.Options{APIKey: "key", WebhookSecret: s.secret})
		s.server = httptest.NewServer(s.crm)
		i.Provider, i.Settings, secrets = "custom", crmsim.Settings(s.server.URL), map[string]string{"webhook_secret": s.secret, "api_key": "key"}
	}
	var err error
	s.org, err = rig.Connect(ctx, b.db, s.name, i, secrets)
	return s, err
}

func (b *bed) books() (out []book) {
	for _, s := range b.systems {
		out = append(out, s.book())
	}
	return out
}

// ready waits until everything was read once, every scheduler posts here, and a first change of each arrived.
func (b *bed) ready(ctx context.Context) error {
	if err := b.Until(ctx, time.Minute, "the server", func() bool {
		res, err := http.Get("http://" + b.Addr + "/readyz?all=1")
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status is of interest
		return res.StatusCode == http.StatusOK
	}); err != nil {
		return err
	}
	return b.Until(ctx, 2*time.Minute, "the first readings", func() bool {
		for _, s := range b.systems {
			var read bool
			err := b.db.TenantRead(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
				i, err := tx.Integration(ctx, s.integration)
				read = err == nil && i.LastSyncAt != nil
				return err
			})
			if err != nil || !read || s.plan != nil && len(s.plan.Hooks()) == 0 {
				return false
			}
		}
		return true
	})
}

// change lets every system change until calm is called. The channel is closed when all have ended.
func (b *bed) change(ctx context.Context) <-chan struct{} {
	var all sync.WaitGroup
	every := time.Duration(float64(len(b.systems)) / b.o.Rate * float64(time.Second))
	for n, s := range b.systems {
		draw := mathrand.New(mathrand.NewPCG(b.o.Seed, uint64(n)+10))
		all.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.step(ctx, draw)
				case <-b.done:
					return
				case <-ctx.Done():
					return
				}
			}
		})
	}
	stopped := make(chan struct{})
	go func() {
		all.Wait()
		close(stopped)
	}()
	return stopped
}

func (b *bed) calm() { b.once.Do(func() { close(b.done) }) }

// close ends everything; outcome is what the run came to.
func (b *bed) close(outcome error) {
	b.calm()
	for _, s := range b.systems {
		s.up()
		if s.crm != nil {
			s.crm.Close()
		}
		s.server.Close()
	}
	if b.flow != nil {
		b.flow.Close()
	}
	if b.db != nil {
		b.db.Close()
	}
	if b.Rig != nil {
		b.Rig.Close(outcome)
	}
}
