package main

import (
	"net/http"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
)

func conflictCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "conflict", Short: "List and resolve double-bookings"}
	var action, reason, booking, resource, start, end, until string
	var alternative int
	var version int64
	cmd.AddCommand(
		conflictPolicyCommand(),
		remoteCommand("list", "List open conflicts", 0, http.MethodGet, func([]string) string { return "/v1/conflicts?state=open&limit=200" }, nil, nil),
		remoteCommand("get ID", "Show a conflict with its ways out", 1, http.MethodGet, func(a []string) string { return "/v1/conflicts/" + a[0] }, nil, nil),
		remoteCommand("resolve ID", "Decide a conflict: take a proposal, or say what is to be done", 1, http.MethodPost,
			func(a []string) string { return "/v1/conflicts/" + a[0] + "/resolve" },
			func([]string) (any, error) {
				body := map[string]any{"reason": reason, "version": version}
				switch {
				case action != "" && alternative >= 0:
					return nil, domain.Invalid("alternative", "stands alone, without --action")
				case action != "":
					body["action"] = action
					for name, value := range map[string]string{"booking_id": booking, "resource_id": resource, "until": until} {
						if value != "" {
							body[name] = value
						}
					}
					if start != "" || end != "" {
						body["when"] = map[string]any{"start": start, "end": end}
					}
				case alternative >= 0:
					body["alternative"] = alternative
				default:
					return nil, domain.Invalid("alternative", "or --action is required")
				}
				return body, nil
			},
			func(f *pflag.FlagSet) {
				f.IntVar(&alternative, "alternative", -1, "number of the proposal, 0 being the best")
				f.StringVar(&action, "action", "", "move, reassign, cancel, tentative, ignore or keep_both")
				f.StringVar(&booking, "booking", "", "the booking to change; the one that should give way where absent")
				f.StringVar(&resource, "resource", "", "for reassign: who takes it over")
				f.StringVar(&start, "start", "", "for move: RFC 3339")
				f.StringVar(&end, "end", "", "for move: RFC 3339")
				f.StringVar(&until, "until", "", "for ignore: when it comes back, RFC 3339")
				f.Int64Var(&version, "version", 0, "of the conflict as you saw it")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("withdraw ID", "Call off a decision that is being carried out", 1, http.MethodPost,
			func(a []string) string { return "/v1/conflicts/" + a[0] + "/withdraw" },
			func([]string) (any, error) { return map[string]any{"reason": reason, "version": version}, nil },
			func(f *pflag.FlagSet) {
				f.Int64Var(&version, "version", 0, "of the conflict as you saw it")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
	)
	return cmd
}
