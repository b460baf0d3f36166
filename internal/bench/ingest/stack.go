package ingest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/server"
)

// bed is one measurement's fresh stack with its integrations.
type bed struct {
	o       Options
	servers *devstack.Stack
	ring    *vault.Keyring
	db      *store.Store
	flow    *flow.Client // nil without Temporal
	targets []load.Target
	orgs    []domain.OrgID
	end     []func()
}

// newBed starts a stack and makes the integrations. The caller must close it.
func newBed(ctx context.Context, o Options, temporal bool) (_ *bed, err error) {
	b := &bed{o: o}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.servers, err = devstack.Start(ctx, devstack.Options{
		DataDir: o.Dir, Ephemeral: true, Private: true, SkipTemporal: !temporal, Log: o.Say,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes()},
	})
	if err != nil {
		return nil, err
	}
	b.end = append(b.end, func() { _ = b.servers.Stop(context.WithoutCancel(ctx)) }) // its files are thrown away
	if _, err := store.Migrate(ctx, b.servers.DatabaseURL()); err != nil {
		return nil, err
	}
	if b.ring, err = vault.ParseKeys(vault.GenerateKey()); err != nil {
		return nil, err
	}
	if b.db, err = b.open(ctx, "wedsync-server"); err != nil {
		return nil, err
	}
	if temporal {
		b.flow, err = flow.New(flow.Options{Address: b.servers.TemporalAddress(), Ring: b.ring, Logger: o.Log})
		if err != nil {
			return nil, err
		}
		b.end = append(b.end, b.flow.Close)
	}
	return b, b.seed(ctx)
}

func (b *bed) open(ctx context.Context, name string) (*store.Store, error) {
	db, err := store.Open(ctx, b.servers.DatabaseURL(), b.ring, store.Options{AppName: name})
	if err == nil {
		b.end = append(b.end, db.Close)
	}
	return db, err
}

func (b *bed) close() {
	for i := len(b.end) - 1; i >= 0; i-- {
		b.end[i]()
	}
}

// integrationsPerOrg spreads the integrations over tenants, each with keys of its own.
const integrationsPerOrg = 4

func (b *bed) seed(ctx context.Context) error {
	now := time.Now().UTC()
	settings, err := b.o.Scheme.settings(b.o.Provider.Settings)
	if err != nil {
		return err
	}
	for len(b.targets) < b.o.Targets {
		org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: fmt.Sprintf("Studio %d", len(b.orgs)+1), Zone: "UTC", CreatedAt: now}
		if err := b.db.CreateOrganization(ctx, org, "system:bench"); err != nil {
			return err
		}
		b.orgs = append(b.orgs, org.ID)
		var made []load.Target
		err := b.db.Tenant(ctx, org.ID, func(ctx context.Context, tx *store.Tx) error {
			made = made[:0]
			for range min(integrationsPerOrg, b.o.Targets-len(b.targets)) {
				r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson,
					Zone: "UTC", Capacity: 1, CreatedAt: now, UpdatedAt: now, Version: 1}
				if err := tx.CreateResource(ctx, r); err != nil {
					return err
				}
				key := []byte(string(domain.NewID[domain.PushID](now)))
				secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
				if b.o.Scheme.Secret != "" {
					secret = b.o.Scheme.Secret
				}
				t := load.Target{Integration: domain.NewID[domain.IntegrationID](now), Secret: key, Text: secret}
				i := domain.Integration{ID: t.Integration, Name: "Studio system", Provider: b.o.Provider.Registration.Name,
					State: domain.IntegrationActive, Direction: domain.DirectionImport, ResourceID: r.ID, Settings: settings}
				if err := tx.CreateIntegration(ctx, i, map[string]string{b.o.Provider.SecretName: secret}); err != nil {
					return err
				}
				made = append(made, t)
			}
			return nil
		})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, made...)
	}
	return nil
}

func (b *bed) provider(name string) (provider.Registration, bool) {
	r := b.o.Provider.Registration
	return r, r.Name == name
}

// put is the last step of taking a webhook; it is what the measurements differ in.
type put func(ctx context.Context, d store.NewDelivery, provider string) (store.InsertedDelivery, error)

// serve puts an intake on a free loopback port and returns its address.
func (b *bed) serve(ctx context.Context, to put, metrics prometheus.Registerer) (addr string, stop func(), err error) {
	in, err := server.NewIntake(server.IntakeDeps{
		Record: b.db.IntakeRecord, Versions: b.db.IntegrationVersions, Provider: b.provider, Seal: b.db.SealDelivery,
		Put: to, Log: b.o.Log, Metrics: metrics,
	})
	if err != nil {
		return "", nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/v1/webhooks/:integration", in.Handle)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	h := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	following, unfollow := context.WithCancel(ctx)
	served := make(chan error, 2)
	go func() { served <- h.Serve(l) }()
	go func() { served <- in.Run(following) }()
	return l.Addr().String(), func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = h.Shutdown(end) // the generator has gone; what is left is idle
		unfollow()
		<-served
		<-served
	}, nil
}

// load runs the generator against addr.
func (b *bed) load(ctx context.Context, name, addr string) (load.Summary, error) {
	runtime.GC()
	dir, err := os.MkdirTemp(b.o.Dir, "wedsync-bench-")
	if err != nil {
		return load.Summary{}, fmt.Errorf("make a folder for the log: %w", err)
	}
	b.end = append(b.end, func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary folder does no harm
	unprofile, err := b.profile(name)
	if err != nil {
		return load.Summary{}, err
	}
	defer unprofile()
	before := load.Used()
	sum, err := load.Run(ctx, load.Config{Addr: addr, Targets: b.targets, Connections: b.o.Connections,
		Warmup: b.o.Warmup, Duration: b.o.Duration, BodyBytes: b.o.BodyBytes, First: 1, Dir: dir, Prepared: b.o.Prepared, Auth: b.o.Scheme.auth(), Private: b.o.Scheme.Private})
	if err == nil {
		b.o.Say(describe(name, sum))
		requests := 0
		for _, n := range sum.Statuses {
			requests += n
		}
		b.o.Say(name + ": " + load.Used().Since(before, sum.CPU, requests))
	}
	return sum, err
}

func (b *bed) profile(name string) (stop func(), err error) {
	if b.o.Profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(b.o.Profile, name+".cpu.pprof"))
	if err != nil {
		return nil, fmt.Errorf("write a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start a profile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := errors.Join(f.Close(), writeAllocs(filepath.Join(b.o.Profile, name+".allocs.pprof"))); err != nil {
			b.o.Say("profile: " + err.Error())
		}
	}, nil
}

func writeAllocs(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
