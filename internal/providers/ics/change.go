package ics

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/icsfeed"
)

const (
	// maxInstances is the most instances of one series in the window; more are a Problem.
	maxInstances = 2000
	// maxUID is the longest UID used as it is, so that a recurrence id still fits behind it.
	maxUID = domain.MaxExternalID - 40
)

// named is an object with the id that it goes by.
type named struct {
	ical.Object
	id string
}

// objects gives every object of a feed its id, each another one.
func objects(cal ical.Calendar) []named {
	out := make([]named, 0, len(cal.Objects))
	used := map[string]int{}
	for _, o := range cal.Objects {
		id := idOf(o)
		used[id]++
		if n := used[id]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		out = append(out, named{o, id})
	}
	return out
}

// idOf is the id of an object: its UID where that can be one.
func idOf(o ical.Object) string {
	short := func(prefix string, parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
		return prefix + hex.EncodeToString(sum[:16])
	}
	switch {
	case o.UID == "" && o.Master != nil:
		said := []string{}
		for _, name := range []string{"DTSTART", "DTEND", "DURATION", "SUMMARY", "RRULE"} {
			value := ""
			if p := o.Master.Get(name); p != nil {
				value = p.Param("TZID") + ":" + p.Value
			}
			said = append(said, value)
		}
		return short("no-uid-", said...)
	case o.UID == "":
		return "no-uid"
	case len(o.UID) > maxUID || strings.Contains(o.UID, "#"):
		return short("long-uid-", o.UID)
	}
	return o.UID
}

// changes lists what a feed says about a window, by start. Lost says that something of the feed could not be read, so
// that what is not named may well exist.
func (c *connection) changes(f *fetched, window domain.Span) (changes []domain.Change, problems []provider.Problem, lost bool) {
	for _, p := range f.problems {
		if p.Lost {
			lost = true
			problems = append(problems, provider.Problem{ExternalID: clip(p.UID), Err: p.Err})
		}
	}
	for _, o := range objects(f.calendar) {
		found, err := o.Occurrences(window, maxInstances)
		if err != nil {
			lost = true
			problems = append(problems, provider.Problem{ExternalID: o.id, Err: err})
			continue
		}
		for _, at := range found {
			ch := c.change(o, at)
			if err := ch.Validate(); err != nil {
				lost = true
				problems = append(problems, provider.Problem{ExternalID: ch.ExternalID, Err: err})
				continue
			}
			changes = append(changes, ch)
		}
	}
	slices.SortStableFunc(changes, func(a, b domain.Change) int {
		if n := a.When.Start.Compare(b.When.Start); n != 0 {
			return n
		}
		return strings.Compare(a.ExternalID, b.ExternalID)
	})
	return changes, problems, lost
}

func clip(uid string) string {
	if len(uid) > domain.MaxExternalID {
		return ""
	}
	return uid
}

// change turns an occurrence into a change.
func (c *connection) change(o named, at ical.Occurrence) domain.Change {
	e := at.Event
	out := domain.Change{Op: domain.OpUpsert, ExternalID: o.id, UID: o.UID, Status: e.Status(), Free: !e.Busy() && !e.Cancelled}
	if len(out.UID) > maxUID {
		out.UID = ""
	}
	if at.RecurrenceID != "" {
		out.ExternalID += "#" + at.RecurrenceID
		if out.UID != "" {
			out.UID += "#" + at.RecurrenceID
		}
	}
	if o.Master != nil && o.Master.Cancelled {
		out.Status = domain.StatusCancelled
	}
	if e.HasStart {
		out.When = domain.When{Span: at.Span, Zone: e.Start.Zone.Name, Kind: e.Start.Kind()}
	}
	out.Details = domain.Details{
		Title:    cut(e.Text("SUMMARY"), domain.MaxTitle),
		Location: cut(e.Text("LOCATION"), domain.MaxTitle),
		Notes:    cut(e.Text("DESCRIPTION"), domain.MaxNotes),
		Contact:  cut(e.Text("CONTACT"), domain.MaxTitle),
	}
	switch strings.ToUpper(e.Text("CLASS")) {
	case "PRIVATE", "CONFIDENTIAL":
		out.Private = true
	}
	out.Labels = labels(e)
	// A feed is made when it is asked for, whether it says METHOD or not, and stamps its entries then.
	out.ChangedAt = e.Revised("PUBLISH")
	if p := e.Get("X-WEDSYNC-BOOKING"); p != nil && at.RecurrenceID == "" {
		if booking, ok := icsfeed.ReadMarker(p.Value, o.UID); ok {
			out.Origin = booking
			if own := domain.Category(strings.ToLower(e.Text("X-WEDSYNC-CATEGORY"))); own.Valid() {
				out.Category = own
			}
		}
	}
	if out.Category == "" {
		out.Category = c.settings.category(append(e.Texts("CATEGORIES"), out.Details.Title)...)
	}
	return out
}

// labels are the categories, each once.
func labels(e ical.Event) []string {
	var out []string
	for _, p := range e.All("CATEGORIES") {
		for _, l := range splitList(p.Value) {
			if l = cut(ical.Clean(ical.Unescape(l)), domain.MaxLabel); l != "" && len(out) < domain.MaxLabels && !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// splitList splits a list of texts at the commas that are not escaped.
func splitList(s string) []string {
	var out []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// cut shortens text to at most limit bytes, between characters.
func cut(s string, limit int) string {
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
