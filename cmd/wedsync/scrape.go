package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/scrape"
)

func scrapeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "scrape", Short: "Develop recipes that read web pages, and look after those that run"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + suffix }
	}
	of := func(suffix string) func([]string) string {
		return func(args []string) string {
			return "/v1/integrations/" + url.PathEscape(args[0]) + suffix + "/" + url.PathEscape(args[1])
		}
	}
	var origin, reason, why string
	var agreed bool
	cmd.AddCommand(scrapeTestCommand(), scrapeJSONCommand(), scrapeSchemaCommand(),
		remoteCommand("consents ID", "List who agreed that pages are read for an integration, and when", 1, http.MethodGet, at("/scrape-consents?limit=200"), nil, nil),
		remoteCommand("consent ID", "Record the customer's consent that pages of an origin are read", 1, http.MethodPost, at("/scrape-consents"), func([]string) (any, error) {
			return map[string]any{"origin": origin, "agreed": agreed, "reason": reason}, nil
		}, func(f *pflag.FlagSet) {
			f.StringVar(&origin, "origin", "", "whose pages: the base of the recipe, such as https://portal.example.com")
			f.BoolVar(&agreed, "agreed", false, "the customer may see these pages by the terms of their operator, and agrees that WedSync reads them")
			f.StringVar(&reason, "reason", "", "why, for the audit trail")
		}),
		remoteCommand("withdraw ID CONSENT", "Withdraw a consent; nothing is read from then on", 2, http.MethodDelete, func(args []string) string {
			path := of("/scrape-consents")(args)
			if why != "" {
				path += "?" + url.Values{"reason": {why}}.Encode()
			}
			return path
		}, nil, func(f *pflag.FlagSet) { f.StringVar(&why, "reason", "", "why, for the audit trail") }),
		remoteCommand("snapshots ID", "List kept pages that could not be read any more, newest first", 1, http.MethodGet, at("/snapshots?limit=200"), nil, nil),
		remoteCommand("snapshot ID SNAPSHOT", "Show a kept page; its values are masked", 2, http.MethodGet, of("/snapshots"), nil, nil),
	)
	return cmd
}

// readRecipe reads a recipe from a file, - for standard input.
func readRecipe(cmd *cobra.Command, name string) (scrape.Recipe, error) {
	text, err := readBounded(cmd, name, scrape.MaxRecipe)
	if err != nil {
		return scrape.Recipe{}, fmt.Errorf("read recipe: %w", err)
	}
	return scrape.Parse(text)
}

// readBounded reads a file, - for standard input, of so many bytes at most.
func readBounded(cmd *cobra.Command, name string, most int64) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, domain.Invalid(name, "cannot be opened: %v", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if int64(len(text)) > most {
		return nil, domain.Invalid(name, "has more than %d bytes", most)
	}
	return text, err
}

func scrapeJSONCommand() *cobra.Command {
	return &cobra.Command{
		Use: "json RECIPE", Short: "Check a recipe and print it as JSON, for the settings of an integration", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readRecipe(cmd, args[0])
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			e.SetEscapeHTML(false)
			return e.Encode(r)
		},
	}
}

func scrapeSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of recipes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(scrape.Schema)))
			return err
		},
	}
}

// scrapeTest is what the flags of "scrape test" say.
type scrapeTest struct {
	pages                []string
	base, zone           string
	userEnv, passwordEnv string
	live, agreed, here   bool
	asJSON               bool
	days                 int
	snapshot             string
}

// errRecipe says that a recipe does not fit; what is wrong was printed.
var errRecipe = errors.New("the recipe does not fit the pages")

