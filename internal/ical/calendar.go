package ical

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Bounds of an input where Options do not say otherwise.
const (
	DefaultMaxBytes = 10 << 20
	DefaultMaxParts = 200_000 // components
)

// Options say how to read.
type Options struct {
	Zone     *time.Location // of days and floating times; nil is UTC
	MaxBytes int64          // 0 is DefaultMaxBytes
	MaxParts int            // 0 is DefaultMaxParts
}

// Calendar is what one input says. An input may hold several VCALENDARs; they are read as one.
type Calendar struct {
	Roots     []*Component // the VCALENDARs
	Objects   []Object     // in the order of their first component
	Truncated bool         // the end is missing: absence proves nothing
	Lost      int          // objects that are left out, each told as a Problem
}

// Object is everything that a calendar says about one UID: a single event, or a series with its exceptions.
type Object struct {
	UID    string // "" when the event has none
	Master *Event // nil when there are only exceptions
	// Overrides are the VEVENTs with a RECURRENCE-ID, keyed by it in the series' zone, or in their own without a
	// master.
	Overrides map[calendartime.Wall]Event
	IDs       map[calendartime.Wall]Moment // RECURRENCE-ID as written
	Reader    Reader
}

// Problem is something that could not be read.
type Problem struct {
	Line     int    // where, counted from 1; 0 when it is in no one place
	Property string // in upper case; "" when it is none
	UID      string
	Err      error // KindInvalid or KindTooLarge
	// Lost means that the event or the series of the UID is left out. Otherwise only the line is.
	Lost bool
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		b.WriteString("line " + strconv.Itoa(p.Line) + ": ")
	}
	text := p.Err.Error()
	if p.Property != "" && !strings.HasPrefix(strings.ToUpper(text), p.Property) {
		b.WriteString(p.Property + ": ")
	}
	b.WriteString(text)
	if p.Lost {
		b.WriteString("; the event is left out")
	}
	return b.String()
}

// Read reads a calendar; see the package comment for what fails it.
func Read(r io.Reader, o Options) (Calendar, []Problem, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxParts == 0 {
		o.MaxParts = DefaultMaxParts
	}
	local := calendartime.UTC
	if o.Zone != nil {
		local = calendartime.NamedZone{Name: o.Zone.String(), Loc: o.Zone}
	}
	raw, err := io.ReadAll(io.LimitReader(r, o.MaxBytes+1))
	if err != nil {
		return Calendar{}, nil, fmt.Errorf("read calendar: %w", err)
	}
	if int64(len(raw)) > o.MaxBytes {
		return Calendar{}, nil, domain.E(domain.KindTooLarge, "calendar: larger than %d bytes", o.MaxBytes)
	}
	roots, problems, cut, err := tree(strings.TrimPrefix(string(raw), "\ufeff"), o.MaxParts)
	if err != nil {
		return Calendar{}, nil, err
	}
	g := gathering{byUID: map[string]int{}, lost: map[string]bool{}, problems: problems}
	cal := Calendar{Truncated: cut}
	for _, root := range roots {
		if root.Name != "VCALENDAR" {
			continue
		}
		cal.Roots = append(cal.Roots, root)
		g.calendar(root, local)
	}
	if len(cal.Roots) == 0 {
		return Calendar{}, nil, domain.Invalid("calendar-data", "holds no VCALENDAR")
	}
	cal.Objects = g.finish()
	cal.Lost = g.leftOut
	slices.SortStableFunc(g.problems, func(a, b Problem) int { return a.Line - b.Line })
	return cal, g.problems, nil
}

// gathering brings the VEVENTs of one UID together.
type gathering struct {
	objects  []*gathered
	byUID    map[string]int
	lost     map[string]bool // UIDs of which something could not be read
	leftOut  int
	problems []Problem
}

type gathered struct {
	Object
	exceptions []exception
}

type exception struct {
	Event
	id Moment
}

func (g *gathering) calendar(root *Component, local calendartime.NamedZone) {
	reader := Reader{newZoneSet(root), local}
	g.note(root, "")
	for _, c := range root.Children {
		if c.Name != "VEVENT" {
			g.note(c, "")
			continue
		}
		g.event(c, reader)
	}
}

