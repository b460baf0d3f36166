package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
)

// credentialCommand replaces the secrets of webhooks without losing any: add the new one, change it at the sender, give
// the old one an end, look at list until it is out of use, remove it.
func credentialCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "credential", Short: "Add, list, end and remove the credentials of an integration's webhooks"}
	list := func(args []string) string { return "/v1/integrations/" + args[0] + "/credentials" }
	one := func(args []string) string { return list(args) + "/" + args[1] }
	var label, file, reason, at string
	var in time.Duration
	var forever bool
	cmd.AddCommand(
		remoteCommand("list ID", "List credentials with their ends and last uses", 1, http.MethodGet, list, nil, nil),
		remoteCommand("add ID", "Add a credential: one made here and shown this once, or the one in a file", 1, http.MethodPost, list,
			func([]string) (any, error) {
				body := map[string]any{"label": label, "reason": reason}
				if file == "" {
					body["generate"] = true
					return body, nil
				}
				secret, err := readSecret(file)
				body["secret"] = secret
				return body, err
			}, func(f *pflag.FlagSet) {
				f.StringVar(&label, "label", "", "names it for people")
				f.StringVar(&file, "secret-file", "", "file with the secret (- = standard input); absent = generate one")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("expire ID CREDENTIAL", "Set when a credential stops being accepted", 2, http.MethodPatch, one,
			func([]string) (any, error) {
				body := map[string]any{"reason": reason}
				switch {
				case forever && at == "" && in == 0:
					body["forever"] = true
				case at != "" && in == 0 && !forever:
					t, err := time.Parse(time.RFC3339, at)
					if err != nil {
						return nil, domain.Invalid("at", "must be a time such as 2026-06-20T12:00:00Z")
					}
					body["not_after"] = t
				case in > 0 && at == "" && !forever:
					body["not_after"] = time.Now().Add(in).UTC()
				default:
					return nil, domain.Invalid("in", "want one of --in, --at and --never")
				}
				return body, nil
			}, func(f *pflag.FlagSet) {
				f.DurationVar(&in, "in", 0, "from now, such as 24h")
				f.StringVar(&at, "at", "", "time (RFC 3339)")
				f.BoolVar(&forever, "never", false, "take the end away again")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("remove ID CREDENTIAL", "Remove a credential for good", 2, http.MethodDelete, one, nil, nil),
	)
	return cmd
}

// readSecret reads a secret without the line end behind it. It is no flag, because flags show in lists of processes.
func readSecret(path string) (string, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", domain.Invalid("secret-file", "cannot be opened: %v", err)
		}
		defer f.Close()
		in = f
	}
	const limit = 8 << 10
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return "", err
	}
	if len(b) > limit {
		return "", domain.Invalid("secret-file", "at most %d bytes", limit)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
