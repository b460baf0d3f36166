package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

var migrations atomic.Int32

func migrate(ctx context.Context, ownerURL string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(ctx, ownerURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE TABLE booking (id int PRIMARY KEY); INSERT INTO booking VALUES (1)")
	return err
}

func TestParallelTestsSeeOnlyTheirOwnRows(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 8)
	t.Run("group", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				url := New(t, migrate)
				seen <- url
				conn, err := pgx.Connect(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(context.WithoutCancel(t.Context()))
				if _, err := conn.Exec(t.Context(), "INSERT INTO booking VALUES ($1)", 100+i); err != nil {
					t.Fatal(err)
				}
				var n int
				if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM booking").Scan(&n); err != nil || n != 2 {
					t.Fatalf("rows = %d, %v; want the template's one and this test's one", n, err)
				}
			})
		}
	})
	close(seen)
	urls := map[string]bool{}
	for url := range seen {
		urls[url] = true
	}
	if len(urls) != 8 {
		t.Fatalf("%d different databases for 8 tests", len(urls))
	}
	if n := migrations.Load(); n != 1 {
		t.Fatalf("the migration ran %d times, want once", n)
	}
	for url := range urls {
		if conn, err := pgx.Connect(t.Context(), url); err == nil {
			conn.Close(t.Context())
			t.Fatalf("a test's database is still there after the test")
		}
	}
}

func TestDatabaseWithoutMigrationIsEmpty(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), New(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&n); err != nil || n != 0 {
		t.Fatalf("tables = %d, %v; want none", n, err)
	}
}

func TestFailingMigrationIsReported(t *testing.T) {
	t.Parallel()
	New(t, nil) // skips where there is no server
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no such column")
	if _, err := s.template(func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("err = %v, want the migration's", err)
	}
}

func TestMigrationThatLeavesAConnectionIsNamed(t *testing.T) {
	t.Parallel()
	New(t, nil)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	var leaked *pgx.Conn
	_, err = s.template(func(ctx context.Context, url string) (err error) {
		leaked, err = pgx.Connect(ctx, url)
		return err
	})
	if leaked != nil {
		defer leaked.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "1 connections open") {
		t.Fatalf("err = %v, want the leak named", err)
	}
}

func TestSharedServerDropsLeftoversOfDeadRunsOnly(t *testing.T) {
	t.Parallel()
	New(t, nil)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	start := func(run string) *server {
		other := &server{admin: s.admin, run: run, templates: map[uintptr]*template{}}
		if err := other.claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		return other
	}
	exists := func(name string) (there bool) {
		conn, err := pgx.Connect(t.Context(), s.admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
			t.Fatal(err)
		}
		return there
	}
	// This binary's own server is private and unclaimed: hold its run's lock so
	// that its databases count as alive.
	self := &server{admin: s.admin, run: s.run}
	conn, err := pgx.Connect(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	self.guard = conn
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock(hashtextextended($1, 0))", s.run); err != nil {
		t.Fatal(err)
	}

	first := start("dead01")
	for _, name := range []string{templatePrefix + "dead01_0", copyPrefix + "dead01_1"} {
		if err := s.exec(t.Context(), "CREATE DATABASE "+quote(name)); err != nil {
			t.Fatal(err)
		}
	}
	second := start("live02")
	if !exists(templatePrefix + "dead01_0") {
		t.Fatal("the database of a living run was dropped")
	}
	if err := errors.Join(first.guard.Close(t.Context()), second.guard.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	third := start("live03")
	defer third.guard.Close(context.WithoutCancel(t.Context()))
	if exists(templatePrefix+"dead01_0") || exists(copyPrefix+"dead01_1") {
		t.Fatal("the databases of a dead run are still there")
	}
}

func TestAddressFormsTakeAnotherDatabase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://u:p@127.0.0.1:5432/postgres?sslmode=disable": "postgres://u:p@127.0.0.1:5432/x?sslmode=disable",
		"host=127.0.0.1 dbname=postgres":                         "host=127.0.0.1 dbname=postgres dbname=x",
	} {
		if got := withDatabase(in, "x"); got != want {
			t.Errorf("withDatabase(%q) = %q, want %q", in, got, want)
		}
		if config, err := pgx.ParseConfig(want); err != nil || config.Database != "x" {
			t.Errorf("%q selects %v, %v", want, config, err)
		}
	}
}
