package devstack

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/operatorservice/v1"
)

func TestRestartKeepsDataAndPortsAndStopLeavesNoProcess(t *testing.T) {
	t.Parallel()
	needServers(t)
	o := Options{DataDir: filepath.Join(openDir(t), "data"), Temporal: TemporalOptions{
		SearchAttributes: map[string]string{"WedsyncOrg": "Keyword"},
		DynamicConfig:    []string{"frontend.keepAliveMaxConnectionAge=\"10m\""},
		CodecEndpoint:    "http://127.0.0.1:8080/codec",
	}}
	first := begin(t, o)
	execSQL(t, first.DatabaseURL(), "CREATE TABLE note (id int); INSERT INTO note VALUES (7)")
	if got := query[string](t, first.DatabaseURL(), "SELECT current_setting('fsync') || current_setting('synchronous_commit')"); got != "onon" {
		t.Errorf("fsync and synchronous_commit are %s, want both on", got)
	}
	pids := first.pids()
	if len(pids) != 2 {
		t.Fatalf("%d children, want 2", len(pids))
	}
	if os.Geteuid() == 0 {
		info, err := os.Stat("/proc/" + strconv.Itoa(pids[0]))
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Error("PostgreSQL runs as root")
		}
	}
	info, err := os.Stat(filepath.Join(first.Dir(), "postgres.password"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("password file: %v, %v; want mode 0600", info, err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pids...)
	select {
	case err := <-first.Died():
		t.Fatalf("an ordered stop was reported as a death: %v", err)
	default:
	}

	o.Temporal.SearchAttributes["WedsyncState"] = "Keyword"
	second := begin(t, o)
	if second.DatabaseURL() != first.DatabaseURL() || second.TemporalAddress() != first.TemporalAddress() || second.TemporalUI() != first.TemporalUI() {
		t.Errorf("addresses changed: %s %s, then %s %s", first.TemporalAddress(), first.TemporalUI(), second.TemporalAddress(), second.TemporalUI())
	}
	if got := query[int](t, second.DatabaseURL(), "SELECT id FROM note"); got != 7 {
		t.Errorf("row = %d, want 7", got)
	}
	c, err := dialTemporal(t.Context(), second.TemporalAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	have, err := c.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	for name := range o.Temporal.SearchAttributes {
		if _, found := have.GetCustomAttributes()[name]; !found {
			t.Errorf("search attribute %s is missing after the restart", name)
		}
	}
	err = ensureSearchAttributes(t.Context(), c, map[string]string{"WedsyncOrg": "Int"})
	wantUserError(t, err, "WedsyncOrg", "Keyword", "Int")
}

func TestKilledProcessLeavesNoChildAndTheNextStartRecovers(t *testing.T) {
	t.Parallel()
	needServers(t)
	if _, err := TemporalBinary(t.Context(), Options{Log: func(l string) { t.Log(l) }}); err != nil {
		t.Skipf("skipped: %v", err)
	}
	dir := filepath.Join(openDir(t), "data")
	helper, pids := startHelper(t, dir)
	if len(pids) != 2 {
		t.Fatalf("the helper has %d children, want 2", len(pids))
	}

	_, err := Start(t.Context(), Options{DataDir: dir, Private: true})
	wantUserError(t, err, "process "+strconv.Itoa(helper.Process.Pid), dir, "--data-dir")

	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	// At once: the old servers may still be stopping.
	next := begin(t, Options{DataDir: dir})
	t.Logf("the next start took %v", time.Since(killed))
	for _, pid := range pids {
		if processAlive(pid) {
			t.Errorf("process %d of the killed instance lives beside the next one", pid)
		}
	}
	query[int](t, next.DatabaseURL(), "SELECT 1")
}

func TestServerLeftBehindByAKilledWatcherIsStopped(t *testing.T) {
	t.Parallel()
	needServers(t)
	dir := filepath.Join(openDir(t), "data")
	first := begin(t, Options{DataDir: dir, SkipTemporal: true})
	pid := first.postgres.pid()
	// Free locks beside a running server are what such a double kill leaves.
	if err := first.lock.release(); err != nil {
		t.Fatal(err)
	}
	var err error
	if first.lock, err = lockFolder(t.Context(), openDir(t), func(string) {}); err != nil {
		t.Fatal(err)
	}
	var log lineLog
	second := begin(t, Options{DataDir: dir, SkipTemporal: true, Log: log.add})
	awaitGone(t, pid)
	query[int](t, second.DatabaseURL(), "SELECT 1")
	if !strings.Contains(log.text(), "stopped a PostgreSQL server of an earlier run") {
		t.Errorf("the log does not tell: %s", log.text())
	}
}

func TestCancelledStartLeavesNothingAndTheNextOneWorks(t *testing.T) {
	t.Parallel()
	needServers(t)
	dir := filepath.Join(openDir(t), "data")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Start(ctx, Options{DataDir: dir, SkipTemporal: true, Private: true, Log: func(line string) {
		if strings.Contains(line, "making a private PostgreSQL") {
			cancel()
		}
	}})
	cancel()
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("skipped: %v", err)
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v, want cancelled", err)
	}
	s := begin(t, Options{DataDir: dir, SkipTemporal: true})
	query[int](t, s.DatabaseURL(), "SELECT 1")
}

func TestUnexpectedEndOfAServerIsReported(t *testing.T) {
	t.Parallel()
	needServers(t)
	s := begin(t, Options{Ephemeral: true, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	if err := syscall.Kill(s.postgres.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case err := <-s.Died():
		wantUserError(t, err, "postgres ended by itself", "killed", "postgres.log")
	case <-timer.C:
		t.Fatal("the death of the server was not reported")
	}
}

func TestEphemeralStackRemovesItsFolder(t *testing.T) {
	t.Parallel()
	needServers(t)
	parent := openDir(t)
	s := begin(t, Options{DataDir: parent, Ephemeral: true, SkipTemporal: true, Postgres: PostgresOptions{Fast: true, Settings: map[string]string{"max_connections": "17"}}})
	if filepath.Dir(s.Dir()) != parent {
		t.Errorf("state is in %s, want a folder in %s", s.Dir(), parent)
	}
	if got := query[string](t, s.DatabaseURL(), "SELECT current_setting('fsync') || ' ' || current_setting('max_connections')"); got != "off 17" {
		t.Errorf("fsync and max_connections are %q, want off and 17", got)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestClosedParentFolderMovesTheClusterOutsideForRoot(t *testing.T) {
	t.Parallel()
	needServers(t)
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root drops its rights for the cluster")
	}
	closed := filepath.Join(openDir(t), "home")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{DataDir: filepath.Join(closed, "data"), SkipTemporal: true}
	s := begin(t, o)
	execSQL(t, s.DatabaseURL(), "CREATE TABLE note (id int); INSERT INTO note VALUES (7)")
	target, err := os.Readlink(filepath.Join(o.DataDir, "postgres"))
	if err != nil || !strings.HasPrefix(target, outsideHome) {
		t.Fatalf("postgres links to %q, %v; want a place in %s", target, err, outsideHome)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := begin(t, o)
	if got := query[int](t, again.DatabaseURL(), "SELECT id FROM note"); got != 7 {
		t.Errorf("row after the restart = %d, want 7", got)
	}

	temporary := begin(t, Options{DataDir: closed, Ephemeral: true, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	outside := temporary.cluster.outside
	if outside == "" {
		t.Fatal("the ephemeral cluster is in the closed folder")
	}
	if err := temporary.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the outside folder is still there: %v", err)
	}
}

func TestTakenPortIsNamedWithItsFlag(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dir := openDir(t)
	d := &devServer{options: &Options{DataDir: dir, TemporalPort: port}}
	_, _, _, err = d.start(t.Context())
	wantUserError(t, err, strconv.Itoa(port), "--temporal-port")
	d.options = &Options{DataDir: dir, UIPort: port}
	_, _, _, err = d.start(t.Context())
	wantUserError(t, err, strconv.Itoa(port), "--ui-port")
	c := &cluster{options: &Options{DataDir: dir, PostgresPort: port}}
	_, _, err = c.start(t.Context())
	wantUserError(t, err, strconv.Itoa(port), "--postgres-port")
}

func TestAutomaticPortIsRememberedUnlessTaken(t *testing.T) {
	t.Parallel()
	choice := portChoice{flag: flagUIPort, keep: filepath.Join(openDir(t), "port")}
	first, err := choice.pick()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := choice.pick(); err != nil || again != first {
		t.Errorf("second pick = %d, %v; want %d", again, err, first)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first)))
	if err != nil {
		t.Skipf("skipped: another process took the port: %v", err)
	}
	defer l.Close()
	if other, err := choice.pick(); err != nil || other == first {
		t.Errorf("pick while taken = %d, %v; want another port", other, err)
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no folder":        {Options{}, "--data-dir"},
		"port too large":   {Options{DataDir: "x", UIPort: 70000}, "--ui-port is 70000"},
		"negative port":    {Options{DataDir: "x", TemporalPort: -1}, "--temporal-port is -1"},
		"negative timeout": {Options{DataDir: "x", StartTimeout: -1}, "StartTimeout"},
	} {
		_, err := Start(t.Context(), c.o)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantUserError(t, err, c.want)
	}
	file := filepath.Join(openDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{DataDir: filepath.Join(file, "data")})
	wantUserError(t, err, "cannot be used", file)
}

func TestSweepRemovesOnlyDeadEphemeralFolders(t *testing.T) {
	t.Parallel()
	parent := openDir(t)
	folder := func(name string) string {
		dir := filepath.Join(parent, ephemeralPrefix+name)
		if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead, alive, unlocked := folder("dead"), folder("alive"), folder("unlocked")
	other := filepath.Join(parent, "something-else")
	if err := errors.Join(os.Mkdir(other, 0o700), os.WriteFile(filepath.Join(dead, ownerLock), nil, 0o600), os.WriteFile(filepath.Join(dead, childrenLock), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	lock, err := lockFolder(t.Context(), alive, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.release()
	sweep(parent, time.Now())
	if _, err := os.Stat(dead); err != nil {
		t.Errorf("a folder younger than a minute was removed")
	}
	sweep(parent, time.Now().Add(2*time.Minute))
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead folder is still there: %v", err)
	}
	for _, dir := range []string{alive, unlocked, other} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s was removed", dir)
		}
	}
}

// Not parallel: the environment belongs to the process.
func TestServersOfTheEnvironmentAreUsedAsTheyAre(t *testing.T) {
	needServers(t)
	real := begin(t, Options{Ephemeral: true, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	t.Setenv("DATABASE_URL", real.DatabaseURL())
	s, err := Start(t.Context(), Options{DataDir: openDir(t), SkipTemporal: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.DatabaseURL() != real.DatabaseURL() || len(s.pids()) != 0 {
		t.Errorf("url %s, children %v; want DATABASE_URL and none", s.DatabaseURL(), s.pids())
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	query[int](t, real.DatabaseURL(), "SELECT 1")
}

func TestDeadServersOfTheEnvironmentAreNamedWithoutSecrets(t *testing.T) {
	free, err := portChoice{}.pick()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free)
	for _, c := range []struct{ variable, value, want string }{
		{"DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:" + port + "/x", "port " + port},
		{"DATABASE_URL", "postgres://someone:hunter2@127.0.0.1:notaport/x", "not a PostgreSQL address"},
		{"TEMPORAL_ADDRESS", "127.0.0.1:" + port, port},
	} {
		t.Run(c.variable, func(t *testing.T) {
			t.Setenv("DATABASE_URL", "")
			t.Setenv("TEMPORAL_ADDRESS", "")
			t.Setenv(c.variable, c.value)
			_, err := Start(t.Context(), Options{
				DataDir: openDir(t), StartTimeout: time.Second,
				SkipTemporal: c.variable == "DATABASE_URL", SkipPostgres: c.variable != "DATABASE_URL",
			})
			if err == nil {
				t.Fatal("accepted")
			}
			wantUserError(t, err, c.variable, c.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestDatabaseIsNotReachableWithoutThePassword(t *testing.T) {
	t.Parallel()
	needServers(t)
	s := begin(t, Options{Ephemeral: true, SkipTemporal: true, Postgres: PostgresOptions{Fast: true}})
	config, err := pgx.ParseConfig(s.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "guess"
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		conn.Close(t.Context())
		t.Fatal("a wrong password was accepted")
	}
}
