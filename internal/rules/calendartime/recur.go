package calendartime

import (
	"slices"
	"sort"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Instances lists the wall clocks from one to another, both included, that an RRULE names in a series that starts at
// start in loc; start itself only where the rule names it. It serves rules outside of events, such as those of a
// VTIMEZONE. Errors are those of Expand.
func Instances(rrule string, start Wall, loc *time.Location, from, to Wall) ([]Wall, error) {
	r, err := parseRule(rrule, false, loc)
	if err != nil {
		return nil, err
	}
	if !start.Valid() || !from.Valid() || !to.Valid() {
		return nil, domain.Invalid("dtstart", "must be an existing date and time")
	}
	walls, err := r.instances(start, from, to, false, NewBudget(maxLooks))
	return slices.DeleteFunc(walls, func(w Wall) bool { return w.Before(from) }), err
}

// Budget bounds the work of expansions: the days and periods that they look at. Several may share one, so that a
// calendar of many costly series ends in time too. It is not safe for concurrent use.
type Budget struct{ looks int }

// NewBudget allows a number of looks. Some millions of them take a second.
func NewBudget(looks int) *Budget { return &Budget{looks} }

// spend takes one look, and reports whether there was one left.
func (b *Budget) spend() bool {
	b.looks--
	return b.looks >= 0
}

// instances returns wall clocks of the rule up to bound. Ones before low may be left out. With first, start is an
// instance whether or not the rule names it, and the first that COUNT counts, as RFC 5545 has it for DTSTART.
func (r *rule) instances(start, low, bound Wall, first bool, budget *Budget) ([]Wall, error) {
	if r.until != nil && r.last.Before(bound) {
		bound = r.last
	}
	var walls []Wall
	if first {
		walls = append(walls, start)
	}
	counted := len(walls)
	over := false
	err := r.each(start, low, bound, budget, func(at int64) bool {
		w := wallFromUTC(time.Unix(at, 0))
		if first && w == start || r.until != nil && !r.until(w) {
			return true
		}
		if r.count > 0 && counted >= r.count {
			return false
		}
		if counted++; counted > maxSteps {
			over = true
			return false
		}
		walls = append(walls, w)
		return true
	})
	if over {
		err = tooManySteps()
	}
	if err != nil {
		return nil, err
	}
	return walls, nil
}

func tooManySteps() error {
	return domain.E(domain.KindTooLarge, "recurrence rule: more than %d instances, or too many days to look at, up to the end of the window", maxSteps)
}

const secondsOfDay = 24 * 3600

// walk goes through the periods of a rule. Times are seconds and days are days since 1970, of the wall clock read as
// UTC, so that a clock change is no matter here.
type walk struct {
	*rule
	start           int64 // second of DTSTART
	month           time.Month
	monthday        int
	weekday         time.Weekday
	times           []int64 // offsets from the start of a day or of a finer period, ascending
	days            []int64 // of the present period, ascending
	budget          *Budget
	from            int64 // nothing before it is asked for; DTSTART or later
	cached          int64 // day
	cachedFits, any bool

	// The BY parts; nil where the rule does not have one.
	byMonth, byMonthday, byYearday, byWeek, byHour, byMinute, bySecond, bySetpos []int
}

// each hands out the instances from start to bound in order, until visit returns false. Without COUNT it begins in the
// period before the one of low.
func (r *rule) each(start, low, bound Wall, budget *Budget, visit func(at int64) bool) error {
	t := start.utc()
	w := &walk{rule: r, budget: budget, start: t.Unix(), month: t.Month(), monthday: t.Day(), weekday: t.Weekday(),
		byMonth: r.lists["BYMONTH"], byMonthday: r.lists["BYMONTHDAY"], byYearday: r.lists["BYYEARDAY"], byWeek: r.lists["BYWEEKNO"],
		byHour: r.lists["BYHOUR"], byMinute: r.lists["BYMINUTE"], bySecond: r.lists["BYSECOND"], bySetpos: r.lists["BYSETPOS"]}
	w.times = w.offsets(start)
	from, to := low.utc().Unix(), bound.utc().Unix()
	if r.count > 0 || from < w.start {
		from = w.start
	}
	w.from = from
	if r.freq > daily {
		return w.fine(from, to, visit)
	}
	number, step := w.numbering()
	origin := number(w.start)
	n := max(number(from)-1, origin)
	// Back to a period that the interval meets.
	for n -= (n - origin) % step; ; n += step {
		first, err := w.collect(n)
		if err != nil {
			return err
		}
		if first*secondsOfDay > to {
			return nil
		}
		if !w.period(to, visit) {
			return nil
		}
	}
}

// numbering counts the periods of a frequency: number gives that of an instant, and the interval is that of the
// numbers.
func (w *walk) numbering() (number func(at int64) int64, step int64) {
	step = int64(w.interval)
	switch w.freq {
	case yearly:
		return func(at int64) int64 {
			if w.byWeek != nil {
				year, _, _ := w.week(dayOf(at))
				return int64(year)
			}
			return int64(time.Unix(at, 0).UTC().Year())
		}, step
	case monthly:
		return func(at int64) int64 {
			year, month, _ := time.Unix(at, 0).UTC().Date()
			return int64(year)*12 + int64(month) - 1
		}, step
	case weekly:
		return func(at int64) int64 { return floorDiv(w.weekStart(dayOf(at))-w.weekStart(0), 7) }, step
	case daily, hourly, minutely, secondly:
	}
	return dayOf, step
}

// collect fills days with those of a period, and returns the first day of the period.
func (w *walk) collect(n int64) (first int64, err error) {
	var end int64
	switch w.freq {
	case yearly:
		year := int(n)
		first, end = dayNumber(year, 1, 1), dayNumber(year+1, 1, 1)
		if w.byWeek != nil {
			first, end = w.firstWeek(year), w.firstWeek(year+1)
		}
	case monthly:
		year, month := int(n/12), time.Month(n%12+1)
		first, end = dayNumber(year, month, 1), dayNumber(year, month+1, 1)
	case weekly:
		first = w.weekStart(0) + 7*n
		end = first + 7
	case daily, hourly, minutely, secondly:
		first, end = n, n+1
	}
	w.days = w.days[:0]
	for day := first; day < end; day++ {
		if !w.budget.spend() {
			return first, tooManySteps()
		}
		if w.fits(day) {
			w.days = append(w.days, day)
		}
	}
	return first, nil
}

// period visits the instances of the collected days; false means that the walk is over.
func (w *walk) period(to int64, visit func(int64) bool) bool {
	size := len(w.days) * len(w.times)
	at := func(i int) int64 { return w.days[i/len(w.times)]*secondsOfDay + w.times[i%len(w.times)] }
	positions, chosen := w.positions(size)
	next := sort.Search(size, func(i int) bool { return at(i) >= w.from })
	if chosen {
		size = len(positions)
		next, _ = slices.BinarySearch(positions, next)
	}
	for ; next < size; next++ {
		i := next
		if chosen {
			i = positions[next]
		}
		if t := at(i); t > to || !visit(t) {
			return false
		}
	}
	return true
}

// positions applies BYSETPOS to a set of a size: the indexes of what is chosen, ascending.
func (w *walk) positions(size int) (chosen []int, given bool) {
	for _, p := range w.bySetpos {
		i := p - 1
		if p < 0 {
			i = size + p
		}
		if i >= 0 && i < size {
			chosen = append(chosen, i)
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), w.bySetpos != nil
}

// fine walks an HOURLY, MINUTELY or SECONDLY rule. Days, hours and minutes that the rule leaves out are jumped over.
func (w *walk) fine(from, to int64, visit func(int64) bool) error {
	unit := map[frequency]int64{hourly: 3600, minutely: 60, secondly: 1}[w.freq]
	step := unit * int64(w.interval)
	base := w.start - floorMod(w.start, unit)
	at := base
	next := func(t int64) { // the first period at or after t
		at = base + (t-base+step-1)/step*step
	}
	if from-unit > base {
		next(from - unit)
	}
	for at <= to {
		if !w.budget.spend() {
			return tooManySteps()
		}
		day, clock := dayOf(at), floorMod(at, secondsOfDay)
		if !w.any || w.cached != day {
			w.any, w.cached, w.cachedFits = true, day, w.fits(day)
		}
		switch {
		case !w.cachedFits:
			next((day + 1) * secondsOfDay)
			continue
		case !allows(w.byHour, clock/3600):
			next(at - clock%3600 + 3600)
			continue
		case w.freq >= minutely && !allows(w.byMinute, clock/60%60):
			next(at - clock%60 + 60)
			continue
		case w.freq == secondly && !allows(w.bySecond, clock%60):
			at += step
			continue
		}
		positions, chosen := w.positions(len(w.times))
		for i, offset := range w.times {
			if t := at + offset; t > to || t >= w.from && (!chosen || slices.Contains(positions, i)) && !visit(t) {
				return nil
			}
		}
		at += step
	}
	return nil
}

// allows reports whether a list names a value, or is not there.
func allows(list []int, value int64) bool { return list == nil || slices.Contains(list, int(value)) }

// offsets lists when instances are within a day, or within an hour, minute or second for the finer frequencies.
func (w *walk) offsets(start Wall) []int64 {
	list := func(given []int, own int, finest frequency) []int {
		if w.freq >= finest {
			return []int{0}
		}
		if given != nil {
			return given
		}
		return []int{own}
	}
	var out []int64
	for _, h := range list(w.byHour, start.Hour, hourly) {
		for _, m := range list(w.byMinute, start.Minute, minutely) {
			for _, s := range list(w.bySecond, start.Second, secondly) {
				out = append(out, int64(h)*3600+int64(m)*60+int64(s))
			}
		}
	}
	return out
}

// fits reports whether a day of a period is one of the rule's. What the rule does not say comes from DTSTART.
func (w *walk) fits(day int64) bool {
	t := time.Unix(day*secondsOfDay, 0).UTC()
	year, month, monthday := t.Date()
	if !allows(w.byMonth, int64(month)) {
		return false
	}
	if w.byday == nil && w.byYearday == nil && w.byMonthday == nil {
		switch {
		case w.freq == weekly, w.freq == yearly && w.byWeek != nil:
			if t.Weekday() != w.weekday {
				return false
			}
		case w.freq == monthly, w.freq == yearly && w.byMonth != nil:
			if monthday != w.monthday {
				return false
			}
		case w.freq == yearly:
			if monthday != w.monthday || month != w.month {
				return false
			}
		}
	}
	if !allows(w.byMonthday, int64(monthday)) && !allows(w.byMonthday, int64(monthday-1-daysIn(year, month))) {
		return false
	}
	if !allows(w.byYearday, int64(t.YearDay())) && !allows(w.byYearday, int64(t.YearDay()-1-daysOf(year))) {
		return false
	}
	if w.byWeek != nil {
		if _, week, weeks := w.week(day); !allows(w.byWeek, int64(week)) && !allows(w.byWeek, int64(week-1-weeks)) {
			return false
		}
	}
	return len(w.byday) == 0 || slices.ContainsFunc(w.byday, func(o ordinalDay) bool {
		return o.day == t.Weekday() && w.ordinal(o.n, t)
	})
}

// ordinal reports whether a day is the n-th such weekday of what the rule counts in.
func (w *walk) ordinal(n int, t time.Time) bool {
	index, size := 0, 0
	switch {
	case n == 0, w.freq > monthly, w.byWeek != nil:
		return true
	case w.freq == monthly || w.byMonth != nil:
		index, size = t.Day()-1, daysIn(t.Year(), t.Month())
	default:
		index, size = t.YearDay()-1, daysOf(t.Year())
	}
	if n > 0 {
		return index/7+1 == n
	}
	return (size-1-index)/7+1 == -n
}

// weekStart is the day on which the week of a day begins.
func (w *walk) weekStart(day int64) int64 {
	const thursday = 4 // of 1970-01-01
	return day - floorMod(day+thursday-int64(w.wkst), 7)
}

// firstWeek is the day on which week 1 of a year begins: the first week with at least four days in the year, which is
// the one of 4 January.
func (w *walk) firstWeek(year int) int64 { return w.weekStart(dayNumber(year, 1, 4)) }

// week numbers the week of a day within the year that it belongs to, and says how many weeks that year has.
func (w *walk) week(day int64) (year, number, weeks int) {
	// The week belongs to the year that has most of it, which is the year of its fourth day.
	year = time.Unix((w.weekStart(day)+3)*secondsOfDay, 0).UTC().Year()
	first := w.firstWeek(year)
	return year, int(day-first)/7 + 1, int(w.firstWeek(year+1)-first) / 7
}

func dayNumber(year int, month time.Month, day int) int64 {
	return dayOf(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix())
}

func dayOf(at int64) int64 { return floorDiv(at, secondsOfDay) }

func daysOf(year int) int { return int(dayNumber(year+1, 1, 1) - dayNumber(year, 1, 1)) }

func daysIn(year int, month time.Month) int {
	return int(dayNumber(year, month+1, 1) - dayNumber(year, month, 1))
}

func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }
