package caldav

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	goical "github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// putSource moves an entry of the calendar's owner.
func (c *connection) putSource(ctx context.Context, w provider.Write) (provider.Written, error) {
	if w.ExternalID == "" {
		return provider.Written{}, domain.Invalid("external_id", "is required for a source entry")
	}
	path, instance, isInstance := strings.Cut(w.ExternalID, "#")
	current, err := c.get(ctx, path)
	if err != nil {
		return provider.Written{}, err
	}
	have, err := c.single(w.ExternalID, current.etag, current.data)
	if err != nil {
		return provider.Written{}, err
	}
	if have.When.Start.Equal(w.When.Start) && have.When.End.Equal(w.When.End) && have.Status == w.Status {
		// Nothing to do, or an earlier try whose answer was lost.
		return provider.Written{ExternalID: w.ExternalID, UID: have.UID, Revision: current.etag, ReadBack: have}, nil
	}
	if w.Revision != "" && w.Revision != current.etag {
		return provider.Written{}, domain.E(domain.KindConflict, "the entry was changed since it was read")
	}
	if current.etag == "" {
		return provider.Written{}, domain.E(domain.KindPermanent, "the server gives no ETag, so the entry cannot be changed safely")
	}
	r, err := c.read(path, current.etag, current.data)
	if err != nil {
		return provider.Written{}, err
	}
	if r.invites() {
		return provider.Written{}, domain.E(domain.KindPermanent, "the entry has guests, whom the server would tell of the change; it must be moved in the calendar itself")
	}
	doc := splitDocument(current.data)
	at, e, err := block{}, ical.Event{}, error(nil)
	if isInstance {
		wall, _ := parseInstanceID(instance) // checked by single
		doc, at, e, err = doc.instance(r, wall)
	} else {
		at, e, err = doc.master(r)
	}
	if err != nil {
		return provider.Written{}, err
	}
	lines := doc.edit(doc.lines[at.from:at.to], c.changesTo(e, w))
	body := doc.replace(at, lines)
	res, err := c.store(ctx, path, body, "If-Match", current.etag)
	if res.status == http.StatusPreconditionFailed {
		return provider.Written{}, domain.E(domain.KindConflict, "the entry was changed while it was written: %w", err)
	}
	if err != nil {
		return provider.Written{}, err
	}
	return c.written(ctx, w.ExternalID, etag(res.header.Get("ETag")), body)
}

// invites reports whether a server that does scheduling (RFC 6638) would write to guests when the resource changes. It
// does so where an organizer and somebody else are named, unless a client said that it does that itself.
func (r *resource) invites() bool {
	events := slices.Collect(maps.Values(r.Overrides))
	if r.Master != nil {
		events = append(events, *r.Master)
	}
	return slices.ContainsFunc(events, func(e ical.Event) bool {
		organizer := e.Get("ORGANIZER")
		return organizer != nil && byServer(*organizer) && slices.ContainsFunc(e.All("ATTENDEE"), func(p ical.Prop) bool {
			return byServer(p) && !strings.EqualFold(p.Value, organizer.Value)
		})
	})
}

func byServer(p ical.Prop) bool {
	agent := strings.ToUpper(p.Param("SCHEDULE-AGENT"))
	return agent == "" || agent == "SERVER"
}

// document is a resource as lines, so that an edit leaves every other byte alone.
type document struct {
	lines []line
	eol   string
}

// line is one content line with its folding and line end.
type line struct {
	raw  []byte
	name string // upper case
}

// block is a range of lines from BEGIN:VEVENT to END:VEVENT.
type block struct{ from, to int }

func splitDocument(raw []byte) document {
	doc := document{eol: "\r\n"}
	if !bytes.Contains(raw, []byte("\r\n")) {
		doc.eol = "\n"
	}
	for physical := range bytes.Lines(raw) {
		if n := len(doc.lines); n > 0 && (physical[0] == ' ' || physical[0] == '\t') {
			doc.lines[n-1].raw = append(doc.lines[n-1].raw, physical...)
			continue
		}
		name := physical
		if i := bytes.IndexAny(name, ";:"); i >= 0 {
			name = name[:i]
		}
		doc.lines = append(doc.lines, line{bytes.Clone(physical), strings.ToUpper(strings.TrimSpace(string(name)))})
	}
	return doc
}

// is reports whether the line says just that.
func (l line) is(text string) bool { return strings.EqualFold(strings.TrimSpace(string(l.raw)), text) }

// property reads the line as a property.
func (l line) property() (ical.Prop, error) {
	text := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(string(l.raw))
	return ical.ParseLine(strings.TrimRight(text, "\r\n"))
}

// events lists the VEVENTs.
func (d document) events() []block {
	var out []block
	depth, from := 0, -1
	for i, l := range d.lines {
		switch l.name {
		case "BEGIN":
			depth++
			if depth == 2 && l.is("BEGIN:VEVENT") {
				from = i
			}
		case "END":
			if depth == 2 && from >= 0 {
				out = append(out, block{from, i + 1})
				from = -1
			}
			depth--
		}
	}
	return out
}

func (d document) replace(at block, lines []line) []byte {
	var b bytes.Buffer
	for _, part := range [][]line{d.lines[:at.from], lines, d.lines[at.to:]} {
		for _, l := range part {
			b.Write(l.raw)
		}
	}
	return b.Bytes()
}

// properties lists the indexes of the lines that belong to a component itself, not to one inside it.
func properties(component []line) []int {
	var out []int
	depth := 0
	for i, l := range component {
		switch l.name {
		case "BEGIN":
			depth++
		case "END":
			depth--
		default:
			if depth == 1 {
				out = append(out, i)
			}
		}
	}
	return out
}

// recurrenceID reads the RECURRENCE-ID of a component as a wall clock of the series.
func (d document) recurrenceID(at block, r *resource) (wall calendartime.Wall, ok bool, err error) {
	component := d.lines[at.from:at.to]
	for _, i := range properties(component) {
		if component[i].name != goical.PropRecurrenceID {
			continue
		}
		p, err := component[i].property()
		if err != nil {
			return wall, false, err
		}
		m, err := r.Reader.Moment(p)
		if err != nil {
			return wall, false, err
		}
		if r.Master != nil && r.Master.HasStart {
			return m.In(r.Master.Start), true, nil
		}
		return m.Wall, true, nil
	}
	return wall, false, nil
}

var errVanished = domain.E(domain.KindNotFound, "the entry no longer exists in its resource")

// master finds the component of a single entry.
func (d document) master(r *resource) (block, ical.Event, error) {
	for _, at := range d.events() {
		if _, isInstance, err := d.recurrenceID(at, r); err != nil || !isInstance {
			return at, *r.Master, err
		}
	}
	return block{}, ical.Event{}, errVanished
}

// instance finds the component of an instance. One without a component of its own gets one: a copy of the component
// that describes it, without the rule, behind the last event.
func (d document) instance(r *resource, wall calendartime.Wall) (document, block, ical.Event, error) {
	var last, describing block
	found := false
	shown := ical.Event{}
	if r.Master != nil {
		shown = r.Shown(wall)
	}
	for _, at := range d.events() {
		last = at
		own, isInstance, err := d.recurrenceID(at, r)
		if err != nil {
			return d, at, shown, err
		}
		if isInstance && own == wall {
			return d, at, r.Overrides[own], nil
		}
		if isInstance && r.Overrides[own].Component == shown.Component || !isInstance && !found {
			describing, found = at, true
		}
	}
	if !found || r.Master == nil {
		return d, last, shown, errVanished
	}
	component := d.lines[describing.from:describing.to]
	ofRule := map[int]bool{}
	for _, i := range properties(component) {
		switch component[i].name {
		case goical.PropRecurrenceRule, goical.PropRecurrenceDates, goical.PropExceptionDates, "EXRULE", goical.PropRecurrenceID:
			ofRule[i] = true
		}
	}
	var added []line
	for i, l := range component {
		if ofRule[i] {
			continue
		}
		added = append(added, l)
		if i == 0 {
			added = append(added, d.line(goical.PropRecurrenceID, written(r.Master.Start, wall)))
		}
	}
	out := document{eol: d.eol}
	out.lines = append(append(append(out.lines, d.lines[:last.to]...), added...), d.lines[last.to:]...)
	return out, block{last.to, last.to + len(added)}, shown, nil
}

// line makes a content line; text begins after the name.
func (d document) line(name, text string) line {
	folded := strings.TrimSuffix(string(fold([]byte(name+text+"\r\n"))), "\r\n")
	return line{[]byte(strings.ReplaceAll(folded, "\r\n", d.eol) + d.eol), name}
}

