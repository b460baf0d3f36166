package devstack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestHalfInitialisedFolderIsMovedAside(t *testing.T) {
	t.Parallel()
	needServers(t)
	dir := openDir(t)
	half := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(filepath.Join(half, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, Options{DataDir: dir, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	query[int](t, s.DatabaseURL(), "SELECT 1")
	aside, err := filepath.Glob(filepath.Join(dir, "postgres.broken-*", "PG_VERSION"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("moved aside: %v, %v; want one folder with its files", aside, err)
	}
}

func TestClusterOfSomebodyElseIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	needServers(t)
	dir := openDir(t)
	s := begin(t, Options{DataDir: dir, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A used cluster without the marker is one that wedsync did not make.
	if err := os.Remove(filepath.Join(dir, "postgres", initialised)); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{DataDir: dir, SkipTemporal: true, Private: true})
	wantUserError(t, err, "did not make", "DATABASE_URL")
	if _, err := os.Stat(filepath.Join(dir, "postgres", "PG_VERSION")); err != nil {
		t.Fatalf("the refused cluster was touched: %v", err)
	}
}

func TestLostPasswordIsSetAnewAndDataStays(t *testing.T) {
	t.Parallel()
	needServers(t)
	o := Options{DataDir: openDir(t), SkipTemporal: true}
	first := begin(t, o)
	execSQL(t, first.DatabaseURL(), "CREATE TABLE note (id int); INSERT INTO note VALUES (7)")
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.DataDir, "postgres.password")); err != nil {
		t.Fatal(err)
	}
	// A crash also leaves this file; its number is some living process.
	if err := os.WriteFile(filepath.Join(o.DataDir, "postgres", "postmaster.pid"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := begin(t, o)
	if got := query[int](t, second.DatabaseURL(), "SELECT id FROM note"); got != 7 {
		t.Errorf("row = %d, want 7", got)
	}
	if first.DatabaseURL() == second.DatabaseURL() {
		t.Error("the password did not change")
	}
}

func TestClusterOfAVersionNotInstalledIsRefused(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	folder := filepath.Join(dir, "postgres")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"PG_VERSION": "9\n", initialised: "initdb completed\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), Options{DataDir: dir, SkipTemporal: true, Private: true})
	wantUserError(t, err, "made by PostgreSQL 9", folder)
}

func TestServerThatCannotStartIsExplainedInOneLine(t *testing.T) {
	t.Parallel()
	needServers(t)
	_, err := Start(t.Context(), Options{Ephemeral: true, SkipTemporal: true, Private: true,
		Postgres: PostgresOptions{Fast: true, Settings: map[string]string{"max_wal_senders": "lots"}}})
	wantUserError(t, err, "PostgreSQL did not start", "max_wal_senders", "postgres.log")
}

func TestNewestInstallFolderComesFirst(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]float64{
		"/usr/lib/postgresql/15/bin":             15,
		"/usr/pgsql-9.6/bin":                     9.6,
		"/opt/homebrew/opt/postgresql@17/bin":    17,
		"/opt/homebrew/opt/postgresql/bin":       0,
		"/Applications/Postgres.app/latest/bin/": 0,
	} {
		if got := numberIn(path); got != want {
			t.Errorf("numberIn(%s) = %v, want %v", path, got, want)
		}
	}
}

func TestURLCarriesAnyPassword(t *testing.T) {
	t.Parallel()
	c := &cluster{password: "p@ss/w:rd?"}
	config, err := pgx.ParseConfig(c.url(5432, database))
	if err != nil || config.Password != c.password || config.Database != database {
		t.Fatalf("parsed %+v, %v", config, err)
	}
}

func TestSettingsOfTheCallerWin(t *testing.T) {
	t.Parallel()
	c := &cluster{options: &Options{Postgres: PostgresOptions{Fast: true, Settings: map[string]string{"fsync": "on", "work_mem": "8MB"}}}}
	list := strings.Join(c.settings(), " ")
	for _, want := range []string{"fsync=on", "work_mem=8MB", "synchronous_commit=off", "max_wal_size=2GB"} {
		if !strings.Contains(list, want) {
			t.Errorf("settings %q lack %s", list, want)
		}
	}
}