func scrapeTestCommand() *cobra.Command {
	var o scrapeTest
	cmd := &cobra.Command{
		Use:   "test RECIPE",
		Short: "Try a recipe on saved pages or on the real ones, and say what it finds and what it misses",
		Long: "Try a recipe on saved pages (--page) or on the real ones (--live), and say what it finds and what it misses. Nothing is stored.\n" +
			"Saved pages are read in the order in which they are given, as the pages of one list. With --live the pauses of the recipe are\n" +
			"kept and robots.txt is obeyed; --agreed says that you may see these pages by the terms of their operator and read them by a\n" +
			"program. Credentials come from the environment, so that nobody sees them in the list of processes.\n\n" +
			"Rows are printed with their values. Exit status is 0 when every page fits, 1 when one does not, 2 for a wrong recipe or call.",
		Example: "  wedsync scrape test recipe.yaml --page shoots.html\n" +
			"  PORTAL_USER=... PORTAL_PASSWORD=... wedsync scrape test recipe.yaml --live --agreed --user-env PORTAL_USER --password-env PORTAL_PASSWORD",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readRecipe(cmd, args[0])
			if err != nil {
				return err
			}
			if o.live == (len(o.pages) > 0) {
				return &usageError{errors.New("scrape test needs either --live or one --page or more")}
			}
			if o.base != "" {
				r.Base = o.base
			}
			p, err := r.Compile()
			if err != nil {
				return err
			}
			zone, err := calendartime.LoadZone(o.zone)
			if err != nil {
				return domain.Invalid("--tz", "must be a time zone such as Europe/London")
			}
			if o.live {
				err = o.runLive(cmd.Context(), cmd.OutOrStdout(), p, zone)
			} else {
				err = o.runSaved(cmd, p, zone)
			}
			// Rows alone go to standard output with --json.
			for _, line := range p.Advice() {
				fmt.Fprintln(cmd.ErrOrStderr(), "advice:", line)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.pages, "page", nil, "file with a saved page, - for standard input; repeatable")
	f.BoolVar(&o.live, "live", false, "ask for the pages of the recipe")
	f.BoolVar(&o.agreed, "agreed", false, "with --live: you may see these pages by the terms of their operator, and agree that they are read")
	f.StringVar(&o.base, "base", "", "with --live: another origin than the recipe's")
	f.StringVar(&o.userEnv, "user-env", "", "environment variable with the user name")
	f.StringVar(&o.passwordEnv, "password-env", "", "environment variable with the password")
	f.BoolVar(&o.here, "allow-private", false, "let the pages be at a private or loopback address")
	f.StringVar(&o.zone, "tz", "UTC", "time zone of the dates, where the recipe names none")
	f.IntVar(&o.days, "days", 365, "with --live: how many days from today {from} and {until} span")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per row")
	f.StringVar(&o.snapshot, "snapshot", "", "file for the page that does not fit, with its values masked")
	return cmd
}

func (o *scrapeTest) runSaved(cmd *cobra.Command, p *scrape.Program, zone *time.Location) error {
	fits := true
	out := cmd.OutOrStdout()
	for n, name := range o.pages {
		page, err := readBounded(cmd, name, scrape.MostBytes)
		if err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		r := p.Explain(page, "", n+1, zone)
		fits = fits && r.Err == nil && len(r.Faults) == 0 && !r.LoggedOut
		if err := o.printRows(out, r.Rows); err != nil {
			return err
		}
		if o.asJSON {
			out = cmd.ErrOrStderr() // rows alone go to standard output
		}
		if err := o.printPage(out, n+1, r); err != nil {
			return err
		}
		if o.asJSON {
			out = cmd.OutOrStdout()
		}
	}
	if !fits {
		return errRecipe
	}
	return nil
}

func (o *scrapeTest) printPage(out io.Writer, number int, r scrape.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "page %d: %d rows\n", number, len(r.Rows))
	for _, s := range r.Selectors {
		count := fmt.Sprintf("%d matches", s.Matches)
		if s.Of > 0 {
			count = fmt.Sprintf("%d of %d rows", s.Matches, s.Of)
		}
		verdict := ""
		switch {
		case s.Required && (s.Matches == 0 || s.Matches < s.Of):
			verdict = "MISSING"
		case len(s.Lines) > 0:
			verdict = "unreadable"
		}
		if len(s.Lines) > 0 {
			verdict += fmt.Sprintf(" in the rows of lines %v", s.Lines)
		}
		if s.Hint != "" {
			verdict += ": " + s.Hint
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", s.Path, s.Selector, count, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.Faults {
		fmt.Fprintf(out, "  fault: %s (selector %s)\n", f.Error(), f.Selector)
	}
	if r.LoggedOut {
		fmt.Fprintln(out, "  the page asks for a log-in")
	}
	if r.Total >= 0 {
		fmt.Fprintf(out, "  the list says that it has %d entries\n", r.Total)
	}
	if r.Empty {
		fmt.Fprintln(out, "  the page says that there are no rows")
	}
	if r.Next != "" {
		fmt.Fprintln(out, "  there is a next page")
	}
	return o.printFault(out, r.Err)
}

// printFault explains why a page does not fit.
func (o *scrapeTest) printFault(out io.Writer, err error) error {
	if err == nil {
		return nil
	}
	var drift *scrape.Drift
	if !errors.As(err, &drift) {
		_, err := fmt.Fprintf(out, "  does not fit: %s\n", err)
		return err
	}
	report, page := drift.Snapshot()
	fmt.Fprintf(out, "  does not fit: %s\n", report)
	if o.snapshot == "" {
		return nil
	}
	if err := os.WriteFile(o.snapshot, page, 0o600); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

func (o *scrapeTest) printRows(out io.Writer, rows []scrape.Row) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if o.asJSON {
			if err := e.Encode(map[string]any{"id": r.ID, "page": r.Page, "line": r.Line, "fields": r.Fields}); err != nil {
				return err
			}
			continue
		}
		var said []string
		for name, value := range r.Fields {
			said = append(said, fmt.Sprintf("%s=%q", name, value))
		}
		slices.Sort(said)
		if _, err := fmt.Fprintf(out, "line %d  %s  %s\n", r.Line, r.ID, strings.Join(said, " ")); err != nil {
			return err
		}
	}
	return nil
}

