package vendors

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// bed is what a run works on.
type bed struct {
	o       Options
	servers *devstack.Stack
	db      *store.Store
	owner   *pgx.Conn
	product *product
	http    *http.Client // of the outside systems
	hosts   []string     // base URLs of the simulators
	vendors []*vendor
	end     []func()

	mu   sync.Mutex
	sent map[string]time.Time // by integration and entry: when its system told of it

	began time.Time // of the steady state
}

// vendor is one connected system. One of crm and tave is set.
type vendor struct {
	n    int
	id   domain.IntegrationID
	crm  *crmsim.CRM
	tave *tavesim.Server
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o, sent: map[string]time.Time{},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64}, Timeout: 30 * time.Second}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.servers, err = devstack.Start(ctx, devstack.Options{DataDir: o.Dir, Ephemeral: true, Private: true, Log: o.Say,
		// The development server keeps 8,096 workflows in memory, closed ones included; a server proper keeps 128,000.
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes(), MemoryMiB: 4096,
			DynamicConfig: []string{"history.hostLevelCacheMaxSize=128000"}},
		Postgres: devstack.PostgresOptions{Settings: map[string]string{"track_commit_timestamp": "on"}}}); err != nil {
		return nil, err
	}
	b.end = append(b.end, func() { _ = b.servers.Stop(context.WithoutCancel(ctx)) }) // its files are thrown away
	if _, err := store.Migrate(ctx, b.servers.DatabaseURL()); err != nil {
		return nil, err
	}
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		return nil, err
	}
	if b.db, err = store.Open(ctx, b.servers.DatabaseURL(), ring, store.Options{AppName: "bench"}); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.db.Close)
	if b.owner, err = pgx.Connect(ctx, b.servers.DatabaseURL()); err != nil {
		return nil, fmt.Errorf("connect to look at the outcome: %w", err)
	}
	b.end = append(b.end, func() { _ = b.owner.Close(context.WithoutCancel(ctx)) }) // nothing is pending on it
	if err := b.serve(); err != nil {
		return nil, err
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	if b.product, err = startProduct(ctx, productConfig{DatabaseURL: b.servers.DatabaseURL(), Temporal: b.servers.TemporalAddress(), Keys: ring.Encode(),
		TokenKeys: "bench:" + base64.StdEncoding.EncodeToString(key[:]), Profile: o.Profile, MemoryLimit: o.MemoryLimit}); err != nil {
		return nil, err
	}
	b.end = append(b.end, b.product.stop)
	return b, nil
}

func (b *bed) close() {
	for i := len(b.end) - 1; i >= 0; i-- {
		b.end[i]()
	}
}

// serve makes the simulators and puts them on their hosts: each system is below its number.
func (b *bed) serve() error {
	hinted := int(float64(b.o.Integrations) * b.o.Hinted)
	for n := range b.o.Integrations {
		v := &vendor{n: n}
		if n < hinted {
			v.tave = tavesim.New(tavesim.Options{Key: v.key()})
		} else {
			v.crm = crmsim.New(crmsim.Options{APIKey: v.key(), WebhookSecret: v.secret()})
		}
		b.vendors = append(b.vendors, v)
	}
	for range b.o.Hosts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen for calls of the simulators: %w", err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(b.answer), ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = srv.Serve(l) }()                  // its only end is Close
		b.end = append(b.end, func() { _ = srv.Close() }) // nothing of it is kept
		b.hosts = append(b.hosts, "http://"+l.Addr().String())
	}
	return nil
}

func (b *bed) answer(w http.ResponseWriter, r *http.Request) {
	number, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(b.vendors) {
		http.NotFound(w, r)
		return
	}
	v := b.vendors[n]
	var h http.Handler = v.crm
	if v.tave != nil {
		h = v.tave.Handler()
	}
	http.StripPrefix("/"+number, h).ServeHTTP(w, r)
}

func (v *vendor) key() string { return fmt.Sprintf("key-of-studio-%06d", v.n) }

