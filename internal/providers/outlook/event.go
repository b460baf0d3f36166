package outlook

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// The types of events.
const (
	typeMaster     = "seriesMaster"
	typeOccurrence = "occurrence"
	typeException  = "exception"
)

// event is an event as Graph writes it. Any text may be null, which reads as "".
type event struct {
	ETag                  string      `json:"@odata.etag"`
	ID                    string      `json:"id"`
	Removed               *struct{}   `json:"@removed"`
	Type                  string      `json:"type"`
	SeriesMasterID        string      `json:"seriesMasterId"`
	ICalUID               string      `json:"iCalUId"`
	TransactionID         string      `json:"transactionId"`
	LastModified          string      `json:"lastModifiedDateTime"`
	Created               string      `json:"createdDateTime"`
	Subject               string      `json:"subject"`
	BodyPreview           string      `json:"bodyPreview"`
	Body                  body        `json:"body"`
	Location              place       `json:"location"`
	Start                 *dateTime   `json:"start"`
	End                   *dateTime   `json:"end"`
	OriginalStartTimeZone string      `json:"originalStartTimeZone"`
	IsAllDay              bool        `json:"isAllDay"`
	IsCancelled           bool        `json:"isCancelled"`
	ShowAs                string      `json:"showAs"`
	Sensitivity           string      `json:"sensitivity"`
	Categories            []string    `json:"categories"`
	ResponseStatus        answered    `json:"responseStatus"`
	Properties            []extension `json:"singleValueExtendedProperties"`
}

type body struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

type place struct {
	DisplayName string `json:"displayName"`
}

type answered struct {
	Response string `json:"response"`
}

// dateTime is a wall clock with the name of its zone.
type dateTime struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

type extension struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// seriesID names a series for removals and look-ups; its occurrences are parts of it.
func seriesID(master string) string { return "series:" + master }

func occurrenceID(master, occurrence string) string { return seriesID(master) + "#" + occurrence }

// entry is the ExternalID of an event that is no master.
func (e event) entry() string {
	if e.SeriesMasterID != "" {
		return occurrenceID(e.SeriesMasterID, e.ID)
	}
	return e.ID
}

// parseEntry takes an ExternalID apart; master is "" for a single event.
func parseEntry(id string) (master, event string, err error) {
	rest, series := strings.CutPrefix(id, "series:")
	if !series {
		if id == "" || strings.ContainsAny(id, "#/?") {
			return "", "", domain.Invalid("external_id", "is not the id of an event")
		}
		return "", id, nil
	}
	master, event, ok := strings.Cut(rest, "#")
	if !ok || master == "" || event == "" {
		return "", "", domain.Invalid("external_id", "is not the id of an occurrence")
	}
	return master, event, nil
}

// bare reports whether an event carries little more than its times, as occurrences in a delta do.
func (e event) bare() bool { return e.ShowAs == "" && e.LastModified == "" }

// hydrated is an occurrence with everything but its times from its master. A revision of it is the master's: what the
// occurrence says changes with the series.
func (e event) hydrated(master event) event {
	full := master
	full.ID, full.Type, full.SeriesMasterID, full.Start, full.End = e.ID, e.Type, master.ID, e.Start, e.End
	full.Properties, full.TransactionID = nil, ""
	return full
}

// changedAt is the server's time of the last change, nil if it cannot be read.
func (e event) changedAt() *time.Time {
	t, err := time.Parse(time.RFC3339, e.LastModified)
	if err != nil || t.UnixMilli() < 0 {
		return nil
	}
	t = t.UTC()
	return &t
}

// modified is changedAt in milliseconds since 1970, 0 if it cannot be read.
func (e event) modified() int64 {
	if t := e.changedAt(); t != nil {
		return t.UnixMilli()
	}
	return 0
}

