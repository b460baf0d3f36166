package availability

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// MaxWindow is the longest window that can be asked about.
const MaxWindow = 400 * 24 * time.Hour

// The rules that block a stretch of time. The first seven are those of package conflict.
const (
	RuleOverlap  = string(domain.ConflictOverlap)  // another booking
	RuleBuffer   = string(domain.ConflictBuffer)   // too near to another booking
	RuleCapacity = string(domain.ConflictCapacity) // every place is taken
	RuleSameDay  = string(domain.ConflictSameDay)  // the day has its wedding
	RuleOffHours = string(domain.ConflictOffHours) // outside working hours
	RuleTravel   = string(domain.ConflictTravel)   // too near to another booking for the way from or to it
	RuleBlackout = string(domain.ConflictBlackout) // kept free of clients
	RulePast     = "past"                          // before now
	RuleLead     = "lead_time"                     // sooner than the resource takes bookings
	RuleTooShort = "too_short"                     // free, but shorter than wanted
)

// Want is what should find room.
type Want struct {
	Category domain.Category
	Duration time.Duration // above 0, at most domain.MaxSpan
	Place    domain.Point  // where it would be; zero when that is not known
}

// Blocked is a stretch that is not free, and why. BookingID is the booking in the way, "" where there is none.
type Blocked struct {
	Span      domain.Span
	Reason    string // in words
	BookingID domain.BookingID
	Rule      string // one of the Rule constants
}

// Answer is a window taken apart.
type Answer struct {
	Free    []domain.Span
	Blocked []Blocked
}

// Windows finds where in window a booking could be placed without any conflict. busy are the resource's blocking
// bookings that lie within two days and both buffers of the window, each once; cancelled and past ones are passed
// over. A window that is empty or longer than MaxWindow, and a want without category or length, are
// domain.KindInvalid.
func Windows(now time.Time, res domain.Resource, loc *time.Location, window domain.Span, busy []conflict.Candidate, want Want) (Answer, error) {
	if err := check(window, want); err != nil {
		return Answer{}, err
	}
	list := obstacles(now, res, loc, window, busy, want)
	free, short := gaps(window, list, want.Duration)
	answer := Answer{Free: free}
	for _, o := range list {
		answer.Blocked = append(answer.Blocked, Blocked{Span: o.span, Reason: o.words(res, loc), BookingID: o.by.BookingID, Rule: o.rule})
	}
	for _, s := range short {
		answer.Blocked = append(answer.Blocked, Blocked{Span: s, Rule: RuleTooShort,
			Reason: "only " + conflict.Length(s.Duration()) + " free, " + conflict.Length(want.Duration) + " wanted"})
	}
	slices.SortFunc(answer.Blocked, func(a, b Blocked) int {
		return cmp.Or(a.Span.Start.Compare(b.Span.Start), a.Span.End.Compare(b.Span.End), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.BookingID, b.BookingID))
	})
	return answer, nil
}

// Free is Windows without the reasons, for those who only look for room.
func Free(now time.Time, res domain.Resource, loc *time.Location, window domain.Span, busy []conflict.Candidate, want Want) ([]domain.Span, error) {
	if err := check(window, want); err != nil {
		return nil, err
	}
	free, _ := gaps(window, obstacles(now, res, loc, window, busy, want), want.Duration)
	return free, nil
}

func check(window domain.Span, want Want) error {
	if !window.End.After(window.Start) || window.Duration() > MaxWindow {
		return domain.Invalid("window", "must end after it starts and last at most %d days", int(MaxWindow.Hours()/24))
	}
	if !want.Category.Valid() {
		return domain.Invalid("category", "must be one of the known categories")
	}
	if want.Duration <= 0 || want.Duration > domain.MaxSpan {
		return domain.Invalid("duration", "must be above 0 and at most %d days", int(domain.MaxSpan.Hours()/24))
	}
	return nil
}

// obstacle is a stretch that the wanted booking's own time may not touch.
type obstacle struct {
	span domain.Span
	rule string
	by   conflict.Candidate // zero where no booking is in the way
	also string             // more in words, for travel and blackout
}

// obstacles turns every rule of package conflict into stretches of the window, cut to it.
func obstacles(now time.Time, res domain.Resource, loc *time.Location, window domain.Span, busy []conflict.Candidate, want Want) []obstacle {
	var list []obstacle
	category := want.Category
	add := func(o obstacle) {
		if o.span = o.span.Intersect(window); o.span.End.After(o.span.Start) {
			list = append(list, o)
		}
	}
	block := func(span domain.Span, rule string, by conflict.Candidate) {
		add(obstacle{span: span, rule: rule, by: by})
	}
	block(domain.Span{Start: window.Start, End: now.UTC()}, RulePast, conflict.Candidate{})
	if lead := time.Duration(res.LeadMinutes) * time.Minute; lead > 0 {
		block(domain.Span{Start: now.UTC(), End: now.UTC().Add(lead)}, RuleLead, conflict.Candidate{})
	}
	live := make([]conflict.Candidate, 0, len(busy))
	for _, b := range busy {
		if b.Status != domain.StatusCancelled && b.Event.End.After(now) {
			live = append(live, b)
		}
	}
	if res.Capacity > 1 {
		crowds(res, live, category, block)
	} else {
		neighbours(res, live, want, add)
	}
	if res.OneWeddingADay && category == domain.CategoryWedding {
		for _, b := range live {
			if b.Category == domain.CategoryWedding {
				for _, d := range conflict.WeddingDays(b.Event, loc) {
					block(conflict.WeddingDay(d, loc), RuleSameDay, b)
				}
			}
		}
	}
	for _, c := range conflict.ClosedDays(res, loc, window, category) {
		add(obstacle{span: c.Span, rule: RuleBlackout, also: conflict.BlackoutWords(c.Blackout)})
	}
	if conflict.KeepsHours(category) {
		at := window.Start
		for _, open := range conflict.OpenHours(res, loc, window) {
			if open.Start.After(at) {
				block(domain.Span{Start: at, End: open.Start}, RuleOffHours, conflict.Candidate{})
			}
			if open.End.After(at) {
				at = open.End
			}
		}
		block(domain.Span{Start: at, End: window.End}, RuleOffHours, conflict.Candidate{})
	}
	return list
}

