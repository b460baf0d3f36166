// Package pgtest gives every test a real PostgreSQL database of its own.
//
//	url := pgtest.New(t, migrate) // storetest.URL(t) for one with the tables of package store
//
// The first call in a test binary starts a private, non-durable cluster (about
// two seconds) and runs the migration once into a template. Every call then
// copies the template, which takes tens of milliseconds, so tests can run in
// parallel and may do what they like with their database. It is dropped when
// the test ends.
//
// No TestMain is needed: the cluster ends and its files go with the test
// process, however that ends. WEDSYNC_TEST_DATABASE_URL names a running server
// to use instead; its user must be allowed to create databases. Leftovers
// there of a killed test process are dropped by the next one.
//
// Roles belong to the whole cluster, so a migration must accept that the roles
// it wants exist already. Without PostgreSQL on the machine and no way to
// download it, tests are skipped with the reason, or fail if CI=true. They are
// also skipped by -short. DATABASE_URL is never used.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/wedsync/wedsync/internal/devstack"
)

// EnvURL is the environment variable that names a running server.
const EnvURL = "WEDSYNC_TEST_DATABASE_URL"

const (
	templatePrefix = "wedsync_template_"
	copyPrefix     = "wedsync_copy_"
)

// server is the cluster shared by the tests of this binary.
type server struct {
	admin string // URL of the maintenance database
	run   string // names this process's databases
	guard *pgx.Conn
	copy  string // how CREATE DATABASE copies

	mu        sync.Mutex
	templates map[uintptr]*template
	copies    int
}

type template struct {
	once sync.Once
	name string
	err  error
}

var shared = sync.OnceValues(startServer)

// New returns the URL of a fresh database, a copy of one that migrate has
// prepared; nil stands for an empty one. migrate gets the URL of the template
// with the rights of a superuser and must close its connections. It runs once
// per test binary and function: two calls with closures of the same function
// literal share a template. The test fails if migrate does.
func New(t testing.TB, migrate func(ctx context.Context, ownerURL string) error) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: needs PostgreSQL")
	}
	s, err := shared()
	if err != nil {
		unavailable(t, err)
	}
	from, err := s.template(migrate)
	if err != nil {
		t.Fatalf("prepare the template database: %v", err)
	}
	s.mu.Lock()
	s.copies++
	name := fmt.Sprintf("%s%s_%d", copyPrefix, s.run, s.copies)
	s.mu.Unlock()
	if err := s.exec(t.Context(), "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(from)+s.copy); err != nil {
		t.Fatalf("copy the template database: %v", err)
	}
	t.Cleanup(func() {
		// t's own context has ended by now.
		if err := s.exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return withDatabase(s.admin, name)
}

// unavailable skips on a bare machine and fails on a fault or in CI.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: no PostgreSQL: %v", err)
	}
	t.Fatalf("start PostgreSQL for tests: %v", err)
}

func startServer() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	tag := make([]byte, 6)
	if _, err := rand.Read(tag); err != nil {
		return nil, err
	}
	s := &server{admin: os.Getenv(EnvURL), run: hex.EncodeToString(tag), templates: map[uintptr]*template{}}
	if s.admin == "" {
		stack, err := devstack.Start(ctx, devstack.Options{
			Ephemeral: true, Private: true, SkipTemporal: true,
			Postgres: devstack.PostgresOptions{Fast: true, Settings: map[string]string{"max_connections": "300"}},
			Log:      func(line string) { fmt.Fprintln(os.Stderr, "pgtest: "+line) },
		})
		if err != nil {
			return nil, err
		}
		go func() {
			if err := <-stack.Died(); err != nil {
				fmt.Fprintln(os.Stderr, "pgtest: "+err.Error())
			}
		}()
		s.admin = withDatabase(stack.DatabaseURL(), "postgres")
		s.copy, err = fastCopy(ctx, s.admin)
		return s, err
	}
	return s, s.claim(ctx)
}

// fastCopy is the clause for copying files instead of logging every page, about
// three times as fast where nothing is synced to disk. Versions before 15 know
// no other way and no clause.
func fastCopy(ctx context.Context, admin string) (string, error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", fmt.Errorf("connect to the private cluster: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var modern bool
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int >= 150000").Scan(&modern); err != nil {
		return "", fmt.Errorf("ask the server's version: %w", err)
	}
	if modern {
		return " STRATEGY FILE_COPY", nil
	}
	return "", nil
}

// claim marks this run as alive on a server that outlives it, by a session lock
// held to the end of the process, and drops what dead runs left.
func (s *server) claim(ctx context.Context) error {
	var err error
	if s.guard, err = pgx.Connect(ctx, s.admin); err != nil {
		return fmt.Errorf("connect to %s: %w", EnvURL, err)
	}
	if _, err := s.guard.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", s.run); err != nil {
		return fmt.Errorf("mark this run: %w", err)
	}
	rows, err := s.guard.Query(ctx, `SELECT datname FROM pg_database WHERE datname LIKE 'wedsync\_template\_%' OR datname LIKE 'wedsync\_copy\_%'`)
	if err != nil {
		return fmt.Errorf("list leftovers: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list leftovers: %w", err)
	}
	for _, name := range names {
		run, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, templatePrefix), copyPrefix), "_")
		var dead bool
		if err := s.guard.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AND $1 <> $2", run, s.run).Scan(&dead); err != nil {
			return fmt.Errorf("ask whether a run is alive: %w", err)
		}
		if !dead {
			continue
		}
		if _, err := s.guard.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("drop a leftover: %w", err)
		}
		if _, err := s.guard.Exec(ctx, "SELECT pg_advisory_unlock(hashtextextended($1, 0))", run); err != nil {
			return fmt.Errorf("forget a dead run: %w", err)
		}
	}
	return nil
}

// template returns the name of the migrated database, made on first use.
func (s *server) template(migrate func(context.Context, string) error) (string, error) {
	key := uintptr(0)
	if migrate != nil {
		key = reflect.ValueOf(migrate).Pointer()
	}
	s.mu.Lock()
	made, found := s.templates[key]
	if !found {
		made = &template{name: fmt.Sprintf("%s%s_%d", templatePrefix, s.run, len(s.templates))}
		s.templates[key] = made
	}
	s.mu.Unlock()
	made.once.Do(func() {
		// The template outlives the test that happens to come first.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if made.err = s.exec(ctx, "CREATE DATABASE "+quote(made.name)); made.err != nil || migrate == nil {
			return
		}
		if made.err = migrate(ctx, withDatabase(s.admin, made.name)); made.err != nil {
			return
		}
		made.err = s.settle(ctx, made.name)
	})
	return made.name, made.err
}

// settle waits until no connection to the template is left: closing one on the
// client's side is seen by the server a moment later, and a template in use
// cannot be copied. Autovacuum does not count, the copy waits for it.
func (s *server) settle(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	for {
		var open int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'", name).Scan(&open); err != nil {
			return err
		}
		if open == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("the migration left %d connections open; close them before it returns", open)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// withDatabase returns the address with another database name.
func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		// The key=value form: the last of two equal keys wins.
		return address + " dbname=" + name
	}
	u.Path = "/" + name
	return u.String()
}
