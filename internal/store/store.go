package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wedsync/wedsync/internal/vault"
)

// The two roles that the migrations create.
const (
	roleApp    = "wedsync_app"
	roleSystem = "wedsync_system"
)

// Options tune a Store. The zero value of every field is usable.
type Options struct {
	MaxConns       int              // connections of the tenant pool; default 16
	SystemMaxConns int              // connections of the system pool (intake, dispatch, stream); default 8
	Now            func() time.Time // clock; default time.Now
	AppName        string           // application_name shown by the server; default "wedsync"
	// StatementTimeout bounds each statement on the server; default 30 s.
	StatementTimeout time.Duration
}

// Store is the way to the database. It may be used by many goroutines at once.
type Store struct {
	app    *pgxpool.Pool
	system *pgxpool.Pool
	ring   *vault.Keyring
	now    func() time.Time
	listen *pgx.ConnConfig // of the connections that only listen

	sweepAfter atomic.Value // string: the integration at which the last sweep stopped
}

// Open connects both pools and asks each for an answer. The login role of url needs to be a member of both roles, which
// [Migrate] sees to for the role that runs it. Errors never show the password of url.
func Open(ctx context.Context, url string, ring *vault.Keyring, o Options) (*Store, error) {
	if ring == nil {
		return nil, fmt.Errorf("open store: a keyring is required")
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 16
	}
	if o.SystemMaxConns <= 0 {
		o.SystemMaxConns = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AppName == "" {
		o.AppName = "wedsync"
	}
	if o.StatementTimeout <= 0 {
		o.StatementTimeout = 30 * time.Second
	}
	s := &Store{ring: ring, now: o.Now}
	s.sweepAfter.Store(firstUUID)
	var err error
	if s.app, err = openPool(ctx, url, roleApp, o.MaxConns, o); err != nil {
		return nil, err
	}
	if s.system, err = openPool(ctx, url, roleSystem, o.SystemMaxConns, o); err != nil {
		s.app.Close()
		return nil, err
	}
	s.listen = s.system.Config().ConnConfig
	if err := s.Ping(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func openPool(ctx context.Context, url, role string, conns int, o Options) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open store: database URL: %w", err) // pgx leaves the password out of it
	}
	c.MaxConns = int32(conns)
	c.MaxConnLifetimeJitter = c.MaxConnLifetime / 10
	p := c.ConnConfig.RuntimeParams
	p["role"] = role
	p["application_name"] = o.AppName
	p["timezone"] = "UTC"
	// A 2xx to a vendor means on disk, whatever the server's default is.
	p["synchronous_commit"] = "on"
	p["statement_timeout"] = milliseconds(o.StatementTimeout)
	p["lock_timeout"] = milliseconds(min(o.StatementTimeout, 10*time.Second))
	// Statements are prepared, and each has one good plan whatever its values: planning anew costs more than it gains.
	p["plan_cache_mode"] = "force_generic_plan"
	// Every statement here reads a few rows by an index; starting helpers for one costs more than they save.
	p["max_parallel_workers_per_gather"] = "0"
	// Nor does compiling one: that takes longer than any of them should.
	p["jit"] = "off"
	// An abandoned transaction holds back the live stream, see StreamAfter.
	p["idle_in_transaction_session_timeout"] = milliseconds(o.StatementTimeout)
	c.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerIDs(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fault("open store", err)
	}
	return pool, nil
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// Close waits for borrowed connections to come back and closes both pools.
func (s *Store) Close() {
	s.app.Close()
	s.system.Close()
}

// Ping asks the server for an answer through each pool, so that it fails too when a role is missing or a pool is used up
// for longer than ctx allows. Errors are KindUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	for _, p := range []struct {
		role string
		pool *pgxpool.Pool
	}{{roleApp, s.app}, {roleSystem, s.system}} {
		var role string
		if err := p.pool.QueryRow(ctx, "SELECT current_user").Scan(&role); err != nil {
			return fault("ask the database as "+p.role, err)
		}
		if role != p.role {
			return fmt.Errorf("ask the database as %s: connected as another role; a pooler that drops start-up parameters cannot be used", p.role)
		}
	}
	return nil
}

// timestamp returns the clock in the precision that PostgreSQL keeps, so that a value written equals the value read.
// Now reads the store's clock, in UTC and whole microseconds, as transactions do.
func (s *Store) Now() time.Time { return s.timestamp() }

func (s *Store) timestamp() time.Time { return s.now().UTC().Truncate(time.Microsecond) }
