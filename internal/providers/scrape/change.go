package scrape

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	engine "github.com/wedsync/wedsync/internal/scrape"
)

// changes turns rows into changes; what cannot be understood becomes a problem.
func (c *connection) changes(r engine.Result) (out []domain.Change, problems []provider.Problem) {
	for _, f := range r.Faults {
		problems = append(problems, provider.Problem{ExternalID: f.ID, Err: domain.E(domain.KindInvalid, "%w", f)})
	}
	for _, row := range r.Rows {
		ch, err := c.change(row)
		if err == nil {
			err = ch.Validate()
		}
		if err != nil {
			problems = append(problems, provider.Problem{ExternalID: row.ID, Err: domain.E(domain.KindInvalid, "page %d, line %d: %w", row.Page, row.Line, err)})
			continue
		}
		out = append(out, ch)
	}
	return out, problems
}

func (c *connection) change(row engine.Row) (domain.Change, error) {
	out := domain.Change{Op: domain.OpUpsert, ExternalID: row.ID, Status: domain.StatusConfirmed, Details: domain.Details{
		Title: shorten(row.Fields["title"], domain.MaxTitle), Location: shorten(row.Fields["location"], domain.MaxTitle),
		Contact: shorten(row.Fields["contact"], domain.MaxTitle), Notes: shorten(row.Fields["notes"], domain.MaxNotes)}}
	if said := row.Fields["status"]; said != "" {
		switch out.Status = domain.BookingStatus(strings.ToLower(said)); out.Status {
		case domain.StatusConfirmed, domain.StatusTentative, domain.StatusCancelled:
		default:
			return out, domain.Invalid("status", "must be mapped to confirmed, tentative or cancelled")
		}
	}
	if label := shorten(row.Fields["label"], domain.MaxLabel); label != "" {
		out.Labels = []string{label}
	}
	if own := domain.Category(strings.ToLower(row.Fields["category"])); own.Valid() {
		out.Category = own
	} else {
		out.Category = provider.CategoryOf(c.settings.CategoryRules, c.settings.CategoryDefault, row.Fields["title"], row.Fields["label"])
	}
	var err error
	out.When, err = c.when(row.Fields)
	return out, err
}

// when reads the times of a row.
func (c *connection) when(f map[string]string) (domain.When, error) {
	out := domain.When{Zone: c.zone.String(), Kind: domain.TimeZoned}
	if f["start"] != "" {
		start, err := time.Parse(time.RFC3339, f["start"])
		if err != nil {
			return out, domain.Invalid("start", "is no time")
		}
		out.Span = domain.Span{Start: start.UTC(), End: start.UTC().Add(c.settings.length())}
		if f["end"] != "" {
			if out.End, err = time.Parse(time.RFC3339, f["end"]); err != nil {
				return out, domain.Invalid("end", "is no time")
			}
			out.End = out.End.UTC()
		}
		return out, nil
	}
	first, err := calendartime.ParseDate(f["date"])
	if err != nil {
		return out, domain.Invalid("date", "is no date")
	}
	last := first
	if f["end_date"] != "" {
		if last, err = calendartime.ParseDate(f["end_date"]); err != nil || last.Before(first) {
			return out, domain.Invalid("end_date", "is no date, or before the beginning")
		}
	}
	if f["start_time"] == "" {
		out.Kind, out.Span = domain.TimeAllDay, calendartime.AllDay(c.zone, first, last.AddDays(1))
		return out, nil
	}
	start, err := clock(f["start_time"], first, c.zone)
	if err != nil {
		return out, domain.Invalid("start_time", "is no time")
	}
	out.Span = domain.Span{Start: start, End: start.Add(c.settings.length())}
	switch {
	case f["end_time"] == "" && last != first:
		// How long it lasts on its last day is not told, so that day is taken whole.
		out.End = calendartime.AllDay(c.zone, first, last.AddDays(1)).End
	case f["end_time"] != "":
		if out.End, err = clock(f["end_time"], last, c.zone); err != nil {
			return out, domain.Invalid("end_time", "is no time")
		}
		if !out.End.After(out.Start) && f["end_date"] == "" {
			if out.End, err = clock(f["end_time"], last.AddDays(1), c.zone); err != nil {
				return out, domain.Invalid("end_time", "is no time")
			}
		}
	}
	return out, nil
}

// clock is a time of a day in a zone.
func clock(text string, d calendartime.Date, zone *time.Location) (time.Time, error) {
	t, err := time.Parse("15:04", text)
	if err != nil {
		return t, err
	}
	return calendartime.Resolve(d.At(t.Hour(), t.Minute()), zone).UTC(), nil
}

// shorten cuts text to at most limit bytes, between characters.
func shorten(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	at := limit - len(mark)
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return strings.TrimSpace(s[:at]) + mark
}
