package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Bounds of "calendar inspect". The one on the file is ical.DefaultMaxBytes.
const (
	maxInspectedYears       = 10
	maxInspectedOccurrences = 100_000
)

func calendarCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "calendar", Short: "Look into calendar files"}
	var from, to, zone string
	var asJSON bool
	inspect := &cobra.Command{
		Use:   "inspect FILE.ics",
		Short: "List when everything in a calendar file takes place, and what of it cannot be read",
		Long: "List when everything in an iCalendar file takes place, the way WedSync reads calendars: series are expanded, exceptions\n" +
			"applied, clock changes followed. FILE.ics may be - for standard input. The range begins with --from and ends before --to;\n" +
			"both are days in --tz (2027-06-05) or instants (2027-06-05T12:00:00Z). Without --from it begins today, without --to it is\n" +
			"a year long.\n\n" +
			"With --json each occurrence is an object on a line of its own: uid, recurrence_id, start, end, all_day, summary, status,\n" +
			"busy. Times carry the offset of the event's zone; whole days are dates, and the end is the day after the last one.\n\n" +
			"What cannot be read is told on standard error with its line. Exit status 1 means that nothing could be read.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("calendar inspect needs one file, or - for standard input")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			local, err := calendartime.ResolveZoneName(zone)
			if err != nil {
				return domain.Invalid("--tz", "must be a time zone such as Europe/London")
			}
			window, err := inspectedRange(from, to, local.Loc, time.Now())
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("open calendar: %w", err)
				}
				defer func() { _ = f.Close() }()
				in = f
			}
			return inspect(in, cmd.OutOrStdout(), cmd.ErrOrStderr(), window, local.Loc, asJSON)
		},
	}
	f := inspect.Flags()
	f.StringVar(&from, "from", "", "first day or instant (today)")
	f.StringVar(&to, "to", "", "day or instant before which the range ends (a year after --from)")
	f.StringVar(&zone, "tz", "UTC", "time zone of floating times, of whole days, and of --from and --to")
	f.BoolVar(&asJSON, "json", false, "print one JSON object per occurrence")
	cmd.AddCommand(inspect)
	return cmd
}

// inspectedRange reads --from and --to.
func inspectedRange(from, to string, loc *time.Location, now time.Time) (domain.Span, error) {
	start := calendartime.DayStart(calendartime.DateOf(now, loc), loc)
	var err error
	if from != "" {
		if start, err = dayOrInstant("--from", from, loc); err != nil {
			return domain.Span{}, err
		}
	}
	end := calendartime.DayStart(calendartime.DateOf(start.AddDate(1, 0, 0), loc), loc)
	if to != "" {
		if end, err = dayOrInstant("--to", to, loc); err != nil {
			return domain.Span{}, err
		}
	}
	if !end.After(start) || end.After(start.AddDate(maxInspectedYears, 0, 1)) {
		return domain.Span{}, domain.Invalid("--to", "must be after --from, by at most %d years", maxInspectedYears)
	}
	return domain.Span{Start: start.UTC(), End: end.UTC()}, nil
}

func dayOrInstant(flag, value string, loc *time.Location) (time.Time, error) {
	if d, err := calendartime.ParseDate(value); err == nil {
		return calendartime.DayStart(d, loc), nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil || t.Year() < 1 || t.Year() > 9900 {
		return t, domain.Invalid(flag, "must be a day (2027-06-05) or an instant (2027-06-05T12:00:00Z)")
	}
	return t, nil
}

// inspected is the form of an occurrence on the wire.
type inspected struct {
	UID          string               `json:"uid"`
	RecurrenceID *string              `json:"recurrence_id"` // null for a single event
	Start        string               `json:"start"`
	End          string               `json:"end"`
	AllDay       bool                 `json:"all_day"`
	Summary      string               `json:"summary"`
	Status       domain.BookingStatus `json:"status"`
	Busy         bool                 `json:"busy"`
}

func inspect(in io.Reader, out, faults io.Writer, window domain.Span, loc *time.Location, asJSON bool) error {
	cal, problems, err := ical.Read(in, ical.Options{Zone: loc})
	if err != nil {
		// The call was right, the file is not: this is no KindInvalid.
		return errors.New("nothing could be read: " + err.Error())
	}
	found, more := cal.Occurrences(window.Start, window.End, maxInspectedOccurrences)
	for _, p := range append(problems, more...) {
		line := p.String()
		if p.UID != "" {
			line += fmt.Sprintf(" (UID %.200q)", p.UID)
		}
		if _, err := fmt.Fprintln(faults, line); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	show := inspectTable
	if asJSON {
		show = inspectJSON
	}
	buffered := bufio.NewWriter(out)
	if err := errors.Join(show(buffered, found), buffered.Flush()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if lost := cal.Lost + len(more); lost > 0 && len(more) == len(cal.Objects) {
		return errors.New("nothing could be read: see the lines above")
	}
	return nil
}

func inspectJSON(out io.Writer, found []ical.Occurrence) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, o := range found {
		if err := enc.Encode(inspectedOf(o)); err != nil {
			return err
		}
	}
	return nil
}

func inspectTable(out io.Writer, found []ical.Occurrence) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "START\tEND\tSTATUS\tBUSY\tSUMMARY\tUID") // Flush tells what went wrong
	for _, o := range found {
		i := inspectedOf(o)
		busy := "free"
		if i.Busy {
			busy = "busy"
		}
		summary := strings.Join(strings.Fields(i.Summary), " ")
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.60s\t%s\n", i.Start, i.End, i.Status, busy, summary, strings.Join(strings.Fields(i.UID), " "))
	}
	return w.Flush()
}

func inspectedOf(o ical.Occurrence) inspected {
	e := o.Event
	out := inspected{UID: o.UID, AllDay: o.AllDay(), Summary: e.Text("SUMMARY"), Status: e.Status(), Busy: e.Busy()}
	write := func(t time.Time, day bool, loc *time.Location) string {
		if day {
			return calendartime.DateOf(t, loc).String()
		}
		return t.In(loc).Format(time.RFC3339)
	}
	loc := o.Zone().Loc
	out.Start, out.End = write(o.Span.Start, out.AllDay, loc), write(o.Span.End, out.AllDay, loc)
	if !e.TakesTime() {
		out.End = out.Start
	}
	if o.RecurrenceID != "" {
		id := write(o.Original.Instant(), o.Original.Form == ical.FormDate, o.Original.Zone.Loc)
		out.RecurrenceID = &id
	}
	return out
}