// ownBuffers are what the wanted booking needs before and after itself.
func ownBuffers(res domain.Resource, category domain.Category) (before, after time.Duration) {
	if !conflict.HasBuffers(category) {
		return 0, 0
	}
	return res.BufferBefore, res.BufferAfter
}

type blocker func(span domain.Span, rule string, by conflict.Candidate)

// neighbours blocks what each booking takes of a resource that serves one at a time. A neighbour's busy time ends the
// wanted booking's room as early as its own buffer after it, and the way, so these are added before the neighbour.
func neighbours(res domain.Resource, live []conflict.Candidate, want Want, add func(obstacle)) {
	before, after := ownBuffers(res, want.Category)
	for _, b := range live {
		add(obstacle{span: b.Event, rule: RuleOverlap, by: b})
		if b.Category == domain.CategoryTravel || want.Category == domain.CategoryTravel {
			continue
		}
		beside := obstacle{rule: RuleBuffer, by: b}
		way := conflict.WayOf(res, conflict.Candidate{Category: want.Category, Place: want.Place}, b)
		if way.Took > 0 {
			beside.rule, beside.also = RuleTravel, way.Words(res.Travel)
		}
		beside.span = domain.Span{Start: b.Busy.Start.Add(-after - way.Took), End: b.Event.Start}
		add(beside)
		beside.span = domain.Span{Start: b.Event.End, End: b.Busy.End.Add(before + way.Took)}
		add(beside)
	}
}

// crowds blocks the stretches in which every place of the resource is taken. Travel counts with its own time only,
// on either side, as in conflict.
func crowds(res domain.Resource, live []conflict.Candidate, category domain.Category, block blocker) {
	before, after := ownBuffers(res, category)
	var padded, all []domain.Span // what counts beside the wanted booking, and what counts during it
	for _, b := range live {
		switch {
		case category == domain.CategoryTravel || b.Category == domain.CategoryTravel:
			all = append(all, b.Event)
		default:
			padded = append(padded, b.Busy)
			all = append(all, b.Busy)
		}
	}
	first := func(full domain.Span) (by conflict.Candidate) {
		for i, b := range live {
			if b.Busy.Overlaps(full) && (by.BookingID == "" || conflict.GivesWay(b, by)) {
				by = live[i]
			}
		}
		return by
	}
	for _, full := range conflict.Crowded(all, res.Capacity) {
		block(full, RuleCapacity, first(full))
	}
	for _, full := range conflict.Crowded(padded, res.Capacity) {
		by := first(full)
		block(domain.Span{Start: full.Start.Add(-after), End: full.Start}, RuleBuffer, by)
		block(domain.Span{Start: full.End, End: full.End.Add(before)}, RuleBuffer, by)
	}
}

// gaps subtracts the obstacles from the window and parts what is left by length.
func gaps(window domain.Span, list []obstacle, least time.Duration) (free, short []domain.Span) {
	spans := make([]domain.Span, len(list), len(list)+1)
	for i, o := range list {
		spans[i] = o.span
	}
	at := window.Start.UTC()
	for _, s := range append(conflict.Join(spans), domain.Span{Start: window.End, End: window.End}) {
		if gap := (domain.Span{Start: at, End: s.Start.UTC()}); gap.End.After(gap.Start) {
			if gap.Duration() >= least {
				free = append(free, gap)
			} else {
				short = append(short, gap)
			}
		}
		at = s.End.UTC()
	}
	return free, short
}

// words says why an obstacle blocks.
func (o obstacle) words(res domain.Resource, loc *time.Location) string {
	switch o.rule {
	case RulePast:
		return "already over"
	case RuleLead:
		return fmt.Sprintf("sooner than the %s ahead at which the resource takes bookings", conflict.Length(time.Duration(res.LeadMinutes)*time.Minute))
	case RuleOffHours:
		return "outside working hours"
	case RuleSameDay:
		return o.span.Start.In(loc).Format("Mon 2 January 2006") + " already has a wedding, and the resource takes one a day"
	case RuleBlackout:
		return "kept free of clients, " + o.also
	case RuleTravel:
		return o.also + ", to or from " + conflict.Describe(o.by, loc)
	case RuleBuffer:
		return "set-up and travel time for " + conflict.Describe(o.by, loc)
	case RuleCapacity:
		return fmt.Sprintf("all %d places are taken, one by ", res.Capacity) + conflict.Describe(o.by, loc)
	}
	return conflict.Describe(o.by, loc)
}
