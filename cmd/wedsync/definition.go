package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/custom"
)

// maxDefinitionFile is the most that is read of a definition, in bytes.
const maxDefinitionFile = 4 << 20

func lintCommand() *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Check a definition of a custom system, and carry its samples out, without asking anybody",
		Long: "Check a definition of a custom system (YAML or JSON; - = standard input): every fault with its path, line and column, and\n" +
			"choices that are a risk as warnings. Its samples are carried out against their own recorded answers on this machine.\n" +
			"Exit status is 2 when there are errors, with --strict also when there are warnings.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readBounded(cmd, args[0], maxDefinitionFile)
			if err != nil {
				return err
			}
			report := custom.Lint(cmd.Context(), text)
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printReport(cmd.OutOrStdout(), args[0], report)
			}
			if err != nil {
				return err
			}
			errs, warnings := count(report)
			if errs > 0 || strict && warnings > 0 {
				return domain.Invalid("FILE", "%d errors, %d warnings", errs, warnings)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	return cmd
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of definitions, for editors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(custom.DefinitionSchema())
			return err
		},
	}
}

func count(r custom.Report) (errs, warnings int) {
	for _, f := range r.Findings {
		if f.Severity == custom.SeverityError {
			errs++
		} else {
			warnings++
		}
	}
	return errs, warnings
}

// printReport writes findings in the form that editors jump to.
func printReport(w io.Writer, file string, r custom.Report) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s:%s\n", file, f)
	}
	errs, warnings := count(r)
	fmt.Fprintf(&b, "%d errors, %d warnings, %d samples carried out\n", errs, warnings, r.Samples)
	if len(r.Secrets) > 0 {
		fmt.Fprintf(&b, "needs the secrets: %s\n", strings.Join(r.Secrets, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// newDefinition is the command that writes a definition, and makes an integration of it.
type newDefinition struct {
	remote
	draft           custom.Draft
	from, out       string
	apply, noInput  bool
	resource        string
	direction       string
	secretFiles     map[string]string
	onTerminal      bool
	secretFromHuman func(name string) (string, error)
}

func newDefinitionCommand() *cobra.Command {
	n := &newDefinition{draft: custom.Defaults()}
	n.draft.Webhook = ""
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write a definition of a custom system, with questions on a terminal or by flags alone",
		Long: "Write a commented definition that lint has no errors for. On a terminal what is not given by a flag is asked for, and\n" +
			"an empty answer takes the value shown; elsewhere, and with --no-input, flags and their defaults decide.\n" +
			"With --apply an integration is made of it. Its secrets are read from files (--secret-file api_key=FILE), from the\n" +
			"environment (WEDSYNC_SECRET_API_KEY), or asked for on a terminal; they have no flag, because flags are shown by the\n" +
			"list of processes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stdin := int(os.Stdin.Fd())
			n.onTerminal = !n.noInput && cmd.InOrStdin() == io.Reader(os.Stdin) && term.IsTerminal(stdin)
			n.secretFromHuman = func(name string) (string, error) {
				fmt.Fprintf(cmd.ErrOrStderr(), "secret %s: ", name)
				b, err := term.ReadPassword(stdin)
				fmt.Fprintln(cmd.ErrOrStderr())
				return string(b), err
			}
			return n.run(cmd)
		},
	}
	d := &n.draft
	settings(cmd, &app.Config{}, n.remote.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&n.from, "from", "", "take this definition and ask nothing; for --apply")
		f.StringVar(&n.out, "out", "", "file to write, which must not exist; empty = standard output")
		f.BoolVar(&n.apply, "apply", false, "make an integration of it")
		f.BoolVar(&n.noInput, "no-input", false, "ask nothing, also on a terminal")
		f.StringVar(&n.resource, "resource", "", "with --apply: id of the resource whose bookings these are")
		f.StringVar(&n.direction, "direction", "", "with --apply: import, export or bidirectional; by default what the definition can do")
		f.StringToStringVar(&n.secretFiles, "secret-file", nil, "with --apply: NAME=FILE for each secret")
		for _, q := range n.questions() {
			f.StringVar(q.to, q.flag, *q.to, q.text)
		}
		f.BoolVar(&d.Write, "write", false, "copies of bookings are written")
		f.BoolVar(&d.FetchBack, "fetch-back", false, "webhooks only name entries, which are then read")
		f.IntVar(&d.Requests, "requests", d.Requests, "limit: so many requests")
		f.IntVar(&d.PerSeconds, "per-seconds", d.PerSeconds, "limit: in so many seconds")
	})
	return cmd
}

