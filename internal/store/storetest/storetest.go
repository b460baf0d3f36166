// Package storetest gives every test a store over a real PostgreSQL database of its own, with the newest schema.
//
//	db := storetest.New(t, store.Options{Now: clock})
//
// Where several stores are to share a database, as processes do, or a test looks at the tables by itself, take the parts:
//
//	url, ring := storetest.URL(t), storetest.Ring(t)
//	one, other := storetest.Open(t, url, ring, o), storetest.Open(t, url, ring, o)
//
// Stores are closed and databases dropped when the test ends. Package pgtest says where PostgreSQL comes from, and when a test is
// skipped for want of it. Nothing here returns an error: what cannot be made fails the test.
package storetest

import (
	"context"
	"testing"

	"github.com/wedsync/wedsync/internal/devstack/pgtest"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// New returns a store on a database and with a key of its own.
func New(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	return Open(t, URL(t), Ring(t), o)
}

// URL returns the address of a fresh database with the newest schema and no rows. Who connects by it owns the tables.
func URL(t testing.TB) string {
	t.Helper()
	return pgtest.New(t, migrate)
}

// migrate is one function, so that all databases of a test binary are copies of one template.
func migrate(ctx context.Context, ownerURL string) error {
	_, err := store.Migrate(ctx, ownerURL)
	return err
}

// Ring returns a ring with one new key.
func Ring(t testing.TB) *vault.Keyring {
	t.Helper()
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	return ring
}

// Open opens a store, and closes it when the test ends.
func Open(t testing.TB, url string, ring *vault.Keyring, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, ring, o)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}
