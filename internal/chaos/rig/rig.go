// Package rig is what chaos runs stand on: the real program, `wedsync server` and `wedsync worker` as processes of a binary that was
// built with the tag chaos, over a private Postgres (with fsync) and a private Temporal.
//
//	bin, err := rig.Build(ctx, dir)                                   // go build -tags chaos ./cmd/wedsync
//	r, err := rig.New(ctx, rig.Options{Binary: bin, Say: say})        // servers with an empty schema, no process yet
//	defer func() { r.Close(err) }()
//	org, err := rig.Connect(ctx, db, "Studio", integration, secrets)  // whom the run is about
//	err = r.Start("WEDSYNC_PROBE_EVERY=5s")
//	err = r.Until(ctx, time.Minute, "the first answer", func() bool { … })
//
// Everything ends with this process, however it ends, where the system can do that (Linux). A process or server that ends by itself
// is an error of [Rig.Alive] and of everything that waits, with its last words; one that the run ends on purpose is the run's to
// start again. A Rig is used by one goroutine; its addresses do not change and may be read by all.
//
// The tests of the packages that stand on it try it: go test ./internal/chaos/...
package rig

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// Options say what runs, and where.
type Options struct {
	Binary string // wedsync built with the tag chaos, see [Build]
	Dir    string // where the run's folder is made; "" = the system's temporary folder
	Say    func(line string)
}

// Rig is a stack with the program on it.
type Rig struct {
	Dir    string // of this run: data, and the logs of the processes
	Stack  *devstack.Stack
	Ring   *vault.Keyring // what the program seals with
	Addr   string         // host:port of the server, the same after each restart
	Server *Process       // both are nil before Start
	Worker *Process

	o   Options
	env []string
}

// Build makes the program under test in dir, with the tag chaos and further ones, and returns its path. It needs the go command
// and runs in a checkout.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	path := filepath.Join(dir, strings.Join(append([]string{"wedsync"}, tags...), "-"))
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", strings.Join(append([]string{"chaos"}, tags...), ","),
		"-o", path, "github.com/wedsync/wedsync/cmd/wedsync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program under test: %w: %s", err, out)
	}
	return path, nil
}

// New starts Postgres and Temporal and makes the schema. Close it also when the run fails.
func New(ctx context.Context, o Options) (_ *Rig, err error) {
	r := &Rig{o: o}
	defer func() {
		if err != nil {
			r.Close(err)
		}
	}()
	if r.Dir, err = os.MkdirTemp(o.Dir, "wedsync-chaos-"); err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	if err := os.Chmod(r.Dir, 0o711); err != nil { // the database may run as another user
		return nil, err
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	keys := vault.GenerateKey()
	if r.Ring, err = vault.ParseKeys(keys); err != nil {
		return nil, err
	}
	r.Stack, err = devstack.Start(ctx, devstack.Options{DataDir: r.Dir, Ephemeral: true, Private: true, Log: o.Say,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes()}})
	if err != nil {
		return nil, err
	}
	if _, err := store.Migrate(ctx, r.Stack.DatabaseURL()); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	r.Addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	r.env = []string{"DATABASE_URL=" + r.Stack.DatabaseURL(), "TEMPORAL_ADDRESS=" + r.Stack.TemporalAddress(), "WEDSYNC_KEYS=" + keys,
		"WEDSYNC_TOKEN_KEYS=chaos:" + base64.StdEncoding.EncodeToString(secret[:]), "WEDSYNC_HTTP_ADDR=" + r.Addr, "WEDSYNC_LOG_LEVEL=warn"}
	return r, nil
}

// OpenStore opens the database as the program does. Close it before the Rig.
func (r *Rig) OpenStore(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, r.Stack.DatabaseURL(), r.Ring, store.Options{AppName: "wedsync-chaos"})
}

// Connect makes an organisation with one photographer, and an integration of theirs, so that none waits for another's locks.
func Connect(ctx context.Context, db *store.Store, name string, i domain.Integration, secrets map[string]string) (domain.OrgID, error) {
	now := time.Now().UTC()
	org := domain.Organization{ID: domain.NewID[domain.OrgID](now), Name: name, Zone: "UTC", CreatedAt: now}
	if err := db.CreateOrganization(ctx, org, "system:chaos"); err != nil {
		return "", err
	}
	return org.ID, db.Tenant(ctx, org.ID, func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1,
			CreatedAt: now, UpdatedAt: now, Version: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		i.ResourceID = r.ID
		return tx.CreateIntegration(ctx, i, secrets)
	})
}

// Start starts worker and server, with further settings (NAME=value). They need not serve yet when it returns.
func (r *Rig) Start(settings ...string) (err error) {
	r.env = append(r.env, settings...)
	if r.Worker, err = r.launch("worker"); err != nil {
		return err
	}
	return r.RestartServer()
}

// RestartServer starts the server again after it has ended.
func (r *Rig) RestartServer() (err error) {
	r.Server, err = r.launch("server")
	return err
}

// Close ends everything. outcome is what the run came to: where it is an error the folder is kept, for the logs in it.
func (r *Rig) Close(outcome error) {
	for _, p := range []*Process{r.Server, r.Worker} {
		if p != nil {
			p.end()
		}
	}
	if r.Stack != nil {
		end, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stack.Stop(end); err != nil {
			r.o.Say("stop the stack: " + err.Error())
		}
	}
	switch {
	case r.Dir == "":
	case outcome == nil:
		_ = os.RemoveAll(r.Dir) // a leftover in the temporary folder does no harm
	default:
		r.o.Say("the logs of the processes are in " + r.Dir)
	}
}

// Alive is an error when a process or a server ended that should not have.
func (r *Rig) Alive() error {
	for _, p := range []*Process{r.Server, r.Worker} {
		if p != nil && p.gone() {
			return errors.New("the " + p.name + " ended by itself " + p.End())
		}
	}
	select {
	case err := <-r.Stack.Died():
		return err
	default:
		return nil
	}
}

// Until asks until the answer is true. It is an error when something ends meanwhile or the limit is reached.
func (r *Rig) Until(ctx context.Context, limit time.Duration, what string, ask func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, limit)
		}
		if err := r.Alive(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// Pause lets time pass, or returns the error of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