// question is one choice of a draft.
type question struct {
	flag, text string
	to         *string
	when       func() bool // nil = always
}

func (n *newDefinition) questions() []question {
	d := &n.draft
	auth := func(kinds ...string) func() bool { return func() bool { return slices.Contains(kinds, d.Auth) } }
	listed := func() bool { return d.ListPath != "" }
	return []question{
		{"name", "name of the system", &d.Name, nil},
		{"base-url", "start of every address of its API", &d.BaseURL, nil},
		{"auth", "how it knows us: " + strings.Join(custom.DraftAuths, ", "), &d.Auth, nil},
		{"auth-header", "header that carries the key", &d.Header, auth("header")},
		{"auth-param", "query parameter that carries the key", &d.Param, auth("query")},
		{"username", "user name", &d.Username, auth("basic")},
		{"client-id", "client id of OAuth2", &d.ClientID, auth("client_credentials", "authorization_code")},
		{"auth-url", "address where a person consents", &d.AuthURL, auth("authorization_code")},
		{"token-url", "address of the token endpoint", &d.TokenURL, auth("client_credentials", "authorization_code")},
		{"list-path", "path of the listing, - for none", &d.ListPath, nil},
		{"items", "where the entries are in its answer", &d.Items, listed},
		{"paging", "how it pages: " + strings.Join(custom.DraftPagings, ", "), &d.Paging, listed},
		{"page-param", "query parameter of the page, empty for the usual one", &d.PageParam, func() bool { return listed() && slices.Contains([]string{"page", "offset", "cursor"}, d.Paging) }},
		{"size-param", "query parameter of the page size, - for none", &d.SizeParam, func() bool { return listed() && d.Paging != "none" }},
		{"next", "where the next page is named in the answer", &d.Next, func() bool { return listed() && slices.Contains([]string{"cursor", "next_link"}, d.Paging) }},
		{"total", "where the answer tells how many entries there are, - for nowhere", &d.Total, listed},
		{"since-param", "query parameter for changes since a time, - for none", &d.SinceParam, listed},
		{"updated", "when an entry was changed", &d.Updated, func() bool { return listed() && d.SinceParam != "" }},
		{"id", "id of an entry", &d.ID, nil},
		{"category", "its category", &d.Category, nil},
		{"status", "its status, - for always confirmed", &d.Status, nil},
		{"start", "when it begins", &d.Start, nil},
		{"end", "when it ends", &d.End, nil},
		{"zone", "its time zone, - for that of the resource", &d.Zone, nil},
		{"title", "its title, - for none", &d.Title, nil},
		{"version", "a number that grows with each change, - for none", &d.Version, nil},
		{"origin", "where our mark stands on copies", &d.Origin, func() bool { return d.Write }},
		{"webhook", "how its webhooks are verified: " + strings.Join(custom.DraftHooks, ", ") + "; - for no webhooks", &d.Webhook, nil},
		{"hook-items", "where the entries of a webhook are", &d.HookItems, func() bool { return d.Webhook != "" }},
	}
}

