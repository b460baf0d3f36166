package devstack

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Options says what Start runs and where. The zero value of every field is
// usable, except that DataDir is needed unless Ephemeral is set.
type Options struct {
	// DataDir holds all state. It is created if missing, closed to other users
	// (root's lets the cluster's user pass through).
	DataDir string
	// TemporalPort, UIPort and PostgresPort are loopback TCP ports. Zero takes
	// the port of the last run when it is free, else any free one.
	TemporalPort, UIPort, PostgresPort int
	// Ephemeral keeps all state in a fresh folder, inside DataDir if that is
	// set and else in the system's temporary folder, and removes it at the end.
	Ephemeral bool
	// Temporal and Postgres tune the two servers.
	Temporal TemporalOptions
	Postgres PostgresOptions
	// Private ignores DATABASE_URL and TEMPORAL_ADDRESS, for tests and
	// benchmarks that must not touch a server of the user.
	Private bool
	// SkipTemporal and SkipPostgres leave that server out.
	SkipTemporal, SkipPostgres bool
	// StartTimeout bounds the wait for each server to answer, default 60 s.
	// Building or downloading a server is not counted.
	StartTimeout time.Duration
	// Log receives one line of progress at a time; nil drops them. It may be
	// called from several goroutines.
	Log func(line string)
	// Terminal, when it is a terminal, shows long builds as a moving bar
	// there instead of as lines in Log.
	Terminal *os.File
}

// TemporalOptions tune the Temporal development server. They do not apply to
// a server named by TEMPORAL_ADDRESS.
type TemporalOptions struct {
	// SearchAttributes maps names to types: Text, Keyword, Int, Double, Bool,
	// Datetime or KeywordList. Missing ones are added to an existing store; one
	// that exists with another type is an error.
	SearchAttributes map[string]string
	// DynamicConfig holds KEY=JSONVALUE settings.
	DynamicConfig []string
	// CodecEndpoint is the URL the UI asks to decode payloads, or empty.
	CodecEndpoint string
	// InMemory keeps the store in memory, for tests.
	InMemory bool
	// MemoryMiB is what the server should stay below: near it its garbage collector runs more and more. 0 = 1024, which a few
	// hundred open workflows never come near. The variable GOMEMLIMIT wins.
	MemoryMiB int
}

// PostgresOptions tune the private cluster. They do not apply to a server
// named by DATABASE_URL.
type PostgresOptions struct {
	// Fast gives up durability (fsync=off) for clusters thrown away after use.
	Fast bool
	// Settings are further server settings and win over the defaults.
	Settings map[string]string
}

// UserError is a failure the user can act on. Line is one line of plain text
// that says what is wrong and what to do.
type UserError struct {
	Line string
	// Err is the cause, or nil.
	Err error
}

// Error returns Line.
func (e *UserError) Error() string { return e.Line }

// Unwrap returns the cause.
func (e *UserError) Unwrap() error { return e.Err }

// ErrUnavailable is the cause of a UserError when a server program is neither
// installed nor obtainable, so that tests can tell a bare machine from a fault.
var ErrUnavailable = errors.New("server program not available")

func userErrorf(cause error, format string, args ...any) *UserError {
	line := fmt.Sprintf(format, args...)
	return &UserError{Line: strings.Join(strings.Fields(line), " "), Err: cause}
}

func (o *Options) check() error {
	if o.DataDir == "" && !o.Ephemeral {
		return userErrorf(nil, "the data folder is not set; give one with --data-dir or use --ephemeral")
	}
	for _, p := range []struct {
		flag string
		port int
	}{{flagTemporalPort, o.TemporalPort}, {flagUIPort, o.UIPort}, {flagPostgresPort, o.PostgresPort}} {
		if p.port < 0 || p.port > 65535 {
			return userErrorf(nil, "%s is %d; a port is between 1 and 65535, or 0 for any free one", p.flag, p.port)
		}
	}
	if o.StartTimeout < 0 {
		return userErrorf(nil, "StartTimeout is %v; it cannot be negative", o.StartTimeout)
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 60 * time.Second
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return nil
}

func (o *Options) logf(format string, args ...any) { o.Log(fmt.Sprintf(format, args...)) }
