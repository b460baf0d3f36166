// Package monitors measures what watching connections costs, and how soon a platform that dies is noticed.
//
//	result, err := monitors.Run(ctx, monitors.Options{Endpoints: 5000, For: 10 * time.Minute})
//	fmt.Println(result.Line())
//
// A worker process over real Postgres and a real Temporal server probes simulated systems over HTTP on loopback, as it probes
// real ones: shard workflows, heartbeating activities, two tries, moves stored with audit line and live event. The systems
// stand in this process; each answers after a time of its own. Halfway one platform stops answering: its connections are
// taken and nothing is ever sent on them, which is the dearest way to die.
//
// What is told: the 99th percentile of how late probes began; the time from the death until the last connection of that
// platform was down, all of them counted from the death on only; processor time and memory of the worker process alone; and events in the histories of all shard
// workflows by probe. The first minute, in which everything is opened for the first time, counts as well.
//
// A process started as a worker must call [Child] first thing in main.
package monitors

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// Options say what to measure. Zero values take the defaults named.
type Options struct {
	Endpoints int           // connections; 5000
	Platforms int           // that they are of; 10
	Every     time.Duration // between two probes; 30 s
	For       time.Duration // altogether; 10 min
	Refuse    bool          // the platform that dies breaks connections off instead of keeping them
	Say       func(string)  // progress
}

// Result is what was measured.
type Result struct {
	Bench     string  `json:"bench"` // "monitor"
	Endpoints int     `json:"endpoints"`
	LagP99    float64 `json:"probe_lag_p99_s"`
	Detect    float64 `json:"detect_s"` // until the last connection of the dead platform is down
	Cores     float64 `json:"cpu_cores"`
	RSS       float64 `json:"rss_mib"` // the most so far
	Events    float64 `json:"history_events_per_probe"`

	// Probes were stored, and Due should have been. Wrong are connections of living platforms that were ever called anything but up,
	// and those of the platform that died that were before it did.
	Probes, Due, Wrong int64 `json:"-"`
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("marshal numbers: " + err.Error())
	}
	return string(b)
}

// Bars returns what misses the project's bars.
func (r Result) Bars() (missed []string) {
	if r.LagP99 > 5 {
		missed = append(missed, fmt.Sprintf("probes begin %.1f s late at p99, bar 5", r.LagP99))
	}
	if r.Detect <= 0 || r.Detect > 120 {
		missed = append(missed, fmt.Sprintf("a platform that dies is noticed after %.0f s, bar 120", r.Detect))
	}
	if r.Cores > 1 {
		missed = append(missed, fmt.Sprintf("%.2f cores, bar 1", r.Cores))
	}
	if r.Events > 0.01 {
		missed = append(missed, fmt.Sprintf("%.4f history events by probe, bar 0.01", r.Events))
	}
	if r.Wrong > 0 {
		missed = append(missed, fmt.Sprintf("%d connections that were well were called something else", r.Wrong))
	}
	// A prober that leaves probes out is not late with any.
	if float64(r.Probes) < 0.95*float64(r.Due) {
		missed = append(missed, fmt.Sprintf("%d of %d probes were made, bar 95 %%", r.Probes, r.Due))
	}
	return missed
}

// Run measures.
func Run(ctx context.Context, o Options) (Result, error) {
	setDefaults(&o)
	r := Result{Bench: "monitor", Endpoints: o.Endpoints}
	stack, err := devstack.Start(ctx, devstack.Options{Ephemeral: true, Private: true, Postgres: devstack.PostgresOptions{Fast: true},
		Temporal: devstack.TemporalOptions{InMemory: true, SearchAttributes: contract.SearchAttributes()}, Log: o.Say})
	if err != nil {
		return r, err
	}
	defer func() { _ = stack.Stop(context.WithoutCancel(ctx)) }() // everything is thrown away
	if _, err := store.Migrate(ctx, stack.DatabaseURL()); err != nil {
		return r, err
	}
	keys := vault.GenerateKey()
	ring, err := vault.ParseKeys(keys)
	if err != nil {
		return r, err
	}
	db, err := store.Open(ctx, stack.DatabaseURL(), ring, store.Options{})
	if err != nil {
		return r, err
	}
	defer db.Close()
	outside, err := newSystems(o.Platforms)
	if err != nil {
		return r, err
	}
	defer outside.close()
	if err := populate(ctx, db, outside, o); err != nil {
		return r, err
	}
	child, err := startChild(ctx, task{Database: stack.DatabaseURL(), Temporal: stack.TemporalAddress(), Keys: keys, Every: o.Every, Platforms: o.Platforms})
	if err != nil {
		return r, err
	}
	defer child.stop()
	temporal, err := flow.New(flow.Options{Address: stack.TemporalAddress(), Ring: ring})
	if err != nil {
		return r, err
	}
	defer temporal.Close()
	before, err := child.usage()
	if err != nil {
		return r, err
	}
	began := time.Now()
	for shard := range domain.ProbeShards {
		if err := temporal.StartProbe(ctx, shard); err != nil {
			return r, err
		}
	}
	o.Say(fmt.Sprintf("%d connections of %d platforms, every %s, for %s; the last platform dies halfway", o.Endpoints, o.Platforms, o.Every, o.For))
	if err := wait(ctx, o.For/2); err != nil {
		return r, err
	}
	died := time.Now()
	outside.die(o.Platforms-1, o.Refuse)
	o.Say("a platform died")
	if err := wait(ctx, o.For-time.Since(began)); err != nil {
		return r, err
	}
	after, err := child.usage()
	if err != nil {
		return r, err
	}
	r.Cores = round(float64(after.CPU-before.CPU)/float64(time.Since(began)), 3)
	r.RSS = round(float64(after.RSS)/(1<<20), 1)
	r.Due = int64(o.Endpoints) * int64(time.Since(began)/o.Every)
	child.stop() // what is left is stored
	return r, evaluate(ctx, stack.DatabaseURL(), temporal, o, died, &r)
}

