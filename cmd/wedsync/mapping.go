package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	cmd.AddCommand(test, backtest)
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
