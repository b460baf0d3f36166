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

func mappingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "mapping", Short: "Try how webhooks are read, before anything is switched on"}
	var settingsFile, sample, delivery string
	test := remoteCommand("test ID", "Show step by step how a sample or a stored webhook is read", 1, http.MethodPost,
		func(args []string) string { return "/v1/integrations/" + args[0] + "/mapping:test" },
		func([]string) (any, error) {
			if (sample == "") == (delivery == "") {
				return nil, domain.Invalid("flags", "needs either --sample or --delivery")
			}
			body := map[string]any{}
			if delivery != "" {
				body["delivery_id"] = delivery
			}
			for name, file := range map[string]string{"settings": settingsFile, "sample": sample} {
				if file == "" {
					continue
				}
				v, err := readJSON(file)
				if err != nil {
					return nil, err
				}
				if raw, ok := v.(json.RawMessage); ok && name == "sample" {
					v = sampleOf(raw)
				}
				body[name] = v
			}
			return body, nil
		}, func(f *pflag.FlagSet) {
			f.StringVar(&settingsFile, "settings", "", "file with the webhook part, or all settings, to try instead of the stored ones")
			f.StringVar(&sample, "sample", "", "file with the JSON body, or with an object of body, headers and content_type")
			f.StringVar(&delivery, "delivery", "", "id of a stored delivery")
		})
	var tried string
	var last int
	backtest := remoteCommand("backtest ID", "Tell what a new mapping would change about the last webhooks", 1, http.MethodPost,
		func(args []string) string { return "/v1/integrations/" + args[0] + "/mapping:backtest" },
		func([]string) (any, error) {
			if tried == "" {
				return nil, domain.Invalid("flags", "needs --settings")
			}
			v, err := readJSON(tried)
			if err != nil {
				return nil, err
			}
			return map[string]any{"settings": v, "last": last}, nil
		}, func(f *pflag.FlagSet) {
			f.StringVar(&tried, "settings", "", "file with the webhook part, or all settings, to try")
			f.IntVar(&last, "last", 100, "how many of the newest deliveries, at most 1000")
		})
	cmd.AddCommand(samplesCommand(), showMappingCommand(), setMappingCommand(), test, backtest)
	return cmd
}

func samplesCommand() *cobra.Command {
	return remoteCommand("samples PROVIDER", "List the kinds of webhooks of a provider, each with a sample and the mapping that reads it", 1, http.MethodGet,
		func(args []string) string { return "/v1/providers/" + url.PathEscape(args[0]) + "/samples" }, nil, nil)
}

func showMappingCommand() *cobra.Command {
	return remoteCommand("show ID", "Show by which expressions each kind of webhook is read", 1, http.MethodGet,
		func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + "/mappings" }, nil, nil)
}

// setMappingCommand changes one kind. Without --version the change is made from what is stored now.
func setMappingCommand() *cobra.Command {
	r := &remote{}
	var version int64
	var reason string
	cmd := &cobra.Command{
		Use: "set ID KIND FILE", Short: "Change by which expressions a kind of webhook is read: FILE is an object of expressions by field; fields left out get the provider's own",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			mapping, err := readJSON(args[2])
			if err != nil {
				return err
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			at := "/v1/integrations/" + url.PathEscape(args[0]) + "/mappings"
			if version == 0 {
				var have struct {
					Version int64 `json:"version"`
				}
				if _, err := c.Do(cmd.Context(), http.MethodGet, at, nil, &have); err != nil {
					return err
				}
				version = have.Version
			}
			var out json.RawMessage
			if _, err := c.Do(cmd.Context(), http.MethodPut, at+"/"+url.PathEscape(args[1]), map[string]any{"mapping": mapping, "version": version, "reason": reason}, &out); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), out)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.Int64Var(&version, "version", 0, "version of the integration that the change was made from; the present one if left out")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

// sampleOf takes an object with nothing but the members of a sample as one, and anything else as the body itself.
func sampleOf(raw json.RawMessage) any {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) == nil && members["body"] != nil {
		others := len(members) - 1
		for _, name := range []string{"headers", "content_type"} {
			if _, there := members[name]; there {
				others--
			}
		}
		if others == 0 {
			return raw
		}
	}
	return map[string]any{"body": raw}
}
