package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrate brings the schema up to the newest version and returns how many steps that took. ownerURL logs in as the role
// that owns the tables; it must be allowed to create roles and the extension btree_gist. Several processes may call it
// at once: one works, the others wait. Each step is one transaction, so a step that fails leaves nothing behind.
func Migrate(ctx context.Context, ownerURL string) (applied int, err error) {
	p, db, err := migrator(ownerURL, true)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	steps, err := p.Up(ctx)
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	return len(steps), nil
}

// SchemaVersion returns the version of the schema that url leads to, 0 for an empty database, and the version that this
// program was built for.
func SchemaVersion(ctx context.Context, url string) (have, want int64, err error) {
	p, db, err := migrator(url, false)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	for _, s := range p.ListSources() {
		want = max(want, s.Version)
	}
	// Asked directly: goose would create its table, and a reader of the version must not change anything.
	var exists bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('"+goose.DefaultTablename+"') IS NOT NULL").Scan(&exists); err != nil {
		return 0, want, fault("read schema version", err)
	}
	if !exists {
		return 0, want, nil
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+goose.DefaultTablename+" WHERE is_applied").Scan(&have)
	return have, want, fault("read schema version", err)
}

// LoginOf is the role that logs in with a database URL, as a statement names it; "" where the URL cannot be read.
func LoginOf(url string) string {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return ""
	}
	return pgx.Identifier{config.User}.Sanitize()
}

func migrator(url string, locked bool) (*goose.Provider, *sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, nil, fmt.Errorf("migrate: database URL: %w", err)
	}
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, nil, fmt.Errorf("migrate: %w", err)
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if locked {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, nil, fmt.Errorf("migrate: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	db := stdlib.OpenDB(*config)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, opts...)
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("migrate: %w", err)
	}
	return p, db, nil
}
