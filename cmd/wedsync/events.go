package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

// line is an event as it is printed: with its id, from which --since goes on.
type line struct {
	ID    string            `json:"id"`
	Topic domain.Topic      `json:"topic"`
	At    time.Time         `json:"at"`
	Refs  map[string]string `json:"refs"`
}

func eventsCommand() *cobra.Command {
	r := &remote{}
	var (
		topics, weddings, integrations, resources []string
		since                                     string
		count                                     int
	)
	cmd := &cobra.Command{
		Use: "events", Short: "Follow the live stream, one JSON object a line", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 0 {
				return domain.Invalid("count", "must be 0 (no end) or more, is %d", count)
			}
			f := domain.EventFilter{Topics: topics, Weddings: idsOf[domain.BookingID](weddings),
				Integrations: idsOf[domain.IntegrationID](integrations), Resources: idsOf[domain.ResourceID](resources)}
			if err := f.Check(""); err != nil {
				return err
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			out, seen, fault := json.NewEncoder(cmd.OutOrStdout()), 0, error(nil)
			err = c.StreamOf(cmd.Context(), f, since, func(e apiclient.Event) bool {
				seen++
				fault = out.Encode(line(e))
				return fault == nil && seen != count
			})
			if cmd.Context().Err() != nil {
				return nil // the user stopped it
			}
			return errors.Join(err, fault)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringSliceVar(&topics, "topics", nil, "only these topics, such as delivery.dead, or conflict.* for all below one")
		f.StringSliceVar(&weddings, "wedding", nil, "only events that name one of these bookings")
		f.StringSliceVar(&integrations, "integration", nil, "only events that name one of these integrations")
		f.StringSliceVar(&resources, "resource", nil, "only events that name one of these resources")
		f.StringVar(&since, "since", "", "go on after the event with this id; 0-0 = from the oldest kept")
		f.IntVar(&count, "count", 0, "stop after so many events; 0 = never")
	})
	return cmd
}

func idsOf[T ~string](values []string) []T {
	out := make([]T, len(values))
	for i, v := range values {
		out[i] = T(v)
	}
	return out
}
