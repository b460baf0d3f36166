package ical

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// The years for which the rules of an embedded VTIMEZONE are worked out. Outside, the nearest offset holds.
const (
	firstZoneYear = 1990
	lastZoneYear  = 2060
)

// maxObservances bounds the STANDARD and DAYLIGHT parts of one VTIMEZONE.
const maxObservances = 200

// transition is the instant from which an offset holds.
type transition struct {
	at     int64 // Unix seconds
	offset int   // seconds east of UTC
}

// embeddedZone turns the rules of a VTIMEZONE into a location, by way of the standard library's own zone format, so
// that every other part can work with it as with any other zone.
func embeddedZone(comp *Component) (*time.Location, error) {
	if len(comp.Children) == 0 || len(comp.Children) > maxObservances {
		return nil, domain.Invalid("vtimezone", "must have 1 to %d parts, has %d", maxObservances, len(comp.Children))
	}
	var all []transition
	first := 0 // offset before the earliest transition
	earliest := int64(1<<62 - 1)
	for _, part := range comp.Children {
		from, err := offsetOf(part, "TZOFFSETFROM")
		if err != nil {
			return nil, err
		}
		to, err := offsetOf(part, "TZOFFSETTO")
		if err != nil {
			return nil, err
		}
		walls, err := onsets(part, from)
		if err != nil {
			return nil, err
		}
		for _, w := range walls {
			at := w.Unix() - int64(from)
			all = append(all, transition{at, to})
			if at < earliest {
				earliest, first = at, from
			}
		}
	}
	slices.SortStableFunc(all, func(a, b transition) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	loc, err := time.LoadLocationFromTZData("embedded", tzdata(first, all))
	if err != nil {
		return nil, domain.Invalid("vtimezone", "holds rules that make no time zone")
	}
	return loc, nil
}

// onsets lists when a part takes effect, as wall clocks before the change, written as UTC. Besides the start, ones long
// before firstZoneYear are left out.
func onsets(part *Component, from int) ([]time.Time, error) {
	start, err := wallProp(part.Get("DTSTART"))
	if err != nil {
		return nil, err
	}
	walls := []time.Time{start}
	for _, p := range part.All("RDATE") {
		for _, v := range strings.Split(p.Value, ",") {
			w, err := wallProp(&Prop{Value: v})
			if err != nil {
				return nil, err
			}
			walls = append(walls, w)
		}
	}
	if p := part.Get("RRULE"); p != nil {
		// UNTIL is in UTC, and the wall clock before the change is the one of TZOFFSETFROM.
		before := time.FixedZone("", from)
		// The one in force when the first year begins is among those of the years before it.
		more, err := calendartime.Instances(p.Value, calendartime.WallOf(start, time.UTC), before,
			calendartime.Wall{Year: firstZoneYear - 5, Month: 1, Day: 1}, calendartime.Wall{Year: lastZoneYear, Month: 12, Day: 31})
		if err != nil || !strings.Contains(strings.ToUpper(p.Value), "YEARLY") {
			return nil, domain.Invalid("vtimezone", "must repeat by a rule of FREQ=YEARLY that can be read")
		}
		for _, w := range more {
			walls = append(walls, time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC))
		}
	}
	return walls, nil
}

func wallProp(p *Prop) (time.Time, error) {
	if p != nil {
		if w, err := time.Parse("20060102T150405", strings.TrimSuffix(p.Value, "Z")); err == nil && w.Year() <= lastZoneYear {
			return w, nil
		}
	}
	return time.Time{}, domain.Invalid("vtimezone", "needs a start written YYYYMMDDTHHMMSS, up to the year %d", lastZoneYear)
}

func offsetOf(part *Component, name string) (int, error) {
	bad := domain.Invalid("vtimezone", "needs offsets written +HHMM")
	p := part.Get(name)
	if p == nil || len(p.Value) != 5 && len(p.Value) != 7 {
		return 0, bad
	}
	n, err := strconv.ParseUint(p.Value[1:], 10, 32)
	if err != nil {
		return 0, bad
	}
	if len(p.Value) == 5 {
		n *= 100
	}
	seconds := int(n/10000*3600 + n/100%100*60 + n%100)
	if seconds > 24*3600 {
		return 0, bad
	}
	switch p.Value[0] {
	case '+':
		return seconds, nil
	case '-':
		return -seconds, nil
	}
	return 0, bad
}

// tzdata writes transitions in the TZif format, version 2 (RFC 8536).
func tzdata(first int, all []transition) []byte {
	offsets := []int{first}
	index := func(offset int) byte {
		i := slices.Index(offsets, offset)
		if i < 0 {
			i = len(offsets)
			offsets = append(offsets, offset)
		}
		return byte(i)
	}
	indexes := make([]byte, len(all))
	for i, t := range all {
		indexes[i] = index(t.offset)
	}
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.BigEndian, v) } // a bytes.Buffer takes everything
	header := func(transitions, types, chars int) {
		b.WriteString("TZif2")
		b.Write(make([]byte, 15))
		put([]uint32{0, 0, 0, uint32(transitions), uint32(types), uint32(chars)})
	}
	// The first block is for readers of 32 bits; it may be minimal.
	header(0, 1, 4)
	put(int32(0))
	b.Write([]byte{0, 0, 'L', 'M', 'T', 0})
	header(len(all), len(offsets), 4)
	for _, t := range all {
		put(t.at)
	}
	b.Write(indexes)
	for _, o := range offsets {
		put(int32(o))
		b.Write([]byte{0, 0})
	}
	b.WriteString("LMT\x00")
	b.WriteString("\n\n")
	return b.Bytes()
}
