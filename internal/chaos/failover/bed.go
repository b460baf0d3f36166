package failover

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/ingest"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/schedulersim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// pollSeconds is the usual poll interval of every connection: what finds out that hooks are silent.
const pollSeconds = 10

// numbers make the program look more often than it does in production, so that an episode takes seconds.
var numbers = []string{"WEDSYNC_FAILOVER_POLL=2s", "WEDSYNC_FAILOVER_GRACE=3s", "WEDSYNC_FAILOVER_STAY=4s", "WEDSYNC_FAILOVER_QUIET=8s", "WEDSYNC_PROBE_EVERY=5s"}

// bed is the stack under test.
type bed struct {
	o       Options
	stack   *devstack.Stack
	keys    string
	token   string
	addr    string
	db      *store.Store
	flow    *flow.Client
	systems []*system
	server  *process
	worker  *process
	done    chan struct{} // closed when changes are to end
	once    sync.Once
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o, keys: vault.GenerateKey(), done: make(chan struct{})}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	b.token = "chaos:" + base64.StdEncoding.EncodeToString(secret[:])
	b.stack, err = devstack.Start(ctx, devstack.Options{DataDir: o.Dir, Ephemeral: true, Private: true, Log: o.Say,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes()}})
	if err != nil {
		return nil, err
	}
	if _, err := store.Migrate(ctx, b.stack.DatabaseURL()); err != nil {
		return nil, err
	}
	ring, err := vault.ParseKeys(b.keys)
	if err != nil {
		return nil, err
	}
	if b.db, err = store.Open(ctx, b.stack.DatabaseURL(), ring, store.Options{AppName: "wedsync-chaos"}); err != nil {
		return nil, err
	}
	if b.flow, err = flow.New(flow.Options{Address: b.stack.TemporalAddress(), Ring: ring, Logger: slog.New(slog.DiscardHandler), Identity: "chaos"}); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	b.addr = l.Addr().String()
	if err := l.Close(); err != nil {
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
	if b.worker, err = b.launch("worker"); err != nil {
		return nil, err
	}
	b.server, err = b.launch("server")
	return b, err
}

// connect makes a simulator and its connection, in an organisation of its own.
func (b *bed) connect(ctx context.Context, n int, scheduler bool) (*system, error) {
	now := time.Now().UTC()
	s := &system{name: fmt.Sprintf("System %d", n+1), integration: domain.NewID[domain.IntegrationID](now), client: &http.Client{Timeout: 10 * time.Second}}
	s.hook = "http://" + b.addr + "/v1/webhooks/" + string(s.integration)
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
	org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: s.name, Zone: "UTC", CreatedAt: now}
	s.org = org.ID
	if err := b.db.CreateOrganization(ctx, org, "system:chaos"); err != nil {
		return s, err
	}
	return s, b.db.Tenant(ctx, org.ID, func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1, CreatedAt: now, UpdatedAt: now, Version: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		i.ResourceID = r.ID
		return tx.CreateIntegration(ctx, i, secrets)
	})
}

func (b *bed) books() (out []book) {
	for _, s := range b.systems {
		out = append(out, s.book())
	}
	return out
}

// ready waits until everything was read once, every scheduler posts here, and a first change of each arrived.
func (b *bed) ready(ctx context.Context) error {
	if err := b.until(ctx, time.Minute, "the server", func() bool {
		res, err := http.Get("http://" + b.addr + "/readyz?all=1")
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status is of interest
		return res.StatusCode == http.StatusOK
	}); err != nil {
		return err
	}
	return b.until(ctx, 2*time.Minute, "the first readings", func() bool {
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

func (b *bed) close() {
	b.calm()
	for _, p := range []*process{b.server, b.worker} {
		if p != nil {
			p.end()
		}
	}
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
	if b.stack != nil {
		end, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.stack.Stop(end); err != nil {
			b.o.Say("stop the stack: " + err.Error())
		}
	}
}

// process is a running `wedsync server` or `wedsync worker`.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

func (b *bed) launch(name string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.o.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.o.Binary, name)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WEDSYNC_") && !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "TEMPORAL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "DATABASE_URL="+b.stack.DatabaseURL(), "TEMPORAL_ADDRESS="+b.stack.TemporalAddress(), "WEDSYNC_KEYS="+b.keys, "WEDSYNC_TOKEN_KEYS="+b.token,
		"WEDSYNC_HTTP_ADDR="+b.addr, "WEDSYNC_PUBLIC_URL=http://"+b.addr, "WEDSYNC_ALLOW_PRIVATE=true", "WEDSYNC_LOG_LEVEL=warn"), numbers...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, ingest.DiesWithUs()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s: %w", name, err), log.Close())
	}
	p := &process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		_ = log.Close()
		close(p.done)
	}()
	return p, nil
}

func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// alive is an error when a process ended that should not have.
func (b *bed) alive() error {
	for _, p := range []*process{b.server, b.worker} {
		if p.gone() {
			text, err := os.ReadFile(p.log.Name())
			if err != nil {
				text = []byte(err.Error())
			}
			text = bytes.TrimSpace(text)
			return fmt.Errorf("the %s ended by itself (%s): %s", p.name, p.cmd.ProcessState, text[bytes.LastIndexByte(text, '\n')+1:])
		}
	}
	select {
	case err := <-b.stack.Died():
		return err
	default:
		return nil
	}
}

// until asks until the answer is true. It is an error when a process ends meanwhile or the limit is reached.
func (b *bed) until(ctx context.Context, limit time.Duration, what string, ask func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, limit)
		}
		if err := b.alive(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}
