package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/sdk/interceptor"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/vault"
)

// Ready is what DIR/ready.json holds while a development stack serves. It holds secrets and has mode 0600.
type Ready struct {
	HTTP        string `json:"http"`        // base URL of API and dashboard
	Temporal    string `json:"temporal"`    // host:port
	TemporalUI  string `json:"temporal_ui"` // base URL
	DatabaseURL string `json:"database_url"`
	AdminToken  string `json:"admin_token"`
	PID         int    `json:"pid"`
	Org         string `json:"org"`
}

// DevOptions say how a development stack runs.
type DevOptions struct {
	DataDir      string
	HTTPAddr     string
	TemporalPort int // 0 = any free one
	UIPort       int // 0 = any free one
	Ephemeral    bool
	Private      bool // ignore DATABASE_URL and TEMPORAL_ADDRESS
	Config       Config
	// Postgres are further settings of the private cluster.
	Postgres map[string]string
	// Temporal are dynamic settings of the private Temporal server, KEY=JSON.
	Temporal []string
	// Now is the clock of what is stored and of workflows, for stories on compressed time; nil = that of the machine. Between tells
	// workflows of it.
	Now     func() time.Time
	Between []interceptor.WorkerInterceptor
	// NoWorker leaves the worker out, for benchmarks that bring their own.
	NoWorker bool
	Out      io.Writer
	Terminal *os.File
	// Serving is called once everything answers; the stack stops when it returns an error. nil waits for ctx.
	Serving func(ctx context.Context, r Ready) error
}

// devOrg is the organisation that the development token belongs to.
const devOrg = "WedSync development"

// devTokenLife is how long the printed token works; each start prints a new one.
const devTokenLife = 30 * 24 * time.Hour

// Stack is a running development stack, for tests and benchmarks that look inside.
type Stack struct {
	Ready  Ready
	Core   *Core
	Server *Server
	Config Config
}

// Dev runs Postgres, Temporal, server and worker in one process until ctx ends, and stops them in order. Its state is in
// the data folder, so the next start goes on where this one ended, also after a kill.
func Dev(ctx context.Context, o DevOptions) error {
	return DevStack(ctx, o, func(ctx context.Context, s *Stack) error {
		if o.Serving != nil {
			return o.Serving(ctx, s.Ready)
		}
		<-ctx.Done()
		return nil
	})
}

// DevStack is Dev with a look inside: it stops when use returns.
func DevStack(ctx context.Context, o DevOptions, use func(ctx context.Context, s *Stack) error) (err error) {
	log := func(line string) { fmt.Fprintln(o.Out, line) }
	// The port is taken first: it is the quickest thing to be wrong.
	listener, err := listen(o.HTTPAddr)
	if err != nil {
		return err
	}
	defer listener.Close()

	cfg := o.Config
	stack, err := devstack.Start(ctx, devstack.Options{DataDir: o.DataDir, TemporalPort: o.TemporalPort, UIPort: o.UIPort, Ephemeral: o.Ephemeral,
		Private: o.Private, Log: log, Terminal: o.Terminal,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes(), CodecEndpoint: "http://" + listener.Addr().String() + "/codec",
			DynamicConfig: o.Temporal},
		Postgres: devstack.PostgresOptions{Settings: o.Postgres}})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, stack.Stop(end))
	}()

	dir := stack.Dir()
	logs, err := os.OpenFile(filepath.Join(dir, "logs", "wedsync.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return &devstack.UserError{Line: "open the log in the data folder: " + reason(err), Err: err}
	}
	defer logs.Close()
	cfg.logTo, cfg.now, cfg.between = logs, o.Now, o.Between
	if cfg, err = devSecrets(dir, cfg); err != nil {
		return err
	}
	cfg.DatabaseURL, cfg.TemporalAddress, cfg.TemporalUI, cfg.AllowPrivate = stack.DatabaseURL(), stack.TemporalAddress(), stack.TemporalUI(), true
	cfg.HTTPAddr = listener.Addr().String()
	cfg.AddressRate, cfg.OrganizationRate = 0, 0 // every sender is this machine, and its tools measure
	// Production would wait; a development stack says so and goes on.
	gate := WeddingDay{DatabaseURL: cfg.DatabaseURL, Within: freeze.DeployWithin}
	if behind, err := gate.Behind(ctx); err == nil && behind {
		if days, err := gate.Days(ctx); err == nil && days.Any() {
			log("a migration in production would be refused now: " + days.String())
		}
	}
	applied, err := store.Migrate(ctx, cfg.DatabaseURL)
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if applied > 0 {
		log(fmt.Sprintf("database: %d migrations applied", applied))
	}
	core, err := Open(ctx, cfg, "dev")
	if err != nil {
		return err
	}
	defer core.Close()
	ready, err := readiness(ctx, core, stack.TemporalUI())
	if err != nil {
		return err
	}

	// Server and worker outlive ctx until use has returned, so that it can still tidy up through them.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv, err := NewServer(core, listener.Addr().String())
	if err != nil {
		return err
	}
	parts := make(chan error, 2)
	running := 1
	go func() { parts <- srv.Run(run, listener) }()
	if !o.NoWorker {
		running++
		go func() { parts <- RunWorker(run, core) }()
	}
	defer func() {
		stop()
		for ; running > 0; running-- {
			err = errors.Join(err, <-parts)
		}
	}()
	if err := writeReady(dir, ready); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(dir, readyFile))

	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	used := make(chan error, 1)
	go func() { used <- use(watched, &Stack{Ready: ready, Core: core, Server: srv, Config: cfg}) }()
	select {
	case err := <-used:
		return err
	case err := <-parts:
		running--
		unwatch()
		<-used
		if err == nil && ctx.Err() == nil {
			err = domain.E(domain.KindInternal, "server or worker stopped by itself")
		}
		return err
	case err := <-stack.Died():
		unwatch()
		<-used
		return err
	}
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &devstack.UserError{Line: fmt.Sprintf("cannot listen on %s (%s); choose another address with --http-addr", addr, reason(err)), Err: err}
	}
	return l, nil
}

