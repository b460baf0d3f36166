package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func serverCommand() *cobra.Command {
	cfg := app.Defaults()
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Take webhooks and serve the API, the dashboard and the live stream",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if _, err := app.LimitMemory(cfg); err != nil {
				return err
			}
			core, err := app.Open(ctx, cfg, "server")
			if err != nil {
				return err
			}
			defer core.Close()
			l, err := net.Listen("tcp", cfg.HTTPAddr)
			if err != nil {
				return domain.E(domain.KindInvalid, "listen on %s (--http-addr): %w", cfg.HTTPAddr, err)
			}
			core.Log.Info("server listens", "address", l.Addr().String())
			return app.RunServer(ctx, core, l)
		},
	}
	settings(cmd, &cfg, storageSettings, temporalSettings, tokenSettings, serverSettings, consentSettings, retentionSettings, outboundSettings, logSettings, traceSettings)
	return cmd
}

func workerCommand() *cobra.Command {
	cfg := app.Defaults()
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run workflows and activities of the chosen task queues",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := app.LimitMemory(cfg); err != nil {
				return err
			}
			core, err := app.Open(cmd.Context(), cfg, "worker")
			if err != nil {
				return err
			}
			defer core.Close()
			return app.RunWorker(cmd.Context(), core)
		},
	}
	settings(cmd, &cfg, storageSettings, temporalSettings, tokenSettings, workerSettings, consentSettings, mailSettings, outboundSettings, logSettings, traceSettings)
	return cmd
}

func migrateCommand() *cobra.Command {
	cfg, d := app.Defaults(), &deploySettings{}
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema to the version that this program needs",
		Long: "Bring the database schema to the version that this program needs. The URL's role becomes the owner of the tables;\n" +
			"server and worker should log in as another one that is a member of wedsync_app and wedsync_system.\n" +
			"While the day of any wedding is on, or near, it is refused with exit status 3 where there is something to migrate (wedsync freeze check).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.DatabaseURL == "" {
				return domain.Invalid("database-url", "is required")
			}
			if err := d.check(cmd, cfg.DatabaseURL, "migration", true); err != nil {
				return err
			}
			n, err := store.Migrate(cmd.Context(), cfg.DatabaseURL)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d migrations applied\n", n)
			return nil
		},
	}
	settings(cmd, &cfg, func(f *pflag.FlagSet, c *app.Config) {
		f.StringVar(&c.DatabaseURL, "database-url", "", "Postgres URL of the role that owns, or will own, the tables")
	}, d.flags)
	return cmd
}
