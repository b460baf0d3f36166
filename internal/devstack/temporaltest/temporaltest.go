// Package temporaltest gives tests a real Temporal development server.
//
//	address := temporaltest.Server(t)
//
// The first call in a test binary starts one server with its store in memory
// and the product's search attributes; all tests of the binary share it, so
// each should use task queues and workflow ids of its own. It ends with the
// test process, however that ends; no TestMain is needed.
//
// WEDSYNC_TEST_TEMPORAL_ADDRESS names a running server to use instead, which
// must have the search attributes. TEMPORAL_ADDRESS is never used. The first
// use on a machine builds the server, about 3 minutes; `go test` has a default
// limit of ten. Where it can be neither found nor built tests are skipped with
// the reason, or fail if CI=true. They are also skipped by -short.
package temporaltest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/devstack"
)

// EnvAddress is the environment variable that names a running server.
const EnvAddress = "WEDSYNC_TEST_TEMPORAL_ADDRESS"

// SearchAttributes are the ones the product uses, by name and type.
func SearchAttributes() map[string]string {
	return map[string]string{
		"WedsyncOrg":         "Keyword",
		"WedsyncIntegration": "Keyword",
		"WedsyncProvider":    "Keyword",
		"WedsyncState":       "Keyword",
		"WedsyncWeddingDate": "Keyword",
	}
}

var shared = sync.OnceValues(startServer)

// Server returns host:port of the shared server, in the namespace "default".
func Server(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: needs the Temporal development server")
	}
	address, err := shared()
	if err != nil {
		if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
			t.Skipf("skipped: no Temporal server: %v", err)
		}
		t.Fatalf("start the Temporal server for tests: %v", err)
	}
	return address
}

func startServer() (string, error) {
	if address := os.Getenv(EnvAddress); address != "" {
		return address, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	stack, err := devstack.Start(ctx, devstack.Options{
		Ephemeral: true, Private: true, SkipPostgres: true,
		Temporal: devstack.TemporalOptions{InMemory: true, SearchAttributes: SearchAttributes()},
		Log:      func(line string) { fmt.Fprintln(os.Stderr, "temporaltest: "+line) },
	})
	if err != nil {
		return "", err
	}
	go func() {
		if err := <-stack.Died(); err != nil {
			fmt.Fprintln(os.Stderr, "temporaltest: "+err.Error())
		}
	}()
	return stack.TemporalAddress(), nil
}