func reason(err error) string {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err.Error()
	}
	return err.Error()
}

// devSecrets fills in keys that are not configured, from files in the data folder.
func devSecrets(dir string, cfg Config) (Config, error) {
	if cfg.Keys == "" {
		ring, err := vault.LoadOrCreateFile(filepath.Join(dir, "keys"))
		if err != nil {
			return cfg, &devstack.UserError{Line: err.Error(), Err: err}
		}
		cfg.Keys = ring.Encode()
	}
	if cfg.TokenKeys != "" {
		return cfg, nil
	}
	path := filepath.Join(dir, "token-key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var b [32]byte
		if _, err := rand.Read(b[:]); err != nil {
			return cfg, err
		}
		text = []byte("dev:" + base64.StdEncoding.EncodeToString(b[:]))
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return cfg, &devstack.UserError{Line: "read or make the token key in the data folder: " + reason(err), Err: err}
	}
	cfg.TokenKeys = strings.TrimSpace(string(text))
	return cfg, nil
}

// readiness finds or makes the development organisation and mints its token.
func readiness(ctx context.Context, core *Core, ui string) (Ready, error) {
	orgs, err := core.Store.Organizations(ctx)
	if err != nil {
		return Ready{}, err
	}
	var id domain.OrgID
	for _, org := range orgs {
		if org.Name == devOrg {
			id = org.ID
		}
	}
	if id == "" {
		id = domain.NewID[domain.OrgID](time.Now())
		if err := core.Store.CreateOrganization(ctx, domain.Organization{ID: id, Name: devOrg, Zone: "Europe/London"}, "system:dev"); err != nil {
			return Ready{}, err
		}
	}
	admin, err := core.Config.Mint(token.Grant{Org: id, Role: domain.RoleAdmin, Subject: "dev-admin"}, devTokenLife)
	if err != nil {
		return Ready{}, err
	}
	return Ready{HTTP: "http://" + core.Config.HTTPAddr, Temporal: core.Config.TemporalAddress, TemporalUI: ui,
		DatabaseURL: core.Config.DatabaseURL, AdminToken: admin, PID: os.Getpid(), Org: string(id)}, nil
}

const readyFile = "ready.json"

func writeReady(dir string, r Ready) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, readyFile+".tmp")
	if err := os.WriteFile(temp, append(b, '\n'), 0o600); err != nil {
		return &devstack.UserError{Line: "write ready.json into the data folder: " + reason(err), Err: err}
	}
	return os.Rename(temp, filepath.Join(dir, readyFile))
}

// ReadReady reads DIR/ready.json of a running stack.
func ReadReady(dir string) (Ready, error) {
	var r Ready
	b, err := os.ReadFile(filepath.Join(dir, readyFile))
	if err != nil {
		return r, &devstack.UserError{Line: "no running stack in " + dir + " (start one with: wedsync dev)", Err: err}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, &devstack.UserError{Line: "ready.json in " + dir + " is damaged; restart the stack", Err: err}
	}
	return r, nil
}