// interview asks what no flag told. A minus stands for nothing.
func (n *newDefinition) interview(in io.Reader, out io.Writer, given func(flag string) bool) error {
	lines := bufio.NewScanner(in)
	for _, q := range n.questions() {
		if given(q.flag) || q.when != nil && !q.when() {
			continue
		}
		fmt.Fprintf(out, "%s [%s]: ", q.text, *q.to)
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return err
			}
			fmt.Fprintln(out)
			return domain.Invalid("input", "ended before the last question")
		}
		if answer := strings.TrimSpace(lines.Text()); answer != "" {
			*q.to = answer
		}
		n.blank()
	}
	return nil
}

// blank turns a minus into nothing.
func (n *newDefinition) blank() {
	for _, q := range n.questions() {
		if *q.to == "-" {
			*q.to = ""
		}
	}
}

func (n *newDefinition) run(cmd *cobra.Command) error {
	var text []byte
	var err error
	if n.from != "" {
		if text, err = readBounded(cmd, n.from, maxDefinitionFile); err != nil {
			return err
		}
	} else {
		n.blank()
		if n.onTerminal {
			if err := n.interview(cmd.InOrStdin(), cmd.ErrOrStderr(), cmd.Flags().Changed); err != nil {
				return err
			}
		}
		if text, err = custom.Scaffold(n.draft); err != nil {
			return err
		}
	}
	report := custom.Lint(cmd.Context(), text)
	if errs, _ := count(report); errs > 0 {
		file := n.from
		if file == "" {
			file = "definition"
		}
		if err := printReport(cmd.ErrOrStderr(), file, report); err != nil {
			return err
		}
		return domain.Invalid("definition", "has %d errors", errs)
	}
	switch {
	case n.from != "":
	case n.out != "":
		f, err := os.OpenFile(n.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return domain.Invalid("out", "cannot be made: %v", err)
		}
		_, err = f.Write(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; check what it says with: wedsync integration lint %s\n", n.out, n.out)
	default:
		if _, err := cmd.OutOrStdout().Write(text); err != nil {
			return err
		}
	}
	if !n.apply {
		return nil
	}
	return n.create(cmd, report)
}

// create makes the integration.
func (n *newDefinition) create(cmd *cobra.Command, report custom.Report) error {
	if n.resource == "" {
		return domain.Invalid("resource", "is required with --apply")
	}
	secrets := map[string]string{}
	for _, name := range report.Secrets {
		value, err := n.secret(name)
		if err != nil {
			return err
		}
		secrets[name] = value
	}
	name := report.Name
	if cmd.Flags().Changed("name") || name == "" {
		name = n.draft.Name
	}
	direction := n.direction
	if direction == "" {
		direction = directionOf(report.Settings)
	}
	return n.call(cmd, http.MethodPost, "/v1/integrations", map[string]any{"name": name, "provider": custom.Registration.Name, "resource_id": n.resource,
		"direction": direction, "settings": report.Settings, "secrets": secrets, "reason": "made of a definition"})
}

// directionOf is what settings can do.
func directionOf(settings json.RawMessage) string {
	var s struct{ List, Webhook, Write json.RawMessage }
	if json.Unmarshal(settings, &s) != nil {
		return string(domain.DirectionImport)
	}
	switch reads := s.List != nil || s.Webhook != nil; {
	case reads && s.Write != nil:
		return string(domain.DirectionBidirectional)
	case s.Write != nil:
		return string(domain.DirectionExport)
	}
	return string(domain.DirectionImport)
}

func (n *newDefinition) secret(name string) (string, error) {
	env := "WEDSYNC_SECRET_" + strings.ToUpper(name)
	if file := n.secretFiles[name]; file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", domain.Invalid("secret-file", "%s cannot be read: %v", strconv.Quote(file), errors.Unwrap(err))
		}
		return strings.TrimSpace(string(b)), nil
	}
	if v := os.Getenv(env); v != "" {
		return v, nil
	}
	if n.onTerminal {
		return n.secretFromHuman(name)
	}
	return "", domain.Invalid("secrets", "%s is needed: give --secret-file %s=FILE or set %s", name, name, env)
}
