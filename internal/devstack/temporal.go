package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
)

// namespace is the one the development server makes.
const namespace = "default"

// devServer is a Temporal development server to be run.
type devServer struct {
	program string
	log     *os.File
	lock    *instanceLock
	options *Options
}

func (d *devServer) store() string { return filepath.Join(d.options.DataDir, "temporal.db") }

func (d *devServer) pidFile() string { return filepath.Join(d.options.DataDir, "temporal.pid") }

// start runs the server and returns once it, its namespace, its search
// attributes and its UI are there.
func (d *devServer) start(ctx context.Context) (server *child, address, ui string, err error) {
	if err := d.endLeftover(ctx); err != nil {
		return nil, "", "", err
	}
	dir := d.options.DataDir
	grpc := portChoice{flag: flagTemporalPort, want: d.options.TemporalPort, keep: filepath.Join(dir, "temporal.port")}
	web := portChoice{flag: flagUIPort, want: d.options.UIPort, keep: filepath.Join(dir, "temporal-ui.port")}
	for attempt := 1; ; attempt++ {
		port, err := grpc.pick()
		if err != nil {
			return nil, "", "", err
		}
		uiPort, err := web.pick()
		if err != nil {
			return nil, "", "", err
		}
		if port == uiPort {
			if !grpc.automatic() && !web.automatic() {
				return nil, "", "", userErrorf(nil, "%s and %s are both %d; they must differ", flagTemporalPort, flagUIPort, port)
			}
			continue
		}
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		ui = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(uiPort))
		server, err := d.startOn(ctx, port, uiPort, address, ui)
		if err == nil {
			return server, address, ui, nil
		}
		// The server also takes ports of its own choice for its parts, which
		// another process may grab first; so any early end is tried again.
		var early *earlyEnd
		if attempt == startAttempts || ctx.Err() != nil || !errors.As(err, &early) {
			return nil, "", "", err
		}
	}
}

// earlyEnd is the cause of a start that failed because the server ended.
type earlyEnd struct{ how string }

func (e *earlyEnd) Error() string { return "it ended by itself, " + e.how }

func (d *devServer) startOn(ctx context.Context, port, uiPort int, address, ui string) (*child, error) {
	abs, err := filepath.Abs(d.options.DataDir)
	if err != nil {
		return nil, folderError(d.options.DataDir, err)
	}
	spec := childSpec{
		name: "temporal", path: d.program, args: d.args(port, uiPort), env: temporalEnv(abs, d.options.Temporal.MemoryMiB),
		dir: d.options.DataDir, log: d.log, lock: d.lock,
		end: []syscall.Signal{syscall.SIGTERM}, wait: 10 * time.Second,
	}
	if d.options.Ephemeral && d.options.SkipPostgres {
		spec.remove = abs
	}
	server, err := spawn(spec)
	if err != nil {
		return nil, err
	}
	err = d.awaitReady(ctx, server, address, ui)
	if err == nil {
		err = os.WriteFile(d.pidFile(), []byte(strconv.Itoa(server.pid())+"\n"), 0o644)
	}
	if err == nil {
		return server, nil
	}
	_ = server.stop(context.WithoutCancel(ctx))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var user *UserError
	if errors.As(err, &user) {
		return nil, err
	}
	return nil, userErrorf(err, "the Temporal server did not start (%v); see %s: %s", err, d.log.Name(), lastLine(d.log.Name()))
}

// storePragmas tune the store. Its pages are kept in up to 128 MiB of memory instead of SQLite's 2 MiB, and its log is written back
// every 32 MiB instead of every 4: thousands of open workflows do not fit into so little, and each step of one then reads its pages
// from the file anew.
var storePragmas = []string{"journal_mode=wal", "synchronous=normal", "cache_size=-131072", "wal_autocheckpoint=8192"}

func (d *devServer) args(port, uiPort int) []string {
	o := d.options.Temporal
	args := []string{
		"server", "start-dev", "--headless=false",
		"--ip", "127.0.0.1", "--port", strconv.Itoa(port), "--ui-port", strconv.Itoa(uiPort),
		"--namespace", namespace,
	}
	if !o.InMemory {
		abs, err := filepath.Abs(d.store())
		if err != nil {
			abs = d.store()
		}
		args = append(args, "--db-filename", abs)
		for _, pragma := range storePragmas {
			args = append(args, "--sqlite-pragma", pragma)
		}
	}
	for _, name := range sortedKeys(o.SearchAttributes) {
		args = append(args, "--search-attribute", name+"="+o.SearchAttributes[name])
	}
	for _, setting := range o.DynamicConfig {
		args = append(args, "--dynamic-config-value", setting)
	}
	if o.CodecEndpoint != "" {
		args = append(args, "--ui-codec-endpoint", o.CodecEndpoint)
	}
	return args
}