func (o *scrapeTest) runLive(ctx context.Context, out io.Writer, p *scrape.Program, zone *time.Location) error {
	if !o.agreed {
		return &usageError{errors.New("scrape test --live needs --agreed: say that you may see these pages and that they may be read by a program")}
	}
	if o.days < 1 || o.days > 3650 {
		return domain.Invalid("--days", "must be 1 to 3650, is %d", o.days)
	}
	policy := httpx.PublicOnly
	if o.here {
		policy = httpx.AllowPrivate
	}
	client, err := httpx.New(httpx.Options{Allow: policy})
	if err != nil {
		return err
	}
	defer client.Close()
	secrets := map[string]string{}
	for name, variable := range map[string]string{"user": o.userEnv, "password": o.passwordEnv} {
		if variable == "" {
			continue
		}
		if secrets[name] = os.Getenv(variable); secrets[name] == "" {
			return domain.Invalid("--"+name+"-env", "names a variable that is empty")
		}
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	r, err := p.Session(scrape.Options{HTTP: client, Secrets: secrets, Zone: zone}).Run(ctx, scrape.Window{From: today, Until: today.AddDate(0, 0, o.days)})
	if err != nil {
		fmt.Fprintf(out, "after %d requests:\n", r.Requests)
		if printed := o.printFault(out, err); printed != nil {
			return printed
		}
		return errRecipe
	}
	if err := o.printRows(out, r.Rows); err != nil || o.asJSON && len(r.Faults) == 0 {
		return err
	}
	for _, f := range r.Faults {
		fmt.Fprintf(out, "fault: %s (selector %s)\n", f.Error(), f.Selector)
	}
	fmt.Fprintf(out, "%d rows on %d pages, %d requests\n", len(r.Rows), r.Pages, r.Requests)
	if r.Unsure {
		fmt.Fprintln(out, "that an entry is not in the list proves nothing: a row has no identity, or the end of the list is not proved")
	}
	if len(r.Faults) > 0 {
		return errRecipe
	}
	return nil
}
