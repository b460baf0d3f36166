package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// startAttempts is how often a server is started on new free ports when it
// ends before it is ready: between choosing a port and using it another
// process may have taken it.
const startAttempts = 3

// start runs the server and returns once it has answered.
func (c *cluster) start(ctx context.Context) (*child, string, error) {
	choice := portChoice{flag: flagPostgresPort, want: c.options.PostgresPort, keep: filepath.Join(c.options.DataDir, "postgres.port")}
	for attempt := 1; ; attempt++ {
		port, err := choice.pick()
		if err != nil {
			return nil, "", err
		}
		server, address, err := c.startOn(ctx, port)
		if err == nil {
			return server, address, nil
		}
		if !choice.automatic() || attempt == startAttempts || ctx.Err() != nil || tryPort(port) == nil {
			return nil, "", err
		}
	}
}

func (c *cluster) startOn(ctx context.Context, port int) (*child, string, error) {
	args := []string{"-D", c.dir, "-p", strconv.Itoa(port)}
	for _, s := range c.settings() {
		args = append(args, "-c", s)
	}
	spec := c.spec("postgres", c.programs.postgres(), args)
	if c.options.Postgres.Fast {
		// Nothing of a thrown-away cluster needs a checkpoint.
		spec.end = []syscall.Signal{syscall.SIGQUIT}
	}
	server, err := spawn(spec)
	if err != nil {
		return nil, "", err
	}
	address := c.url(port, "postgres")
	if err := awaitPostgres(ctx, address, server, c.options.StartTimeout); err != nil {
		_ = server.stop(context.WithoutCancel(ctx))
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		return nil, "", userErrorf(err, "PostgreSQL did not start (%v); see %s: %s", err, c.log.Name(), lastLine(c.log.Name()))
	}
	address, err = ensureDatabase(ctx, address, c.url(port, database))
	if err != nil {
		_ = server.stop(context.WithoutCancel(ctx))
		return nil, "", err
	}
	return server, address, nil
}

func (c *cluster) url(port int, name string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, c.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/" + name,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// settings are the server's NAME=VALUE options, in a stable order.
func (c *cluster) settings() []string {
	s := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "100",
		"shared_buffers":          "256MB",
		"wal_buffers":             "16MB",
		// Plans made while the tables were empty read a whole organisation; statistics after seconds mend them.
		"autovacuum_naptime": "5s",
		"max_wal_size":       "2GB",
		"checkpoint_timeout": "15min",
		"wal_compression":    "on",
		"synchronous_commit": "on",
		"fsync":              "on",
		"jit":                "off",
		"timezone":           "UTC",
		"log_timezone":       "UTC",
		// The log must not collect personal data: a failing statement and the
		// detail of a violated key would carry it.
		"log_min_error_statement": "panic",
		"log_error_verbosity":     "terse",
	}
	if c.options.Postgres.Fast {
		for k, v := range map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB",
		} {
			s[k] = v
		}
	}
	for k, v := range c.options.Postgres.Settings {
		s[k] = v
	}
	list := make([]string, 0, len(s))
	for k, v := range s {
		list = append(list, k+"="+v)
	}
	sort.Strings(list)
	return list
}

// awaitPostgres asks until the server answers a query, the child ends (server
// may be nil for one that is not ours) or the time is over.
func awaitPostgres(ctx context.Context, address string, server *child, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := askPostgres(ctx, address)
		if err == nil {
			return nil
		}
		if server != nil && server.exited() {
			return fmt.Errorf("it ended by itself, %s", server.exitText())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %v: %w", limit, err)
		}
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
}

func askPostgres(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var one int
	return conn.QueryRow(ctx, "SELECT 1").Scan(&one)
}

// ensureDatabase makes the product's database unless it exists, and sets it up.
func ensureDatabase(ctx context.Context, admin, wanted string) (string, error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", fmt.Errorf("connect to the private database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&there); err != nil {
		return "", fmt.Errorf("look for the database %s: %w", database, err)
	}
	if !there {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
			return "", fmt.Errorf("create the database %s: %w", database, err)
		}
	}
	// Not every build has lz4, which packs the log for a fraction of the default's time.
	var quick bool
	if err := conn.QueryRow(ctx, "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'wal_compression'").Scan(&quick); err != nil {
		return "", fmt.Errorf("ask the private database for its ways of compression: %w", err)
	}
	if quick {
		if _, err := conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" SET wal_compression = 'lz4'"); err != nil {
			return "", fmt.Errorf("set the database %s up: %w", database, err)
		}
	}
	return wanted, nil
}

// externalPostgres checks the server named by DATABASE_URL.
func externalPostgres(ctx context.Context, address string, limit time.Duration) error {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// The library's text may quote the address, and with it a password.
		return userErrorf(nil, "DATABASE_URL is not a PostgreSQL address; it should look like postgres://user:password@host:5432/database")
	}
	if err := awaitPostgres(ctx, address, nil, min(limit, 10*time.Second)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return userErrorf(err, "the PostgreSQL server of DATABASE_URL at %s port %d does not answer: %v", config.Host, config.Port, rootCause(err))
	}
	return nil
}

// rootCause is the innermost error, which for a connection is the plain reason.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// lastLine returns the last line of a log that holds something, for an error.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 8 << 10
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		_, _ = f.Seek(-tail, 2)
	}
	buf := make([]byte, tail)
	n, _ := f.Read(buf)
	lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	// The cause stands before the notices of the shutdown it led to.
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "FATAL:") || strings.Contains(lines[i], "PANIC:") || strings.Contains(lines[i], "error:") || strings.Contains(lines[i], "Error:") {
			return strings.TrimSpace(lines[i])
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