// change reads an event that is no master.
func (c *connection) change(e event) (domain.Change, error) {
	out := domain.Change{Op: domain.OpUpsert, ExternalID: e.entry(), Revision: e.ETag, Status: domain.StatusConfirmed, ChangedAt: e.changedAt()}
	if e.SeriesMasterID == "" {
		// The occurrences of a series may share an iCalUId, and must not be taken for one booking.
		out.UID, out.RemoteVersion = e.ICalUID, e.modified()
	}
	var err error
	instant := false
	if e.Start != nil || e.End != nil || !e.IsCancelled {
		if out.When, instant, err = c.when(e); err != nil {
			return out, err
		}
	}
	switch e.ShowAs {
	case "free":
		out.Free = true
	case "tentative":
		out.Status = domain.StatusTentative
	case "oof":
		out.Kind = "out_of_office"
	case "workingElsewhere":
		out.Kind, out.Free = "working_location", true
	}
	if e.IsCancelled {
		out.Status = domain.StatusCancelled
	}
	if e.ResponseStatus.Response == "declined" {
		out.Declined, out.Free = true, true
	}
	out.Free = out.Free || instant
	switch e.Sensitivity {
	case "personal", "private", "confidential":
		out.Private = true
	}
	for _, label := range e.Categories {
		if label = cut(label, domain.MaxLabel); label != "" && len(out.Labels) < domain.MaxLabels {
			out.Labels = append(out.Labels, label)
		}
	}
	out.Details = domain.Details{
		Title:    cut(clean(e.Subject), domain.MaxTitle),
		Location: cut(clean(e.Location.DisplayName), domain.MaxTitle),
		Notes:    cut(e.notes(), domain.MaxNotes),
	}
	if m, ok := e.marker(); ok {
		out.Origin, out.Category = m.booking, m.category
	} else {
		out.CopyOf = m.booking
	}
	if !out.Category.Valid() {
		out.Category = c.settings.category(append(out.Labels, out.Details.Title)...)
	}
	return out, out.Validate()
}

// notes is the body as text; where a server does not turn markup into text, its preview, which is text.
func (e event) notes() string {
	if strings.EqualFold(e.Body.ContentType, "text") || e.Body.Content == "" {
		return clean(e.Body.Content)
	}
	return clean(e.BodyPreview)
}

// clean gives texts one form, because Exchange writes its own line ends and adds some.
func clean(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD")
	return strings.Trim(strings.ReplaceAll(s, "\r", "\n"), " \t\n\u00a0")
}

// cut shortens a text to a number of bytes, at a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.TrimRight(s[:most], " \t\n\u00a0")
}

// when reads the times. instant is true for an event that takes no time, which is shown as a minute.
func (c *connection) when(e event) (w domain.When, instant bool, err error) {
	if e.Start == nil || e.End == nil {
		return w, false, domain.Invalid("start", "start and end are missing")
	}
	if e.IsAllDay {
		// Only the dates count: the zones beside them are wrong as often as right.
		first, err := dateOf("start", *e.Start)
		if err != nil {
			return w, false, err
		}
		end, err := dateOf("end", *e.End)
		if err != nil {
			return w, false, err
		}
		if !first.Before(end) {
			end = first.AddDays(1)
		}
		return domain.When{Span: calendartime.AllDay(c.local, first, end), Zone: c.local.String(), Kind: domain.TimeAllDay}, false, nil
	}
	w = domain.When{Zone: "UTC", Kind: domain.TimeZoned}
	if w.Start, err = instantOf("start", *e.Start); err != nil {
		return w, false, err
	}
	if w.End, err = instantOf("end", *e.End); err != nil {
		return w, false, err
	}
	if name, _, ok := zoneOf(e.OriginalStartTimeZone); ok {
		w.Zone = name
	}
	if w.End.Equal(w.Start) {
		w.End, instant = w.Start.Add(time.Minute), true
	}
	return w, instant, nil
}

const clockForm = "2006-01-02T15:04:05.9999999"

func parseClock(field string, d dateTime) (calendartime.Wall, error) {
	t, err := time.Parse(clockForm, d.DateTime)
	if err != nil {
		return calendartime.Wall{}, domain.Invalid(field+".dateTime", "is not a local date and time")
	}
	return calendartime.WallOf(t, time.UTC), nil
}

func dateOf(field string, d dateTime) (calendartime.Date, error) {
	wall, err := parseClock(field, d)
	return wall.Date(), err
}

// instantOf reads a wall clock in its zone. Without a zone that is known nobody can say what the clock means.
func instantOf(field string, d dateTime) (time.Time, error) {
	wall, err := parseClock(field, d)
	if err != nil {
		return time.Time{}, err
	}
	_, loc, ok := zoneOf(d.TimeZone)
	if !ok {
		return time.Time{}, domain.Invalid(field+".timeZone", "is missing or names no known time zone")
	}
	return calendartime.Resolve(wall, loc).UTC(), nil
}
