package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/retention"
	"github.com/wedsync/wedsync/internal/store"
)

func retentionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "retention", Short: "Remove what has been kept long enough, and see what was removed"}
	cfg, where := app.Defaults(), &local{}
	run := &cobra.Command{
		Use: "run", Short: "Make one pass now, as every server does now and then, and print what it removed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, &cfg, where, func(ctx context.Context, s *store.Store) error {
				job, err := retention.New(s, cfg.Retention(), nil, nil)
				if err != nil {
					return err
				}
				report, err := job.Once(ctx)
				if printErr := printJSON(cmd.OutOrStdout(), report); err == nil {
					err = printErr
				}
				return err
			})
		},
	}
	settings(run, &cfg, storageSettings, retentionSettings, where.flags)

	from, there := app.Defaults(), &local{}
	var days int
	status := &cobra.Command{
		Use: "status", Short: "Show what was removed, by day and organisation", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 1 || days > 3650 {
				return domain.Invalid("days", "must be 1 to 3650, is %d", days)
			}
			return withStore(cmd, &from, there, func(ctx context.Context, s *store.Store) error {
				all, err := s.RetentionDays(ctx, time.Now().Add(-time.Duration(days-1)*retention.Day), 10_000)
				if err != nil {
					return err
				}
				for _, d := range all {
					audited := "no line in the trail yet"
					if d.Audited {
						audited = "in the trail"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %d bodies erased, %d deliveries deleted, %s\n", d.Day.Format(time.DateOnly), d.OrgID, d.Erased, d.Deleted, audited)
				}
				return nil
			})
		},
	}
	settings(status, &from, storageSettings, there.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.IntVar(&days, "days", 30, "how many days back")
	})
	cmd.AddCommand(run, status)
	return cmd
}
