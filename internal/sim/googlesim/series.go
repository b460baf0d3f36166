package googlesim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a series.
const (
	maxInstances = 1500
	horizon      = 3 * 366 * 24 * time.Hour
)

// moment is a start or an end as the API writes it.
type moment struct {
	at     time.Time
	allDay bool
	zone   *time.Location
}

func readMoment(v any, zone string) (moment, bool) {
	m := object(v)
	name := zone
	if z := text(m, "timeZone"); z != "" {
		name = z
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return moment{}, false
	}
	if d := text(m, "date"); d != "" {
		at, err := time.Parse(time.DateOnly, d)
		return moment{at: at, allDay: true, zone: time.UTC}, err == nil && text(m, "dateTime") == ""
	}
	raw := text(m, "dateTime")
	if at, err := time.Parse(time.RFC3339, raw); err == nil {
		return moment{at: at, zone: loc}, true
	}
	at, err := time.ParseInLocation("2006-01-02T15:04:05", raw, loc)
	return moment{at: at, zone: loc}, err == nil && text(m, "timeZone") != ""
}

func (m moment) json(zone string) map[string]any {
	if m.allDay {
		return map[string]any{"date": m.at.Format(time.DateOnly)}
	}
	return map[string]any{"dateTime": m.at.In(m.zone).Format(time.RFC3339), "timeZone": zone}
}

// key is the ending of an instance's id.
func (m moment) key() string {
	if m.allDay {
		return m.at.Format("20060102")
	}
	return m.at.UTC().Format("20060102T150405Z")
}

type rule struct {
	freq            string
	interval, count int
	until           time.Time
	except          map[string]bool
}

func readRule(lines []any) (rule, error) {
	r := rule{interval: 1, except: map[string]bool{}}
	for _, l := range lines {
		name, value, _ := strings.Cut(fmt.Sprint(l), ":")
		switch base, _, _ := strings.Cut(name, ";"); base {
		case "RRULE":
			for part := range strings.SplitSeq(value, ";") {
				k, v, _ := strings.Cut(part, "=")
				var err error
				switch k {
				case "FREQ":
					r.freq = v
				case "INTERVAL":
					r.interval, err = strconv.Atoi(v)
				case "COUNT":
					r.count, err = strconv.Atoi(v)
				case "UNTIL":
					if r.until, err = time.Parse("20060102T150405Z", v); err != nil {
						r.until, err = time.Parse("20060102", v)
					}
				default:
					err = fmt.Errorf("the simulator knows no %s", k)
				}
				if err != nil {
					return r, err
				}
			}
		case "EXDATE":
			for v := range strings.SplitSeq(value, ",") {
				r.except[v] = true
			}
		default:
			return r, fmt.Errorf("the simulator knows no %s", base)
		}
	}
	if !slices.Contains([]string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}, r.freq) || r.interval < 1 {
		return r, fmt.Errorf("the simulator knows no such rule")
	}
	return r, nil
}

// starts lists where the rule of a series puts its instances.
func (s *Server) starts(c *calendar, e *event) []moment {
	first, ok := readMoment(e.fields["start"], c.Zone)
	r, err := readRule(list(e.fields["recurrence"]))
	if !ok || err != nil {
		return nil
	}
	end := s.opt.Now().Add(horizon)
	wall := first.at.In(first.zone)
	var out []moment
	for i, n := 0, 0; n < maxInstances; i++ {
		y, m, d := wall.Date()
		switch step := i * r.interval; r.freq {
		case "DAILY":
			d += step
		case "WEEKLY":
			d += 7 * step
		case "MONTHLY":
			m += time.Month(step)
		case "YEARLY":
			y += step
		}
		at := time.Date(y, m, d, wall.Hour(), wall.Minute(), wall.Second(), 0, first.zone)
		if at.After(end) || !r.until.IsZero() && at.After(r.until) || r.count > 0 && n >= r.count {
			break
		}
		if (r.freq == "MONTHLY" || r.freq == "YEARLY") && at.Day() != wall.Day() {
			continue // a day that the month does not have
		}
		n++
		one := moment{at: at, allDay: first.allDay, zone: first.zone}
		if !r.except[one.key()] && !r.except[at.Format("20060102T150405")] {
			out = append(out, one)
		}
	}
	return out
}

// instances are all instances of a live series by id: those that the rule makes and the exceptions, cancelled ones too.
func (s *Server) instances(c *calendar, series *event) map[string]*event {
	out := map[string]*event{}
	if series.cancelled() || !series.repeats() {
		return out
	}
	first, _ := readMoment(series.fields["start"], c.Zone)
	last, _ := readMoment(series.fields["end"], c.Zone)
	length, zone := last.at.Sub(first.at), text(object(series.fields["start"]), "timeZone")
	for _, at := range s.starts(c, series) {
		id := series.str("id") + "_" + at.key()
		if exception := c.events[id]; exception != nil {
			out[id] = exception
			continue
		}
		f := maps.Clone(series.fields)
		delete(f, "recurrence")
		end := moment{at: at.at.Add(length), allDay: at.allDay, zone: at.zone}
		f["id"], f["recurringEventId"], f["originalStartTime"] = id, series.str("id"), at.json(zone)
		f["start"], f["end"] = at.json(zone), end.json(zone)
		out[id] = &event{fields: f, rev: series.rev}
	}
	return out
}

// find returns an event, an exception, or an instance that a rule makes.
func (s *Server) find(c *calendar, id string) *event {
	if e := c.events[id]; e != nil {
		return e
	}
	cut := strings.LastIndex(id, "_")
	if cut < 0 || c.events[id[:cut]] == nil {
		return nil
	}
	return s.instances(c, c.events[id[:cut]])[id]
}

// note keeps what became of the instances of a series that changes from before to its present form.
func (s *Server) note(c *calendar, series *event, before map[string]*event, moved bool) {
	id := series.str("id")
	if moved || series.cancelled() || !series.repeats() {
		maps.DeleteFunc(c.events, func(_ string, e *event) bool { return e.str("recurringEventId") == id })
	}
	now := s.instances(c, series)
	for key, e := range before {
		if now[key] == nil && !e.cancelled() {
			c.lost[key] = lostInstance{rev: series.rev, series: id, original: object(e.fields["originalStartTime"])}
		}
	}
	for key := range now {
		delete(c.lost, key)
	}
}
