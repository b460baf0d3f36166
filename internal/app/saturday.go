package app

import (
	"context"
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// WeddingDay is a way to ask whether the program may be changed now.
type WeddingDay struct {
	// DatabaseURL logs in as a role that may take wedsync_app and wedsync_system, as servers do.
	DatabaseURL string
	Within      time.Duration    // how long before a wedding's day it counts
	Now         func() time.Time // nil = time.Now
}

// Days finds the weddings that keep the program from being changed. A database without a schema, or with one from before
// weddings could be read, has none that are known. A role that may not read them is an error: whoever cannot look must not
// go on as if there was nothing.
func (w WeddingDay) Days(ctx context.Context) (d freeze.Days, err error) {
	have, _, err := store.SchemaVersion(ctx, w.DatabaseURL)
	if err != nil || have == 0 {
		return d, err
	}
	err = w.with(ctx, func(s *store.Store) error {
		if known, err := s.FreezesKnown(ctx); err != nil || !known {
			return err
		}
		d, err = freeze.Platform(ctx, s, w.Within)
		return err
	})
	return d, err
}

// Behind reports whether a migration would change the schema. One that would not is harmless on any day: a stack that is
// started again runs it too.
func (w WeddingDay) Behind(ctx context.Context) (bool, error) {
	have, want, err := store.SchemaVersion(ctx, w.DatabaseURL)
	return have < want, err
}

// NoteOverride writes into the audit trail of each organisation concerned that somebody went on all the same.
func (w WeddingDay) NoteOverride(ctx context.Context, d freeze.Days, what, by, reason string) error {
	if !d.Any() {
		return nil
	}
	return w.with(ctx, func(s *store.Store) error { return freeze.NoteOverride(ctx, s, d, what, by, reason) })
}

// with opens the database under keys of the moment: nothing that is sealed is read or written.
func (w WeddingDay) with(ctx context.Context, fn func(*store.Store) error) error {
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, w.DatabaseURL, ring, store.Options{MaxConns: 1, SystemMaxConns: 1, AppName: "wedsync freeze", Now: w.Now})
	if domain.KindOf(err) == domain.KindForbidden {
		return fmt.Errorf("this login may not see whether a wedding is on; as a superuser: GRANT wedsync_app, wedsync_system TO %s; %w", store.LoginOf(w.DatabaseURL), err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(s)
}