// evaluate reads what the run left in storage and in histories.
func evaluate(ctx context.Context, url string, temporal *flow.Client, o Options, died time.Time, r *Result) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to read results: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	var lag float64
	if err := conn.QueryRow(ctx, `SELECT count(*), coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY lag), 0)::float8 / 1000
		FROM probe_results, unnest(lag_ms) lag`).Scan(&r.Probes, &lag); err != nil {
		return fmt.Errorf("read lags: %w", err)
	}
	r.LagP99 = round(lag, 3)
	dead := platformName(o.Platforms - 1)
	var down, of int
	var last *time.Time
	if err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM integrations WHERE provider = $1),
		(SELECT count(DISTINCT integration_id) FROM health_changes WHERE provider = $1 AND became = 'down' AND at >= $2),
		(SELECT max(first) FROM (SELECT min(at) AS first FROM health_changes WHERE provider = $1 AND became = 'down' AND at >= $2 GROUP BY integration_id) f),
		(SELECT count(DISTINCT integration_id) FROM health_changes WHERE became <> 'up' AND (provider <> $1 OR at < $2))`, dead, died).Scan(&of, &down, &last, &r.Wrong); err != nil {
		return fmt.Errorf("read moves: %w", err)
	}
	if down < of || last == nil {
		return fmt.Errorf("only %d of %d connections of the dead platform were called down", down, of)
	}
	r.Detect = round(last.Sub(died).Seconds(), 1)
	var events int64
	for shard := range domain.ProbeShards {
		d, err := temporal.Temporal().DescribeWorkflowExecution(ctx, contract.ProbeWorkflowID(shard), "")
		if err != nil {
			return fmt.Errorf("read history of shard %d: %w", shard, err)
		}
		events += d.WorkflowExecutionInfo.HistoryLength
	}
	if r.Probes > 0 {
		r.Events = round(float64(events)/float64(r.Probes), 5)
	}
	o.Say(fmt.Sprintf("%d probes, %d events in %d histories", r.Probes, events, domain.ProbeShards))
	return nil
}

// populate makes tenants of fifty connections each.
func populate(ctx context.Context, db *store.Store, outside *systems, o Options) error {
	const each = 50
	for n := 0; n < o.Endpoints; n += each {
		org := domain.NewID[domain.OrgID](time.Now())
		if err := db.CreateOrganization(ctx, domain.Organization{ID: org, Name: "Studio", Zone: "UTC"}, "system:bench"); err != nil {
			return err
		}
		if err := db.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			res := domain.Resource{ID: domain.NewID[domain.ResourceID](tx.Now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
			if err := tx.CreateResource(ctx, res); err != nil {
				return err
			}
			for k := n; k < min(n+each, o.Endpoints); k++ {
				p := k % o.Platforms
				settings, err := json.Marshal(map[string]string{"url": outside.url(p)})
				if err != nil {
					return err
				}
				if err := tx.CreateIntegration(ctx, domain.Integration{ID: domain.NewID[domain.IntegrationID](tx.Now), Name: "System", Provider: platformName(p),
					Direction: domain.DirectionImport, ResourceID: res.ID, Settings: settings}, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func setDefaults(o *Options) {
	for _, d := range []struct {
		v    *int
		then int
	}{{&o.Endpoints, 5000}, {&o.Platforms, 10}} {
		if *d.v <= 0 {
			*d.v = d.then
		}
	}
	if o.Every <= 0 {
		o.Every = 30 * time.Second
	}
	if o.For <= 0 {
		o.For = 10 * time.Minute
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func round(v float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(v*f) / f
}

// child is the worker process.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stopped bool
}

func startChild(ctx context.Context, t task) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write task: %w", err)
	}
	c := &child{cmd: exec.CommandContext(ctx, program, subcommand)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	if _, err := fmt.Fprintln(c.in, string(text)); err != nil {
		c.stop()
		return nil, fmt.Errorf("tell worker what to do: %w", err)
	}
	if _, err := c.out.ReadString('\n'); err != nil {
		c.stop()
		return nil, fmt.Errorf("wait for worker: %w", err)
	}
	return c, nil
}

// stop ends the process, which ends with its standard input.
func (c *child) stop() {
	if c.stopped {
		return
	}
	c.stopped = true
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

func (c *child) usage() (u usage, err error) {
	if _, err = io.WriteString(c.in, "usage\n"); err != nil {
		return u, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("ask worker: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}
