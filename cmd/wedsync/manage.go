package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"crypto/rand"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/vault"
)

// local lets commands find a development stack's settings in its data folder, so that they need no flags there.
type local struct{ dir string }

func (l *local) flags(f *pflag.FlagSet, _ *app.Config) {
	f.StringVar(&l.dir, "data-dir", ".wedsync", "data folder of a development stack, for settings that are not given")
}

// fill completes the settings from the data folder where they are missing.
func (l *local) fill(cfg *app.Config) error {
	if cfg.DatabaseURL == "" {
		if r, err := app.ReadReady(l.dir); err == nil {
			cfg.DatabaseURL = r.DatabaseURL
		}
	}
	if cfg.Keys == "" {
		if ring, err := vault.LoadFile(filepath.Join(l.dir, "keys")); err == nil {
			cfg.Keys = ring.Encode()
		}
	}
	if cfg.TokenKeys == "" {
		if b, err := os.ReadFile(filepath.Join(l.dir, "token-key")); err == nil {
			cfg.TokenKeys = string(b)
		}
	}
	return nil
}

// openStore opens the database for a command.
func openStore(ctx context.Context, cfg app.Config) (*store.Store, error) {
	if cfg.DatabaseURL == "" {
		return nil, &devstack.UserError{Line: "no database: give --database-url, or run this beside a stack (wedsync dev) with its --data-dir"}
	}
	if cfg.Keys == "" {
		return nil, domain.Invalid("keys", "is required (make one with: wedsync keys new)")
	}
	ring, err := vault.ParseKeys(cfg.Keys)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, cfg.DatabaseURL, ring, store.Options{MaxConns: 4, SystemMaxConns: 4, AppName: "wedsync cli"})
}

func tokenCommand() *cobra.Command {
	cfg, where := app.Defaults(), &local{}
	var org, role, subject string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Mint a token for the admin API (development; production tokens come from your own issuer)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := where.fill(&cfg); err != nil {
				return err
			}
			if org == "" {
				r, err := app.ReadReady(where.dir)
				if err != nil {
					return domain.Invalid("org", "is required (wedsync org list shows them)")
				}
				org = r.Org
			}
			t, err := cfg.Mint(token.Grant{Org: domain.OrgID(org), Role: domain.Role(role), Subject: subject}, ttl)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), t)
			return nil
		},
	}
	settings(cmd, &cfg, tokenSettings, where.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&org, "org", "", "organisation id; the development one where absent")
		f.StringVar(&role, "role", "admin", "admin, operator or viewer")
		f.StringVar(&subject, "subject", "cli", "who acts, as the audit trail will name them")
		f.DurationVar(&ttl, "ttl", 12*time.Hour, "how long it works, at most 744h")
	})
	return cmd
}

func orgCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "org", Short: "Create and list organisations"}
	cfg, where := app.Defaults(), &local{}
	var name, zone string
	create := &cobra.Command{
		Use: "create", Short: "Create an organisation and print its id", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, &cfg, where, func(ctx context.Context, s *store.Store) error {
				o := domain.Organization{ID: domain.NewID[domain.OrgID](time.Now()), Name: name, Zone: zone}
				if err := s.CreateOrganization(ctx, o, "cli"); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), o.ID)
				return nil
			})
		},
	}
	settings(create, &cfg, storageSettings, where.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&name, "name", "", "name of the business, 1 to 120 characters")
		f.StringVar(&zone, "zone", "Europe/London", "IANA zone in which the business thinks")
	})
	list := &cobra.Command{
		Use: "list", Short: "List organisations", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, &cfg, where, func(ctx context.Context, s *store.Store) error {
				all, err := s.Organizations(ctx)
				for _, o := range all {
					fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", o.ID, o.Zone, o.Name)
				}
				return err
			})
		},
	}
	settings(list, &cfg, storageSettings, where.flags)
	cmd.AddCommand(create, list)
	return cmd
}