// temporalEnv is this process's environment without Temporal's own variables,
// which would configure the command, with its settings file kept out of the
// user's home, and with a calmer garbage collector unless the user chose one.
func temporalEnv(dir string, memoryMiB int) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TEMPORAL_") && !strings.HasPrefix(v, "HOME=") && !strings.HasPrefix(v, "XDG_CONFIG_HOME=") {
			env = append(env, v)
		}
	}
	// At 100 webhooks a second the server takes most of one of two cores, and collecting garbage is a part of that which
	// memory can buy off. In one hour p99 was 406 and 1,157 ms at Go's default pace and 132 to 435 ms at this one; in a
	// slower hour of the same machine it passed 1,100 ms at this pace too.
	if os.Getenv("GOGC") == "" {
		env = append(env, "GOGC=400")
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		if memoryMiB <= 0 {
			memoryMiB = 1024
		}
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%dMiB", memoryMiB))
	}
	return append(env, "HOME="+dir, "XDG_CONFIG_HOME="+dir)
}

// endLeftover stops a server whose supervisor and watcher were both killed;
// two servers on one store would damage it.
func (d *devServer) endLeftover(ctx context.Context) error {
	pid := readPID(d.pidFile())
	found, err := endOrphan(ctx, pid, "start-dev", syscall.SIGTERM)
	if err != nil {
		return err
	}
	if found {
		d.options.logf("stopped a Temporal server of an earlier run (process %d)", pid)
	}
	if err := os.Remove(d.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return folderError(d.options.DataDir, err)
	}
	return nil
}

// awaitReady asks the server real questions until all are answered.
func (d *devServer) awaitReady(ctx context.Context, server *child, address, ui string) error {
	limit := d.options.StartTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	step := func(ask func(context.Context) error) error {
		for {
			if last = ask(ctx); last == nil {
				return nil
			}
			var user *UserError
			if errors.As(last, &user) {
				return last
			}
			if server.exited() {
				return &earlyEnd{how: server.exitText()}
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("no answer within %v: %w", limit, last)
			}
		}
	}
	var c client.Client
	if err := step(func(ctx context.Context) (err error) {
		c, err = dialTemporal(ctx, address)
		return err
	}); err != nil {
		return err
	}
	defer c.Close()
	for _, ask := range []func(context.Context) error{
		func(ctx context.Context) error { return askHistory(ctx, c) },
		func(ctx context.Context) error {
			return ensureSearchAttributes(ctx, c, d.options.Temporal.SearchAttributes)
		},
		func(ctx context.Context) error { return askUI(ctx, ui) },
	} {
		if err := step(ask); err != nil {
			return err
		}
	}
	return nil
}

// dialTemporal connects and asks for the system information.
func dialTemporal(ctx context.Context, address string) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return client.DialContext(ctx, client.Options{
		HostPort: address, Namespace: namespace,
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// askHistory looks for a workflow that does not exist. The right answer needs
// the namespace and the history service, which come up after the front.
func askHistory(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := c.DescribeWorkflowExecution(ctx, "devstack-readiness", "")
	var missing *serviceerror.NotFound
	if err == nil || errors.As(err, &missing) {
		return nil
	}
	return err
}

// ensureSearchAttributes adds what is missing: the server's own flag is
// ignored for a store that already exists.
func ensureSearchAttributes(ctx context.Context, c client.Client, wanted map[string]string) error {
	if len(wanted) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range sortedKeys(wanted) {
		kind, err := enums.IndexedValueTypeFromString(wanted[name])
		if err != nil {
			return userErrorf(err, "search attribute %s has the unknown type %s; use Text, Keyword, Int, Double, Bool, Datetime or KeywordList", name, wanted[name])
		}
		old, found := have.GetCustomAttributes()[name]
		switch {
		case !found:
			missing[name] = kind
		case old != kind:
			return userErrorf(nil, "the Temporal store has the search attribute %s as %s, not %s; move temporal.db away to start afresh", name, old, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return nil
}

func askUI(ctx context.Context, ui string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, ui+"/healthz", nil)
	if err != nil {
		return err
	}
	// A proxy of the environment has no business with a loopback address.
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := direct.Do(request)
	if err != nil {
		return fmt.Errorf("ask the Temporal UI: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the Temporal UI: status %d", response.StatusCode)
	}
	return nil
}

// externalTemporal checks the server named by TEMPORAL_ADDRESS. One that wants
// TLS or a key is only connected to: the product's client holds those settings.
func externalTemporal(ctx context.Context, address string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(limit, 10*time.Second))
	defer cancel()
	var err error
	if securedTemporal() {
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address); err == nil {
			return conn.Close()
		}
	} else {
		var c client.Client
		if c, err = dialTemporal(ctx, address); err == nil {
			c.Close()
			return nil
		}
	}
	return userErrorf(err, "the Temporal server of TEMPORAL_ADDRESS at %s does not answer: %v", address, rootCause(err))
}

func securedTemporal() bool {
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "TEMPORAL_TLS") || strings.HasPrefix(v, "TEMPORAL_API_KEY=") {
			return true
		}
	}
	return false
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
