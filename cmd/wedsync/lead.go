package main

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

func leadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "lead", Short: "Hand enquiries in at systems that take them and confirm nothing"}
	cmd.AddCommand(sendLeadCommand(), remoteCommand("list ID", "List the enquiries that were handed in, without what they said", 1, http.MethodGet,
		func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + "/leads?limit=200" }, nil, nil))
	return cmd
}

// sendLeadCommand needs a key, because a command is easily repeated and an enquiry cannot be taken back.
func sendLeadCommand() *cobra.Command {
	r := &remote{}
	var key string
	cmd := &cobra.Command{
		Use: "send ID FILE", Short: "Hand in the enquiry in FILE (the body of POST /v1/integrations/{id}/leads; - = standard input), once for a key", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return domain.Invalid("key", "is required: the same key never sends a second enquiry")
			}
			lead, err := readJSON(args[1])
			if err != nil {
				return err
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var out json.RawMessage
			if _, err := c.DoWithKey(cmd.Context(), http.MethodPost, "/v1/integrations/"+url.PathEscape(args[0])+"/leads", key, lead, &out); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), out)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&key, "key", "", "what the enquiry is known by, such as the number of your own list")
	})
	return cmd
}