func withStore(cmd *cobra.Command, cfg *app.Config, where *local, fn func(ctx context.Context, s *store.Store) error) error {
	if err := where.fill(cfg); err != nil {
		return err
	}
	s, err := openStore(cmd.Context(), *cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(cmd.Context(), s)
}

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make and rotate the keys that seal what is stored"}
	var kind string
	newKey := &cobra.Command{
		Use: "new", Short: "Print a new key for --keys or --token-keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch kind {
			case "master":
				fmt.Fprintln(cmd.OutOrStdout(), vault.GenerateKey())
			case "token":
				var b [32]byte
				if _, err := rand.Read(b[:]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "t%s:%s\n", time.Now().UTC().Format("20060102"), base64.StdEncoding.EncodeToString(b[:]))
			default:
				return domain.Invalid("kind", "must be master or token, not %q", kind)
			}
			return nil
		},
	}
	newKey.Flags().StringVar(&kind, "kind", "master", "master or token")

	cfg, where := app.Defaults(), &local{}
	var newFile bool
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Seal everything stored anew under the first key of --keys",
		Long: "Seal everything stored anew under the first key of --keys. Put a new key in front of the old one, restart servers and workers,\n" +
			"run this, and then drop the old key. It may be interrupted and run again. Workflow histories keep the key that sealed them until\n" +
			"their retention ends, so keep the old key as long in the keys of servers and workers.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if newFile {
				if _, err := app.ReadReady(where.dir); err == nil {
					return &devstack.UserError{Line: "stop the stack in " + where.dir + " first: it holds the old keys; then rotate, and start it again"}
				}
				ring, err := vault.RotateFile(filepath.Join(where.dir, "keys"))
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "new key %s is the first of %v; start the stack and run: wedsync keys rotate\n", ring.ActiveID(), ring.IDs())
				return nil
			}
			return withStore(cmd, &cfg, where, func(ctx context.Context, s *store.Store) error {
				n, err := s.RotateKeys(ctx, func(table string, done int) { fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d sealed anew\n", table, done) })
				fmt.Fprintf(cmd.OutOrStdout(), "%d values sealed under the first key\n", n)
				if err != nil || n == 0 {
					return err
				}
				return noteRotation(ctx, s, cfg.Keys)
			})
		},
	}
	settings(rotate, &cfg, storageSettings, where.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&newFile, "new-file-key", false, "put a new key in front in the data folder's key file, with the stack stopped")
	})
	cmd.AddCommand(newKey, rotate)
	return cmd
}

// noteRotation leaves a line in every organisation's audit trail.
func noteRotation(ctx context.Context, s *store.Store, keys string) error {
	ring, err := vault.ParseKeys(keys)
	if err != nil {
		return err
	}
	orgs, err := s.Organizations(ctx)
	if err != nil {
		return err
	}
	for _, o := range orgs {
		err := s.Tenant(ctx, o.ID, func(ctx context.Context, tx *store.Tx) error {
			return tx.Audit(ctx, domain.AuditEntry{Actor: "cli", Action: "keys.rotate", Reason: "sealed anew under the first key", Subject: "organization/" + string(o.ID),
				After: map[string]string{"key": ring.ActiveID()}})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Work with the audit trail"}
	cfg, where := app.Defaults(), &local{}
	var org string
	verify := &cobra.Command{
		Use: "verify", Short: "Check the hash chain of the audit trail, of one organisation or of all", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, &cfg, where, func(ctx context.Context, s *store.Store) error {
				orgs := []domain.Organization{{ID: domain.OrgID(org)}}
				if org == "" {
					var err error
					if orgs, err = s.Organizations(ctx); err != nil {
						return err
					}
				}
				var faults []error
				for _, o := range orgs {
					n, err := s.VerifyAudit(ctx, o.ID)
					if err != nil {
						faults = append(faults, fmt.Errorf("%s: %w", o.ID, err))
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %d entries, chain whole\n", o.ID, n)
				}
				return errors.Join(faults...)
			})
		},
	}
	settings(verify, &cfg, storageSettings, where.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&org, "org", "", "organisation id; all where absent")
	})
	cmd.AddCommand(verify)
	return cmd
}