// edit sets properties of a component, each in the place of the first one of that name.
func (d document) edit(component []line, set map[string]string) []line {
	own := map[int]bool{}
	for _, i := range properties(component) {
		own[i] = true
	}
	done := map[string]bool{}
	var out []line
	for i, l := range component {
		text, replaced := set[l.name]
		switch {
		case !own[i] || !replaced:
			out = append(out, l)
		case !done[l.name]:
			out = append(out, d.line(l.name, text))
			done[l.name] = true
		}
	}
	var added []line
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !done[name] {
			added = append(added, d.line(name, set[name]))
		}
	}
	return append(out[:1:1], append(added, out[1:]...)...)
}

// changesTo lists the properties that a write sets, as the text behind the name. The form of the times stays: a date
// remains a date, a zone its zone. Only where that form cannot say the new time it becomes UTC: hours of an entry that
// had days, and a wall clock that occurs twice and means the second time.
func (c *connection) changesTo(e ical.Event, w provider.Write) map[string]string {
	now := ":" + c.now().UTC().Format(utcLayout)
	set := map[string]string{
		goical.PropDateTimeStamp: now, goical.PropLastModified: now,
		goical.PropSequence: ":" + strconv.Itoa(sequence(e.Component)+1),
	}
	status := domain.StatusConfirmed
	switch strings.ToUpper(e.Text(goical.PropStatus)) {
	case "TENTATIVE":
		status = domain.StatusTentative
	case "CANCELLED":
		status = domain.StatusCancelled
	}
	if status != w.Status {
		set[goical.PropStatus] = ":" + statusText(w.Status)
	}
	like := e.Start
	if !e.HasStart {
		like = ical.Moment{Form: ical.FormUTC, Zone: calendartime.UTC}
	}
	first, end, whole := calendartime.WholeDays(w.When.Span, c.local.Loc)
	if like.Form == ical.FormDate && whole {
		set[goical.PropDateTimeStart] = written(like, first.At(0, 0))
		days := first.DaysUntil(end)
		switch {
		case e.HasLength:
			set[goical.PropDuration] = fmt.Sprintf(":P%dD", days)
		case e.HasEnd || days != 1:
			set[goical.PropDateTimeEnd] = written(like, end.At(0, 0))
		}
		return set
	}
	if like.Form == ical.FormDate {
		like = ical.Moment{Form: ical.FormUTC, Zone: calendartime.UTC}
		e.DTEnd, e.HasEnd = like, !e.HasLength
	}
	set[goical.PropDateTimeStart] = writtenAt(like, w.When.Start)
	length := w.When.Duration()
	switch {
	case e.HasLength:
		set[goical.PropDuration] = fmt.Sprintf(":PT%dS", int64(length/time.Second))
	case e.HasEnd:
		set[goical.PropDateTimeEnd] = writtenAt(e.DTEnd, w.When.End)
	case e.HasStart && !e.TakesTime() && length == time.Minute:
		// The minute was ours, to show an entry that takes no time.
	default:
		set[goical.PropDateTimeEnd] = writtenAt(like, w.When.End)
	}
	return set
}

func sequence(comp *ical.Component) int {
	if p := comp.Get(goical.PropSequence); p != nil {
		if n, err := strconv.Atoi(p.Value); err == nil && n >= 0 && n < 1<<30 {
			return n
		}
	}
	return 0
}

// writtenAt writes an instant in the form of m.
func writtenAt(m ical.Moment, t time.Time) string {
	wall := calendartime.WallOf(t, m.Zone.Loc)
	if !calendartime.Resolve(wall, m.Zone.Loc).Equal(t) {
		return ":" + t.UTC().Format(utcLayout)
	}
	return written(m, wall)
}

// written writes a wall clock in the form of m, as the text behind a property's name.
func written(m ical.Moment, w calendartime.Wall) string {
	t := time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC)
	switch m.Form {
	case ical.FormDate:
		return ";VALUE=DATE:" + t.Format("20060102")
	case ical.FormZoned:
		tzid := m.TZID
		if strings.ContainsAny(tzid, ":;,") {
			tzid = `"` + tzid + `"`
		}
		return ";TZID=" + tzid + ":" + t.Format("20060102T150405")
	case ical.FormUTC:
		return ":" + t.Format(utcLayout)
	case ical.FormFloating:
	}
	return ":" + t.Format("20060102T150405")
}