func (v *vendor) secret() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("secret-of-the-studio-%06d", v.n)))
}

// url is where the system is called.
func (b *bed) url(v *vendor) string { return b.hosts[v.n%len(b.hosts)] + "/" + strconv.Itoa(v.n) }

const integrationsPerOrg = 4

// seed stores all integrations. Their workflows begin by themselves.
func (b *bed) seed(ctx context.Context) error {
	now := time.Now().UTC()
	for at := 0; at < len(b.vendors); at += integrationsPerOrg {
		org := domain.NewID[domain.OrgID](now)
		if err := b.db.CreateOrganization(ctx, domain.Organization{ID: org, Name: fmt.Sprintf("Studio %d", at), Zone: "UTC"}, "system:bench"); err != nil {
			return err
		}
		err := b.db.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			for _, v := range b.vendors[at:min(at+integrationsPerOrg, len(b.vendors))] {
				r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
				if err := tx.CreateResource(ctx, r); err != nil {
					return err
				}
				v.id = domain.NewID[domain.IntegrationID](now)
				i := domain.Integration{ID: v.id, OrgID: org, Name: "Studio system", Provider: "custom", State: domain.IntegrationActive,
					Direction: domain.DirectionImport, ResourceID: r.ID, PollEvery: b.o.Poll}
				secrets := map[string]string{"api_key": v.key()}
				if v.tave != nil {
					settings, err := json.Marshal(map[string]any{"api_url": b.url(v) + tavesim.Base})
					if err != nil {
						return err
					}
					i.Provider, i.Settings = "tave", settings
				} else {
					i.Settings, secrets["webhook_secret"] = crmsim.Settings(b.url(v)), v.secret()
				}
				if err := tx.CreateIntegration(ctx, i, secrets); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// connect stores the integrations and waits until each was read once and those that hint are watched.
func (b *bed) connect(ctx context.Context) error {
	b.o.Say(fmt.Sprintf("connecting %d systems on %d hosts", len(b.vendors), len(b.hosts)))
	began, before := time.Now(), load.Used()
	if err := b.seed(ctx); err != nil {
		return err
	}
	hinted := 0
	for _, v := range b.vendors {
		if v.tave != nil {
			hinted++
		}
	}
	err := b.await(ctx, 20*time.Minute, "first read", func() (bool, string, error) {
		var read, watched int
		err := b.owner.QueryRow(ctx, `SELECT (SELECT count(*) FROM integrations WHERE last_sync_at IS NOT NULL)::int,
			(SELECT count(DISTINCT integration_id) FROM watches WHERE state = 'active')::int`).Scan(&read, &watched)
		return read == len(b.vendors) && watched == hinted, fmt.Sprintf("%d of %d read, %d of %d watched", read, len(b.vendors), watched, hinted), err
	})
	if err == nil {
		err = b.quiet(ctx)
	}
	b.o.Say(fmt.Sprintf("all connected and read once after %s; CPU time for each: %s", time.Since(began).Round(time.Second), load.Used().Each(before, len(b.vendors))))
	return err
}

// quiet waits until no run of a sync is under way, but for polls that begin meanwhile.
func (b *bed) quiet(ctx context.Context) error {
	few := max(1, len(b.vendors)/500)
	return b.await(ctx, 5*time.Minute, "end of the first runs", func() (bool, string, error) {
		var running int
		err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM sync_runs WHERE state = 'running'").Scan(&running)
		return running <= few, fmt.Sprintf("%d run", running), err
	})
}

// await asks until it is so.
func (b *bed) await(ctx context.Context, most time.Duration, what string, so func() (bool, string, error)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline, told := time.Now().Add(most), time.Now()
	for {
		ok, how, err := so()
		if err != nil {
			return fmt.Errorf("await %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("await " + what + ": not within " + most.String() + ": " + how)
		}
		if time.Since(told) > 15*time.Second {
			told = time.Now()
			b.o.Say(what + ": " + how)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
