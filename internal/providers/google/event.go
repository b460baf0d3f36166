package google

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// instance splits the id of an instance into its series and its original start. The ids of single entries and series
// end otherwise.
var instance = regexp.MustCompile(`^(.+)_(\d{8}(?:T\d{6}Z)?)$`)

func externalID(id string) string {
	if m := instance.FindStringSubmatch(id); m != nil {
		return m[1] + "#" + m[2]
	}
	return id
}

func eventID(externalID string) string { return strings.Replace(externalID, "#", "_", 1) }

// kinds are our words for Google's types of events.
var kinds = map[string]string{
	"outOfOffice": "out_of_office", "focusTime": "focus_time", "workingLocation": "working_location", "birthday": "birthday", "fromGmail": "from_mail",
}

// colours are the names under which Google Calendar shows the ids of event colours.
var colours = map[string]string{
	"1": "Lavender", "2": "Sage", "3": "Grape", "4": "Flamingo", "5": "Banana", "6": "Tangerine",
	"7": "Peacock", "8": "Graphite", "9": "Blueberry", "10": "Basil", "11": "Tomato",
}

// edited is when an event was last edited, by Google's clock; nil when Google does not tell it.
func edited(ev *calendar.Event) *time.Time {
	at, err := time.Parse(time.RFC3339, ev.Updated)
	if err != nil || at.UnixMilli() < 0 {
		return nil
	}
	at = at.UTC()
	return &at
}

// version is edited in milliseconds since 1970, 0 when Google does not tell it.
func version(ev *calendar.Event) int64 {
	if at := edited(ev); at != nil {
		return at.UnixMilli()
	}
	return 0
}

// change reads an event. A cancelled one may have nothing but its id, whichever of the three meanings it has: an
// instance taken out of its series, a deleted entry, or one that its organiser moved to another calendar.
func (c *connection) change(ev *calendar.Event) (domain.Change, error) {
	ch := domain.Change{Op: domain.OpUpsert, ExternalID: externalID(ev.Id), Revision: ev.Etag, RemoteVersion: version(ev), ChangedAt: edited(ev)}
	if ev.Status == "cancelled" {
		ch.Op = domain.OpRemove
		return ch, ch.Validate()
	}
	when, length, err := c.when(ev)
	if err != nil {
		return ch, err
	}
	ch.When, ch.UID = when, ev.ICalUID
	if ch.UID != "" && ev.RecurringEventId != "" {
		original, err := c.moment(ev.OriginalStartTime)
		if err != nil {
			return ch, err
		}
		ch.UID += "#" + original.wall()
	}
	if len(ch.UID) > domain.MaxExternalID {
		ch.UID = ""
	}
	ch.Kind = kinds[ev.EventType]
	if ch.Kind == "" && ev.EventType != "" && ev.EventType != "default" {
		ch.Kind = cut(clean(ev.EventType), domain.MaxLabel)
	}
	if ev.ColorId != "" {
		name := colours[ev.ColorId]
		if name == "" {
			name = cut(clean("colour "+ev.ColorId), domain.MaxLabel)
		}
		ch.Labels = append(ch.Labels, name)
	}
	if ev.EventLabelId != "" {
		ch.Labels = append(ch.Labels, cut(clean("label "+ev.EventLabelId), domain.MaxLabel))
	}
	ch.Details = domain.Details{
		Title: cut(clean(ev.Summary), domain.MaxTitle), Location: cut(clean(ev.Location), domain.MaxTitle), Notes: cut(clean(ev.Description), domain.MaxNotes),
	}
	ch.Private = ev.Visibility == "private" || ev.Visibility == "confidential"
	ch.Status = domain.StatusConfirmed
	if ev.Status == "tentative" {
		ch.Status = domain.StatusTentative
	}
	for _, a := range ev.Attendees {
		if a == nil || !a.Self {
			continue
		}
		switch a.ResponseStatus {
		case "declined":
			ch.Declined = true
		case "tentative", "needsAction":
			ch.Status = domain.StatusTentative
		}
	}
	switch ev.EventType {
	case "outOfOffice":
		ch.Free = ch.Declined
	case "workingLocation", "birthday":
		ch.Free = true
	case "focusTime":
		ch.Free = c.settings.FocusTimeFree || ch.Declined || ev.Transparency == "transparent"
	default:
		ch.Free = ch.Declined || ev.Transparency == "transparent"
	}
	ch.Free = ch.Free || length == 0
	ch.Category = c.settings.category(append([]string{ch.Details.Title}, ch.Labels...)...)
	m, ours := readMarker(ev)
	if ours {
		ch.Origin = m.booking
		ch.Details.Contact = cut(clean(m.contact), domain.MaxTitle)
		if m.category.Valid() {
			ch.Category = m.category
		}
	} else if ev.RecurringEventId == "" {
		ch.CopyOf = m.booking
	}
	return ch, nil
}

// moment is a start or an end.
type moment struct {
	at   time.Time
	date calendartime.Date // of an all-day one
	zone *time.Location
	all  bool
}

// wall is the local clock or the date, as it ends the UID of an instance.
func (m moment) wall() string {
	if m.all {
		return strings.ReplaceAll(m.date.String(), "-", "")
	}
	return m.at.In(m.zone).Format("20060102T150405")
}

// moment reads a time. A date is a day of the resource's zone and never an instant on its way there.
func (c *connection) moment(t *calendar.EventDateTime) (moment, error) {
	switch {
	case t == nil, t.Date == "" && t.DateTime == "":
		return moment{}, domain.Invalid("when", "has no start or end")
	case t.Date != "":
		d, err := calendartime.ParseDate(t.Date)
		if err != nil {
			return moment{}, domain.Invalid("when", "has a date that does not exist")
		}
		return moment{at: calendartime.DayStart(d, c.local).UTC(), date: d, zone: c.local, all: true}, nil
	}
	at, err := time.Parse(time.RFC3339, t.DateTime)
	if err != nil {
		return moment{}, domain.Invalid("when", "has a time that cannot be read")
	}
	m := moment{at: at.UTC(), zone: time.UTC}
	if loc, err := calendartime.LoadZone(t.TimeZone); err == nil && t.TimeZone != "" {
		m.zone = loc
	}
	return m, nil
}

// when reads the time of an event, and its length in Google, which may be none.
func (c *connection) when(ev *calendar.Event) (domain.When, time.Duration, error) {
	start, err := c.moment(ev.Start)
	if err != nil {
		return domain.When{}, 0, err
	}
	end := start
	if ev.End != nil && (ev.End.Date != "" || ev.End.DateTime != "") {
		if end, err = c.moment(ev.End); err != nil {
			return domain.When{}, 0, err
		}
	}
	if start.all != end.all {
		return domain.When{}, 0, domain.Invalid("when", "has a date on one side and a time on the other")
	}
	if start.all {
		if !start.date.Before(end.date) {
			end.date = start.date.AddDays(1)
		}
		span := calendartime.AllDay(c.local, start.date, end.date)
		return domain.When{Span: span, Zone: c.local.String(), Kind: domain.TimeAllDay}, span.Duration(), nil
	}
	length := max(end.at.Sub(start.at), 0)
	if length == 0 {
		end.at = start.at.Add(time.Minute)
	}
	return domain.When{Span: domain.Span{Start: start.at, End: end.at}, Zone: start.zone.String(), Kind: domain.TimeZoned}, length, nil
}

// clean makes text that every system in between can keep: valid UTF-8 without control characters but line breaks and
// tabs, and no white space around it.
func clean(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}

// cut shortens text to at most limit bytes, between characters.
func cut(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimSpace(s[:end]) + mark
}
