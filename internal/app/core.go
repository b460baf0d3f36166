package app

import (
	"context"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
	"github.com/wedsync/wedsync/internal/vault"
)

// Version is the release, set by the linker.
var Version = "dev"

// Core is what server and worker have in common.
type Core struct {
	Config  Config
	Ring    *vault.Keyring
	Store   *store.Store
	Flow    *flow.Client
	HTTP    *httpx.Client
	Opener  *connect.Opener
	Grants  *connect.Grants
	Metrics *prometheus.Registry
	Log     *slog.Logger
	Tracer  *tracing.Tracer // nil = tracing is off

	Outbound *outbound.Discipline // of calls to integrations' systems

	consents *httpx.Client // to token endpoints
}

// Open connects to Postgres and prepares everything else. Temporal may be down. name appears in Postgres and in
// Temporal UI.
func Open(ctx context.Context, c Config, name string) (*Core, error) {
	if err := c.Validate(name != "worker"); err != nil {
		return nil, err
	}
	core := &Core{Config: c, Metrics: prometheus.NewRegistry()}
	core.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if core.Log, err = c.Logger(); err != nil {
		return nil, err
	}
	if core.Ring, err = c.ring(); err != nil {
		return nil, err
	}
	policy := httpx.PublicOnly
	if c.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	if err := core.openTraces(ctx, name); err != nil {
		return nil, err
	}
	if core.HTTP, err = httpx.New(httpx.Options{Allow: policy, UserAgent: "WedSync/" + Version}); err != nil {
		core.closeTracer()
		return nil, err
	}
	if core.Store, err = store.Open(ctx, c.DatabaseURL, core.Ring, store.Options{MaxConns: c.DatabaseConns, SystemMaxConns: c.SystemConns,
		AppName: "wedsync " + name, Now: c.now}); err != nil {
		core.HTTP.Close()
		core.closeTracer()
		return nil, err
	}
	if err := core.checkSchema(ctx); err != nil {
		core.Close()
		return nil, err
	}
	host, _ := os.Hostname()
	if core.Flow, err = flow.New(flow.Options{Address: c.TemporalAddress, Namespace: c.TemporalNS, Ring: core.Ring, Logger: core.Log,
		Identity: name + "@" + host, Traced: core.Tracer != nil}); err != nil {
		core.Close()
		return nil, err
	}
	rates, err := c.outboundRates()
	if err != nil {
		core.Close()
		return nil, err
	}
	if core.Outbound, err = outbound.New(ctx, outbound.Options{Store: core.Store, Log: core.Log, Metrics: core.Metrics, Rates: rates}); err != nil {
		core.Close()
		return nil, err
	}
	if err := core.openGrants(); err != nil {
		core.Close()
		return nil, err
	}
	if err := core.measureConnections(); err != nil {
		core.Close()
		return nil, err
	}
	core.Opener = core.openerOver(core.HTTP).WithOutbound(core.Outbound)
	return core, nil
}

// openerOver opens connections over a client, with everything that providers may ask for but the discipline of calls: probes go
// without, because they find out that a system answers again.
func (c *Core) openerOver(client *httpx.Client) *connect.Opener {
	return connect.New(findProvider, client, c.Config.clock(), 0).WithGrants(c.Grants).WithConsents(connect.StoredConsents(c.Store))
}

func (c *Core) checkSchema(ctx context.Context) error {
	have, want, err := store.SchemaVersion(ctx, c.Config.DatabaseURL)
	if err != nil {
		return err
	}
	if have != want {
		return domain.E(domain.KindInvalid, "the database schema is at version %d and this program needs %d; run: wedsync migrate", have, want)
	}
	return nil
}

// measureConnections puts the connections to outside systems into the metrics.
func (c *Core) measureConnections() error {
	for _, one := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_outbound_connections", Help: "Connections to outside systems that are open, idle ones included."},
			func() float64 { return float64(c.HTTP.Connections().Open) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_outbound_connections_limit", Help: "Connections to outside systems that may be open at once."},
			func() float64 { return float64(c.HTTP.Connections().Limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wedsync_outbound_connections_made_total", Help: "Connections made to outside systems."},
			func() float64 { return float64(c.HTTP.Connections().Made) }),
	} {
		if err := c.Metrics.Register(one); err != nil {
			return domain.E(domain.KindInternal, "register metrics of connections: %w", err)
		}
	}
	return nil
}

// Close ends the connections.
func (c *Core) Close() {
	if c.Outbound != nil {
		c.Outbound.Close()
	}
	if c.Flow != nil {
		c.Flow.Close()
	}
	if c.consents != nil {
		c.consents.Close()
	}
	c.Store.Close()
	c.HTTP.Close()
	c.closeTracer()
}

// findProvider is providers.Get for those who only ask whether there is one.
func findProvider(name string) (provider.Registration, bool) {
	r, err := providers.Get(name)
	return r, err == nil
}