// note collects the broken lines of a component that is not itself an event. They leave nothing out, except that a
// zone without them may turn out unreadable, which is told where it is used.
func (g *gathering) note(c *Component, uid string) {
	for _, p := range c.broken {
		p.UID, p.Lost = uid, p.Lost && c.Name == "VEVENT"
		g.problems = append(g.problems, p)
	}
	if c.Name != "VCALENDAR" {
		for _, child := range c.Children {
			g.note(child, uid)
		}
	}
}

// decisive are the properties without which an event cannot be placed or told apart.
var decisive = []string{"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "UID"}

func (g *gathering) event(c *Component, reader Reader) {
	uid := c.Text("UID")
	lost := false
	for i := range c.broken {
		c.broken[i].Lost = c.broken[i].Lost || slices.Contains(decisive, c.broken[i].Property)
		lost = lost || c.broken[i].Lost
	}
	g.note(c, uid)
	if lost {
		g.lose(uid)
		return
	}
	fail := func(err error) {
		p := problem(c, err)
		p.UID, p.Lost = uid, true
		g.problems = append(g.problems, p)
		g.lose(uid)
	}
	e, err := reader.Event(c)
	if err != nil {
		fail(err)
		return
	}
	o := g.object(uid, reader, c.Get("RECURRENCE-ID") == nil)
	if p := c.Get("RECURRENCE-ID"); p != nil {
		id, err := reader.Moment(*p)
		if err != nil {
			fail(at(*p, err))
			return
		}
		o.exceptions = append(o.exceptions, exception{e, id})
		return
	}
	if o.Master == nil {
		o.Master = &e
		return
	}
	// The same event twice. The newer wording counts; where neither is newer, both would be a guess.
	if newer := number(c, "SEQUENCE") - number(o.Master.Component, "SEQUENCE"); newer > 0 {
		o.Master = &e
	} else if newer == 0 && !sameTimes(c, o.Master.Component) {
		fail(domain.Invalid("uid", "is that of another event, and neither is a RECURRENCE-ID of the other"))
	}
}

func sameTimes(a, b *Component) bool {
	for _, name := range decisive {
		x, y := a.All(name), b.All(name)
		if !slices.EqualFunc(x, y, func(p, q Prop) bool {
			return p.Value == q.Value && p.Param("TZID") == q.Param("TZID") && p.Param("VALUE") == q.Param("VALUE")
		}) {
			return false
		}
	}
	return true
}

func number(c *Component, name string) int {
	if p := c.Get(name); p != nil {
		if n, err := strconv.Atoi(strings.TrimSpace(p.Value)); err == nil && n >= 0 && n < 1<<30 {
			return n
		}
	}
	return 0
}

// lose leaves out everything of a UID. What has no UID has no relations.
func (g *gathering) lose(uid string) {
	g.leftOut++
	if uid != "" {
		g.lost[uid] = true
	}
}

// object finds the object of a UID. Events without a UID are each their own.
func (g *gathering) object(uid string, reader Reader, master bool) *gathered {
	if i, ok := g.byUID[uid]; ok && (uid != "" || !master || g.objects[i].Master == nil) {
		return g.objects[i]
	}
	o := &gathered{Object: Object{UID: uid, Reader: reader, Overrides: map[calendartime.Wall]Event{}, IDs: map[calendartime.Wall]Moment{}}}
	g.byUID[uid] = len(g.objects)
	g.objects = append(g.objects, o)
	return o
}

// finish puts the exceptions in place and checks each series as far as that needs no window.
func (g *gathering) finish() []Object {
	var out []Object
	for _, o := range g.objects {
		if o.UID != "" && g.lost[o.UID] {
			continue
		}
		for _, x := range o.exceptions {
			wall := x.id.Wall
			if o.Master != nil && o.Master.HasStart {
				wall = x.id.In(o.Master.Start)
			}
			if have, twice := o.Overrides[wall]; twice && number(have.Component, "SEQUENCE") > number(x.Component, "SEQUENCE") {
				continue
			}
			o.Overrides[wall], o.IDs[wall] = x.Event, x.id
		}
		if o.Master != nil && o.Master.HasStart && o.Repeats() {
			if err := o.check(); err != nil {
				p := problem(o.Master.Component, err)
				p.UID, p.Lost = o.UID, true
				g.problems = append(g.problems, p)
				g.leftOut++
				continue
			}
		}
		out = append(out, o.Object)
	}
	return out
}
