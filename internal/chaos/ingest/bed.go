package ingest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// target is an integration that senders post to.
type target struct {
	id     domain.IntegrationID
	secret []byte
}

// bed is the stack under test.
type bed struct {
	o       Options
	stack   *devstack.Stack
	keys    string
	token   string
	addr    string // of the server, the same after each restart
	control string // file that arms failpoints
	orders  int    // written to it so far
	targets []target
	server  *process
	worker  *process
	stops   int // of Postgres, to take turns between its two ways
}

func newBed(ctx context.Context, o Options) (_ *bed, err error) {
	b := &bed{o: o, control: filepath.Join(o.Dir, "failpoints"), keys: vault.GenerateKey()}
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
	if err := b.seed(ctx); err != nil {
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
	if err := os.WriteFile(b.control, nil, 0o600); err != nil {
		return nil, err
	}
	if b.worker, err = b.launch("worker"); err != nil {
		return nil, err
	}
	b.server, err = b.launch("server")
	return b, err
}

// seed makes an organisation per integration, so that none waits for another's locks.
func (b *bed) seed(ctx context.Context) error {
	ring, err := vault.ParseKeys(b.keys)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, b.stack.DatabaseURL(), ring, store.Options{AppName: "wedsync-chaos"})
	if err != nil {
		return err
	}
	defer db.Close()
	now := time.Now().UTC()
	for n := range b.o.Targets {
		org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: fmt.Sprintf("Studio %d", n+1), Zone: "UTC", CreatedAt: now}
		if err := db.CreateOrganization(ctx, org, "system:chaos"); err != nil {
			return err
		}
		t := target{id: domain.NewID[domain.IntegrationID](now), secret: []byte(domain.NewID[domain.PushID](now))}
		err := db.Tenant(ctx, org.ID, func(ctx context.Context, tx *store.Tx) error {
			r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson,
				Zone: "UTC", Capacity: 1, CreatedAt: now, UpdatedAt: now, Version: 1}
			if err := tx.CreateResource(ctx, r); err != nil {
				return err
			}
			i := domain.Integration{ID: t.id, Name: "Studio system", Provider: "custom", State: domain.IntegrationActive,
				Direction: domain.DirectionImport, ResourceID: r.ID, Settings: crmsim.MinimalWebhookSettings()}
			return tx.CreateIntegration(ctx, i, map[string]string{"webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString(t.secret)})
		})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, t)
	}
	return nil
}

func (b *bed) close() {
	for _, p := range []*process{b.server, b.worker} {
		if p != nil {
			p.end()
		}
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
	cmd.Env = append(cmd.Env, "DATABASE_URL="+b.stack.DatabaseURL(), "TEMPORAL_ADDRESS="+b.stack.TemporalAddress(), "WEDSYNC_KEYS="+b.keys,
		"WEDSYNC_TOKEN_KEYS="+b.token, "WEDSYNC_HTTP_ADDR="+b.addr, "WEDSYNC_LOG_LEVEL=warn", "WEDSYNC_FAILPOINTS="+b.control)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, DiesWithUs()
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

// killed reports whether the process was ended by SIGKILL.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
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
			return fmt.Errorf("the %s ended by itself (%s): %s", p.name, p.cmd.ProcessState, lastLine(p.log.Name()))
		}
	}
	select {
	case err := <-b.stack.Died():
		return err
	default:
		return nil
	}
}

func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// until asks until the answer is true. It is an error when a process ends meanwhile or the limit is reached.
func (b *bed) until(ctx context.Context, limit time.Duration, what string, ask func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
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

// settle waits until nothing waits any more, or ctx ends: what is left then is the checker's to report.
func (b *bed) settle(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.stack.DatabaseURL())
	if err != nil {
		return fmt.Errorf("connect to see whether all is at rest: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	began := time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		var left int
		err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM deliveries WHERE state IN ('received', 'retrying')) + (SELECT count(*) FROM outbox)`).Scan(&left)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("see whether all is at rest: %w", err)
		}
		if held, err := b.dispatcherHolds(ctx); left == 0 && held == 0 && err == nil {
			b.o.Say(fmt.Sprintf("at rest after %v", time.Since(began).Round(100*time.Millisecond)))
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := b.alive(); err != nil {
			return err
		}
	}
}

// dispatcherHolds asks the server how many workflows its dispatcher has yet to tell something.
func (b *bed) dispatcherHolds(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		var n float64
		if rest, ok := strings.CutPrefix(lines.Text(), "wedsync_inbox_pending_targets "); ok {
			_, err := fmt.Sscan(rest, &n)
			return int(n), err
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("read the server's metrics: wedsync_inbox_pending_targets is not among them"))
}
