package main

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
)

// frozenError is a change of the program that is refused because of weddings. Its exit status is 3.
type frozenError struct{ line string }

func (e *frozenError) Error() string { return e.line }

// deploySettings say what keeps the program from being changed, and why it is changed all the same.
type deploySettings struct {
	within   time.Duration
	override string
}

func (d *deploySettings) flags(f *pflag.FlagSet, _ *app.Config) {
	f.DurationVar(&d.within, "freeze-within", freeze.DeployWithin, "how long before a wedding's day this is refused already, 0s to 168h")
	f.StringVar(&d.override, "override-freeze", "", "why this is done although a wedding's day is on or near, 3 to 500 characters, for the log and the audit trails of the organisations")
}

// check refuses what would change the program on a wedding's day. onlyIfNeeded lets pass what would change no schema.
func (d *deploySettings) check(cmd *cobra.Command, url, what string, onlyIfNeeded bool) error {
	if url == "" {
		return domain.Invalid("database-url", "is required")
	}
	if err := (freeze.Override{Reason: d.override}).Validate("override-freeze"); err != nil {
		return err
	}
	gate := app.WeddingDay{DatabaseURL: url, Within: d.within}
	if onlyIfNeeded {
		if behind, err := gate.Behind(cmd.Context()); err != nil || !behind {
			return err
		}
	}
	days, err := gate.Days(cmd.Context())
	switch {
	case err != nil && d.override != "":
		fmt.Fprintf(cmd.ErrOrStderr(), "freeze overridden for %s without knowing of weddings (%s): %s\n", what, err, d.override)
		return nil
	case err != nil:
		return err
	case !days.Any():
		return nil
	case d.override == "":
		return &frozenError{fmt.Sprintf("%s refused: %s; wait, or give --override-freeze REASON", what, days)}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "freeze overridden for %s (%s): %s\n", what, days, d.override)
	return gate.NoteOverride(cmd.Context(), days, what, "cli", d.override)
}

// freezeCommand tells about the days on which nothing risky is done.
func freezeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "freeze", Short: "Find out whether a wedding is near or on, and what waits because of it"}
	cfg, where, d := app.Defaults(), &local{}, &deploySettings{}
	check := &cobra.Command{
		Use:   "check",
		Short: "Before a deployment: exit 3 if any organisation has a wedding today or within --freeze-within",
		Long: "Before a deployment: exit 3, with one line that says how many weddings of how many organisations and until when, if the day of\n" +
			"any wedding is on or begins within --freeze-within; else exit 0. With --override-freeze it is noted in the audit trails of these\n" +
			"organisations, and the exit is 0. A migration checks the same by itself.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := where.fill(&cfg); err != nil {
				return err
			}
			if err := d.check(cmd, cfg.DatabaseURL, "deployment", false); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "go ahead")
			return err
		},
	}
	settings(check, &cfg, databaseSetting, where.flags, d.flags)

	listed, there, ahead := app.Defaults(), &local{}, 7*24*time.Hour
	list := &cobra.Command{
		Use: "list", Short: "List the weddings of all organisations whose day is on or comes: ids and times", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := there.fill(&listed); err != nil {
				return err
			}
			if listed.DatabaseURL == "" {
				return domain.Invalid("database-url", "is required")
			}
			days, err := app.WeddingDay{DatabaseURL: listed.DatabaseURL, Within: ahead}.Days(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, f := range days.Freezes {
				fmt.Fprintf(w, "%s\t%s\tfrozen from %s\tday %s to %s\t%s\n", f.Org, f.Booking, short(f.From), short(f.Day.Start), short(f.Day.End), f.Zone)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), days)
			return err
		},
	}
	settings(list, &listed, databaseSetting, there.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.DurationVar(&ahead, "freeze-within", ahead, "how far ahead, 0s to 168h")
	})

	at := func([]string) string { return "/v1/freeze" }
	s := domain.StandardFreezeSettings()
	var holds, reason string
	var version int64
	cmd.AddCommand(check, list,
		remoteCommand("show", "Show what is frozen in the organisation now, and the freezes that come", 0, http.MethodGet, at, nil, nil),
		riskyCommand("set", "Set how long before a wedding its freeze begins, and what waits for a person meanwhile", 0, http.MethodPut, at,
			func([]string) (any, error) {
				return map[string]any{"preflight_days": s.PreflightDays, "freeze_hours": s.FreezeHours, "holds": holds, "version": version, "reason": reason}, nil
			}, func(f *pflag.FlagSet) {
				f.IntVar(&s.PreflightDays, "preflight-days", s.PreflightDays, "how many days before it a wedding is looked over for the first time, 2 to 30")
				f.IntVar(&s.FreezeHours, "hours", s.FreezeHours, "how many hours before a wedding its freeze begins, 12 to 168")
				f.StringVar(&holds, "holds", string(s.Holds), "which removals wait for a person meanwhile: all, or near for those of bookings within the freeze")
				f.Int64Var(&version, "version", 0, "of the settings as you saw them; 0 for the standard")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}))
	return cmd
}

func databaseSetting(f *pflag.FlagSet, c *app.Config) {
	f.StringVar(&c.DatabaseURL, "database-url", c.DatabaseURL, "Postgres URL of a login role that is a member of wedsync_app and wedsync_system, or of the role that migrates")
}

func short(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }
