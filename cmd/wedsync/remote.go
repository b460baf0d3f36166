package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
)

// remote is a running server that commands talk to.
type remote struct {
	dir, url, token string
	override        string // reason for which something risky is done while a wedding is near or on
}

func (r *remote) flags(f *pflag.FlagSet, _ *app.Config) {
	f.StringVar(&r.dir, "data-dir", ".wedsync", "data folder of a development stack, where --url is absent")
	f.StringVar(&r.url, "url", "", "base URL of the server")
	f.StringVar(&r.token, "token", "", "admin token for --url")
}

// overrideFlag is for commands that do what is refused while a wedding is near or on.
func (r *remote) overrideFlag(f *pflag.FlagSet) {
	f.StringVar(&r.override, "override-freeze", "", "why this is done although a wedding is near or on, 3 to 500 characters, for the audit trail; admins only")
}

func (r *remote) client() (*apiclient.Client, error) {
	if r.url != "" {
		return apiclient.New(r.url, r.token).With(freeze.Header, r.override), nil
	}
	ready, err := app.ReadReady(r.dir)
	if err != nil {
		return nil, err
	}
	return apiclient.New(ready.HTTP, ready.AdminToken).With(freeze.Header, r.override), nil
}

// call makes one request and prints the answer.
func (r *remote) call(cmd *cobra.Command, method, path string, body any) error {
	var out json.RawMessage
	if err := r.do(cmd, method, path, body, &out); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), out)
}

// do makes one request and reads the answer into out.
func (r *remote) do(cmd *cobra.Command, method, path string, body, out any) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do(cmd.Context(), method, path, body, out)
	return err
}

func printJSON(w io.Writer, v any) error {
	if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(b))
	return err
}

// remoteCommand is a command that makes one request. path gets the arguments.
func remoteCommand(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	return (&remote{}).command(use, short, args, method, path, body, more)
}

// riskyCommand is a remoteCommand that an admin may insist on while a wedding is near or on.
func riskyCommand(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	r := &remote{}
	return r.command(use, short, args, method, path, body, func(f *pflag.FlagSet) {
		if more != nil {
			more(f)
		}
		r.overrideFlag(f)
	})
}

func (r *remote) command(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			var in any
			if body != nil {
				var err error
				if in, err = body(args); err != nil {
					return err
				}
			}
			return r.call(cmd, method, path(args), in)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		if more != nil {
			more(f)
		}
	})
	return cmd
}

// textCommand is a command that makes one request and prints the answer as print writes it, or as it is with --json.
func textCommand[T any](use, short string, args int, method string, path func(args []string) string, print func(w io.Writer, answer *T) error, more func(f *pflag.FlagSet)) *cobra.Command {
	r := &remote{}
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				return r.call(cmd, method, path(args), nil)
			}
			var answer T
			if err := r.do(cmd, method, path(args), nil, &answer); err != nil {
				return err
			}
			return print(cmd.OutOrStdout(), &answer)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&asJSON, "json", false, "print the answer as it is")
		if more != nil {
			more(f)
		}
	})
	return cmd
}

func readJSON(path string) (any, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, domain.Invalid("FILE", "cannot be opened: %v", err)
		}
		defer f.Close()
		in = f
	}
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if len(b) > limit {
		return nil, domain.Invalid("FILE", "at most %d bytes", limit)
	}
	if !json.Valid(b) {
		return nil, domain.Invalid("FILE", "is no JSON")
	}
	return json.RawMessage(b), nil
}
