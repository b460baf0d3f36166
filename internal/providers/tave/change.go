package tave

import (
	"context"
	"html"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// change reads an event. f is its job, nil for one without; it has no say in hidden events.
func (c *connection) change(ctx context.Context, e event, f *family) (domain.Change, error) {
	if e.Hidden {
		f = nil
	}
	ch := domain.Change{Op: domain.OpUpsert, ExternalID: eventPrefix + e.ID, Revision: revision(e, f), Status: status(e, f), ChangedAt: changedAt(e.Modified, f)}
	t, err := c.typeOf(ctx, e.TypeID)
	if err != nil {
		return ch, err
	}
	if ch.When, err = c.when(e, t); err != nil {
		return ch, err
	}
	ch.Details = domain.Details{Title: e.Name, Location: e.Location.String(), Notes: plainText(e.Description)}
	jobType := ""
	if f != nil {
		jobType = f.JobTypeName
		ch.Details.Contact = f.clients()
		if ch.Details.Title == "" {
			ch.Details.Title = f.title()
		}
	}
	if ch.Details.Title == "" {
		ch.Details.Title = t.Name
	}
	ch.Category = c.settings.category(t, jobType, ch.Details.Title, e.JobID != "")
	ch.Labels = labels(t.Name, jobType, f)
	if m, ours := markerOf(e.Mappings); ours {
		ch.Origin, ch.Category = m.booking, m.category
	}
	tidy(&ch)
	return ch, ch.Validate()
}

// dated reads the date of a job that has no event with a date.
func (c *connection) dated(f *family) (domain.Change, error) {
	ch := domain.Change{Op: domain.OpUpsert, ExternalID: jobPrefix + f.ID, Revision: jobRevision(f), Status: status(event{}, f), ChangedAt: changedAt("", f)}
	day, err := calendartime.ParseDate(f.EventDate)
	if err != nil {
		return ch, domain.E(domain.KindInvalid, "the date of the job cannot be read")
	}
	ch.When = domain.When{Span: calendartime.AllDay(c.zone, day, day.AddDays(1)), Zone: c.zone.String(), Kind: domain.TimeAllDay}
	ch.Details = domain.Details{Title: f.title(), Contact: f.clients()}
	ch.Category = c.settings.category(eventType{}, f.JobTypeName, ch.Details.Title, true)
	ch.Labels = labels("", f.JobTypeName, f)
	if m, ours := markerOf(f.Mappings); ours {
		ch.Origin, ch.Category = m.booking, m.category
	}
	tidy(&ch)
	return ch, ch.Validate()
}

func tidy(ch *domain.Change) {
	for text, limit := range map[*string]int{&ch.Details.Title: domain.MaxTitle, &ch.Details.Location: domain.MaxTitle, &ch.Details.Contact: domain.MaxTitle,
		&ch.Details.Notes: domain.MaxNotes} {
		*text = cut(clean(*text), limit)
	}
}

// status is the table of the package comment.
func status(e event, f *family) domain.BookingStatus {
	switch {
	case e.Hidden, f != nil && f.Closed && f.Stage != stageCompleted:
		return domain.StatusCancelled
	case f != nil && (f.firm() || f.booked), e.Confirmed:
		return domain.StatusConfirmed
	}
	return domain.StatusTentative
}

// changedAt is the later of both times of change, nil if there is none.
func changedAt(modified string, f *family) *time.Time {
	at := instant(modified)
	if f != nil {
		if other := instant(f.Modified); other.After(at) {
			at = other
		}
	}
	if at.IsZero() {
		return nil
	}
	return &at
}

// instant reads a time of the servers, the zero time if it is none.
func instant(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

func labels(eventType, jobType string, f *family) []string {
	var out []string
	stage := ""
	if f != nil {
		stage = f.Stage
	}
	for _, l := range []string{eventType, jobType, stage} {
		if l = cut(clean(l), domain.MaxLabel); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func (f *family) title() string {
	if f.Name != "" {
		return f.Name
	}
	return f.Title
}

// clients names the clients of the job.
func (f *family) clients() string {
	var out []string
	for _, m := range f.Members {
		if !m.Client || m.Hidden {
			continue
		}
		p := m.Contact
		name := strings.TrimSpace(p.FirstName + " " + p.LastName)
		for _, other := range []string{p.Name, p.Company, p.Email} {
			if name == "" {
				name = other
			}
		}
		if name != "" {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// String writes a place in one line.
func (p *place) String() string {
	if p == nil || p.Address == nil {
		return ""
	}
	a, parts := p.Address, []string(nil)
	for _, part := range []string{a.Name, a.StreetAddress, a.Village, a.City, a.State, a.PostalCode, a.Country} {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

// usualLength is that of an event whose end and whose type's length are not told.
const usualLength = time.Hour

// when reads the times of an event. Errors hold no value.
func (c *connection) when(e event, t eventType) (domain.When, error) {
	bad := func(what string) (domain.When, error) {
		return domain.When{}, domain.E(domain.KindInvalid, "the event's %s cannot be read", what)
	}
	zone := c.zone
	if e.TimezoneName != "" {
		loc, err := calendartime.LoadZone(e.TimezoneName)
		if err != nil {
			return bad("time zone")
		}
		zone = loc
	}
	first, err := calendartime.ParseDate(e.StartDate)
	if err != nil {
		return bad("date")
	}
	last := first
	if e.EndDate != "" {
		if last, err = calendartime.ParseDate(e.EndDate); err != nil || last.Before(first) {
			return bad("last date")
		}
	}
	if e.AllDay || e.StartTime == "" {
		return domain.When{Span: calendartime.AllDay(zone, first, last.AddDays(1)), Zone: zone.String(), Kind: domain.TimeAllDay}, nil
	}
	w := domain.When{Zone: zone.String(), Kind: domain.TimeZoned}
	clock, ok := clockOf(e.StartTime)
	if !ok {
		return bad("time")
	}
	w.Start = at(e.StartUTC, first, clock, zone)
	switch end, ok := clockOf(e.EndTime); {
	case e.EndTime == "" && t.Duration > 0:
		w.End = w.Start.Add(time.Duration(t.Duration) * time.Minute)
	case e.EndTime == "":
		w.End = w.Start.Add(usualLength)
	case !ok:
		return bad("end time")
	default:
		w.End = at(e.EndUTC, last, end, zone)
		if !w.End.After(w.Start) && last == first {
			w.End = at("", first.AddDays(1), end, zone) // it goes on past midnight
		}
	}
	return w, w.Validate("when")
}

// at is an instant: the servers' own word for it where there is one, else worked out.
func at(utc string, day calendartime.Date, clock [2]int, zone *time.Location) time.Time {
	if t := instant(utc); !t.IsZero() {
		return t.Truncate(time.Minute)
	}
	return calendartime.Resolve(day.At(clock[0], clock[1]), zone).UTC()
}

// clockOf reads HH:MM:SS, without the seconds, which do not count there.
func clockOf(s string) (clock [2]int, ok bool) {
	t, err := time.Parse(time.TimeOnly, s)
	if err != nil {
		if t, err = time.Parse("15:04", s); err != nil {
			return clock, false
		}
	}
	return [2]int{t.Hour(), t.Minute()}, true
}

var (
	breaks = regexp.MustCompile(`(?i)<\s*(br|/p|/div|/li|/h[1-6]|/tr)\b[^<>]*>`)
	tags   = regexp.MustCompile(`<[^<>]*>`)
)

// plainText is what a reader sees of a piece of HTML.
func plainText(s string) string {
	if len(s) > 8*domain.MaxNotes {
		s = cut(s, 8*domain.MaxNotes)
	}
	s = breaks.ReplaceAllString(strings.NewReplacer("\r", "", "\n", " ").Replace(s), "\n")
	return strings.TrimSpace(html.UnescapeString(tags.ReplaceAllString(s, "")))
}

// htmlText writes a text so that plainText gives it back.
func htmlText(s string) string {
	return strings.ReplaceAll(html.EscapeString(clean(s)), "\n", "<br>")
}

// clean leaves out what no text of a person holds.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s))
}

// cut shortens a text to a number of bytes, between letters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
