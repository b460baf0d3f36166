package syncs

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// home is the zone of the resource, which resolves days and floating times.
const home = "Europe/London"

// The days of a diary are equally full whatever its size, as they are in a real one that goes on for longer: perDay slots of
// slot, from six in the morning by UTC, and in the evening the series.
const (
	perDay = 14
	slot   = 45 * time.Minute
	day    = 24 * time.Hour
)

// window is how far ahead calendars are read, in days: enough for the largest.
const window = 1800

// kind is the form of an entry's time.
type kind int

const (
	zoned kind = iota
	universal
	floating
	allDay
	weekly
)

// entry is one event of a calendar.
type entry struct {
	uid                    string
	kind                   kind
	zone                   *time.Location
	start                  time.Time // of the first instance; midnight in home for whole days
	length                 time.Duration
	days                   int // of whole days
	title, location, notes string
	category               string
	count                  int // instances of a series
	except, moved          int // which instance is left out, and which is later by ten minutes; -1 for none
	gone                   bool
}

// occurrence is what must become a booking.
type occurrence struct {
	span  domain.Span
	whole bool
	title string
}

// diary is the content of a calendar.
type diary struct {
	entries []*entry
	first   time.Time // midnight by UTC of its first day
	zones   map[string]*time.Location
}

func newDiary(events int) (*diary, error) {
	d := &diary{first: time.Now().UTC().Truncate(day).Add(2 * day), zones: map[string]*time.Location{}}
	for _, name := range []string{home, "Europe/Berlin", "America/New_York"} {
		loc, err := time.LoadLocation(name)
		if err != nil {
			return nil, fmt.Errorf("load zone: %w", err)
		}
		d.zones[name] = loc
	}
	for n := range events {
		d.entries = append(d.entries, d.make(n))
	}
	return d, nil
}

var places = []string{"The old barn, gate 2", "Studio", "Town hall, room 4", "Riverside gardens", "St Mary's, north door", "Video call"}

var reasons = []string{"Consultation", "Tasting", "Site visit", "Fitting", "Rehearsal", "Album review", "Call with the florist", "Wedding"}

// make invents the n-th entry. It is the same in every run but for the date on which the diary begins.
func (d *diary) make(n int) *entry {
	random := rand.New(rand.NewPCG(uint64(n), 7))
	e := &entry{uid: fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()), except: -1, moved: -1, location: places[random.IntN(len(places))],
		category: "Work", length: []time.Duration{30, 40}[random.IntN(2)] * time.Minute}
	e.title = fmt.Sprintf("%s: couple %d", reasons[random.IntN(len(reasons))], n)
	e.notes = fmt.Sprintf("Reference %08x.%s", random.Uint32(), strings.Repeat(" Bring the plan of the tables, the list of songs and the numbers of both families.", 2+random.IntN(4)))
	place := n % perDay
	e.start = d.first.AddDate(0, 0, n/perDay).Add(6*time.Hour + time.Duration(place)*slot)
	e.zone = d.zones[home]
	switch k := n % 20; {
	case k == 0:
		d.repeat(e, n/20)
	case k == 1:
		e.kind, e.days = allDay, 1+n/20%2
		y, m, on := e.start.Date()
		e.start = time.Date(y, m, on, 0, 0, 0, 0, e.zone)
		e.title = "Note of the day: " + e.title
	case k <= 3:
		e.kind = floating
	case k <= 7:
		e.kind, e.zone = universal, time.UTC
	case k <= 12:
	case k <= 16 || place < 8:
		e.zone = d.zones["Europe/Berlin"]
	default:
		e.zone = d.zones["America/New_York"] // not at night, when its clocks change
	}
	if n%100 == 57 {
		e.start = e.start.Add(-20 * time.Minute) // into the appointment before
	}
	e.start = e.start.In(e.zone)
	return e
}

// repeat makes an entry the r-th weekly series. Series share no hour.
func (d *diary) repeat(e *entry, r int) {
	on := d.first.AddDate(0, 0, r/21*28+r%7)
	y, m, date := on.Date()
	e.kind, e.count = weekly, 4
	e.start = time.Date(y, m, date, 18, 45*(r/7%3), 0, 0, e.zone)
	if r%5 == 0 {
		e.except = 2
	}
	if r%7 == 0 {
		e.moved = 1
	}
}

// instance is the start of an instance by its rule.
func (e *entry) instance(n int) time.Time {
	y, m, on := e.start.Date()
	return time.Date(y, m, on+7*n, e.start.Hour(), e.start.Minute(), 0, 0, e.zone)
}

// occurrences lists what must become of an entry.
func (e *entry) occurrences() []occurrence {
	switch {
	case e.gone:
		return nil
	case e.kind == allDay:
		y, m, on := e.start.Date()
		return []occurrence{{span: domain.Span{Start: e.start, End: time.Date(y, m, on+e.days, 0, 0, 0, 0, e.zone)}, whole: true, title: e.title}}
	case e.kind != weekly:
		return []occurrence{{span: domain.Span{Start: e.start, End: e.start.Add(e.length)}, title: e.title}}
	}
	var out []occurrence
	for n := range e.count {
		at := e.instance(n)
		switch n {
		case e.except:
			continue
		case e.moved:
			at = at.Add(10 * time.Minute)
		}
		out = append(out, occurrence{span: domain.Span{Start: at, End: at.Add(e.length)}, title: e.title})
	}
	return out
}

// changed is what a change of a diary did.
type changed struct {
	edited, added, gone []*entry
}

// change does so many things to single appointments all over the diary: of five three are edited, one is removed, and one
// is new.
func (d *diary) change(number int) *changed {
	out := &changed{}
	var single []*entry
	for _, e := range d.entries {
		if e.kind != weekly && e.kind != allDay && !e.gone {
			single = append(single, e)
		}
	}
	known := number - number/5
	for n := range known {
		e := single[n*len(single)/known]
		if n%4 == 3 {
			e.gone = true
			out.gone = append(out.gone, e)
			continue
		}
		e.start, e.title = e.start.Add(3*time.Minute), e.title+" (later)"
		out.edited = append(out.edited, e)
	}
	for next := len(d.entries)/20 + 1; len(out.added) < number/5; next++ {
		e := d.make(20*next + 8) // an ordinary appointment behind all others
		d.entries, out.added = append(d.entries, e), append(out.added, e)
	}
	return out
}
