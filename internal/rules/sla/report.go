package sla

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Period is a month or a year of a zone, in parts: days of a month, months of a year.
type Period struct {
	Name  string    `json:"name"` // such as 2026-11 or 2026
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Zone  string    `json:"zone"`
	Parts []Part    `json:"-"`
}

// Part is a day or a month of a period.
type Part struct {
	Name       string
	Start, End time.Time
}

// ParsePeriod reads 2026 or 2026-11 as a year or a month of a zone, between 2000 and 2199.
func ParsePeriod(text string, loc *time.Location) (Period, error) {
	bad := domain.Invalid("period", "must be a year such as 2026 or a month such as 2026-11, between 2000 and 2199")
	if len(text) != 4 && (len(text) != 7 || text[4] != '-') {
		return Period{}, bad
	}
	year, err := strconv.ParseUint(text[:4], 10, 16)
	if err != nil || year < 2000 || year > 2199 {
		return Period{}, bad
	}
	day := func(y int, m time.Month, d int) time.Time {
		return calendartime.DayStart(calendartime.Date{Year: y, Month: m, Day: d}, loc)
	}
	p := Period{Name: text, Zone: loc.String()}
	if len(text) == 4 {
		y := int(year)
		p.Start, p.End = day(y, 1, 1), day(y+1, 1, 1)
		for m := time.January; m <= time.December; m++ {
			end := day(y, m+1, 1)
			if m == time.December {
				end = p.End
			}
			p.Parts = append(p.Parts, Part{fmt.Sprintf("%04d-%02d", y, int(m)), day(y, m, 1), end})
		}
		return p, nil
	}
	month, err := strconv.ParseUint(text[5:], 10, 8)
	if err != nil || month < 1 || month > 12 {
		return Period{}, bad
	}
	first := calendartime.Date{Year: int(year), Month: time.Month(month), Day: 1}
	for d := first; d.Month == first.Month; d = d.AddDays(1) {
		p.Parts = append(p.Parts, Part{d.String(), calendartime.DayStart(d, loc), calendartime.DayStart(d.AddDays(1), loc)})
	}
	p.Start, p.End = p.Parts[0].Start, p.Parts[len(p.Parts)-1].End
	return p, nil
}

// Tally is what was measured of a connection in a stretch of time. Down and Maintenance do not overlap, and both lie within
// Known.
type Tally struct {
	Probes      int64         // outside maintenance
	Failed      int64         // of them
	Down        time.Duration // outside maintenance
	Maintenance time.Duration
	Known       time.Duration    // measured, or in maintenance
	Latency     domain.Histogram // of answers, by domain.ProbeBounds
}

// Add returns the sum of both.
func (t Tally) Add(o Tally) Tally {
	t.Probes, t.Failed = t.Probes+o.Probes, t.Failed+o.Failed
	t.Down, t.Maintenance, t.Known = t.Down+o.Down, t.Maintenance+o.Maintenance, t.Known+o.Known
	t.Latency = append(domain.Histogram(nil), t.Latency...).Merge(o.Latency)
	return t
}

// Source is a connection with what was measured in each part of a period.
type Source struct {
	ID       domain.IntegrationID
	Name     string
	Platform string
	Since    time.Time // when it was made: it can be known from then on only
	Until    time.Time // when it was deleted; zero = it was not
	Targets  domain.Targets
	Parts    []Tally // one for each part of the period
}

// Verdict says whether a target was met.
type Verdict string

// The verdicts.
const (
	Met     Verdict = "met"
	Missed  Verdict = "missed"
	Unknown Verdict = "unknown" // too little is known to say either
)

// Line is one row of a report. Times are whole seconds; a share is nil where nothing is known to reckon it from.
type Line struct {
	Name     string               `json:"name"`
	ID       domain.IntegrationID `json:"integration_id,omitempty"`
	Platform string               `json:"platform,omitempty"`
	Targets  domain.Targets       `json:"targets"`

	TotalSeconds       int64 `json:"total_seconds"` // of the period that has passed while it existed
	KnownSeconds       int64 `json:"known_seconds"`
	UnknownSeconds     int64 `json:"unknown_seconds"` // not measured: neither up nor down
	MaintenanceSeconds int64 `json:"maintenance_seconds"`
	DownSeconds        int64 `json:"down_seconds"` // outside maintenance

	Availability      *float64 `json:"availability_percent"`                  // of the known time, maintenance left out
	WithMaintenance   *float64 `json:"availability_with_maintenance_percent"` // of the known time, maintenance counted as down
	Lowest            *float64 `json:"availability_lowest_percent"`           // maintenance left out, unknown counted as down
	Verdict           Verdict  `json:"availability_verdict"`
	BudgetSeconds     int64    `json:"budget_seconds"`
	BudgetLeftSeconds int64    `json:"budget_left_seconds"` // below 0 when overspent
	Probes            int64    `json:"probes"`
	Failed            int64    `json:"failed"`
	ErrorPercent      *float64 `json:"error_percent"`
	ErrorVerdict      Verdict  `json:"error_verdict"`
	P50MS             *int64   `json:"p50_ms"` // interpolated inside their buckets
	P95MS             *int64   `json:"p95_ms"`
	P99MS             *int64   `json:"p99_ms"`
	LatencyVerdict    Verdict  `json:"latency_verdict"`
}

// Report is what became of what was promised in a period.
type Report struct {
	Period    Period    `json:"period"`
	MadeAt    time.Time `json:"made_at"`
	Complete  bool      `json:"complete"` // the period is over
	Notes     []string  `json:"notes"`    // what has to be known to read it
	All       Line      `json:"organization"`
	Platforms []Line    `json:"platforms"`
	Lines     []Line    `json:"integrations"` // the least budget left first
	Parts     []Line    `json:"parts"`        // all connections together, by day or month
}

// Standards are the targets of the sums of a report.
type Standards struct {
	Organization domain.Targets
	Platform     func(name string) domain.Targets
}

// Build reckons a report of what happened before now.
func Build(p Period, now time.Time, std Standards, all []Source) Report {
	out := Report{Period: p, MadeAt: now.UTC(), Complete: !now.Before(p.End), Platforms: []Line{}, Lines: []Line{}, Parts: []Line{}}
	sum := account{name: "all connections", targets: std.Organization}
	parts := make([]account, len(p.Parts))
	for i, part := range p.Parts {
		parts[i] = account{name: part.Name, targets: std.Organization}
	}
	platforms := map[string]*account{}
	for _, s := range all {
		one := account{name: s.Name, id: s.ID, platform: s.Platform, targets: s.Targets}
		of := platforms[s.Platform]
		if of == nil {
			of = &account{name: s.Platform, platform: s.Platform, targets: std.Platform(s.Platform)}
			platforms[s.Platform] = of
		}
		for i, part := range p.Parts {
			t := Tally{}
			if i < len(s.Parts) {
				t = s.Parts[i]
			}
			total := s.within(part.Start, part.End, now)
			full := s.within(part.Start, part.End, part.End)
			for _, a := range []*account{&one, of, &sum, &parts[i]} {
				a.add(total, full, t)
			}
		}
		if one.total > 0 {
			out.Lines = append(out.Lines, one.line())
		}
	}
	out.All = sum.line()
	for _, a := range platforms {
		if a.total > 0 {
			out.Platforms = append(out.Platforms, a.line())
		}
	}
	slices.SortFunc(out.Platforms, func(a, b Line) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(out.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(share(a), share(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for _, a := range parts {
		if a.total > 0 {
			out.Parts = append(out.Parts, a.line())
		}
	}
	out.Notes = notes(out)
	return out
}

func share(l Line) float64 {
	if l.BudgetSeconds == 0 {
		return 0
	}
	return float64(l.BudgetLeftSeconds) / float64(l.BudgetSeconds)
}

// within is how much of a stretch before now a connection existed.
func (s Source) within(from, to, now time.Time) time.Duration {
	if s.Since.After(from) {
		from = s.Since
	}
	if !s.Until.IsZero() && s.Until.Before(to) {
		to = s.Until
	}
	if now.Before(to) {
		to = now
	}
	return max(to.Sub(from), 0)
}

type account struct {
	name, platform string
	id             domain.IntegrationID
	targets        domain.Targets
	total, full    time.Duration
	tally          Tally
}

func (a *account) add(total, full time.Duration, t Tally) {
	// What was measured cannot be longer than what has passed: a row of an hour that is not over yet may say so.
	t.Known = min(max(t.Known, 0), total)
	t.Maintenance = min(max(t.Maintenance, 0), t.Known)
	t.Down = min(max(t.Down, 0), t.Known-t.Maintenance)
	a.total, a.full, a.tally = a.total+total, a.full+full, a.tally.Add(t)
}

func (a *account) line() Line {
	t := a.tally
	l := Line{Name: a.name, ID: a.id, Platform: a.platform, Targets: a.targets, TotalSeconds: seconds(a.total), KnownSeconds: seconds(t.Known),
		UnknownSeconds: seconds(a.total - t.Known), MaintenanceSeconds: seconds(t.Maintenance), DownSeconds: seconds(t.Down), Probes: t.Probes, Failed: t.Failed}
	up := t.Known - t.Maintenance - t.Down
	l.Availability = percent(up, t.Known-t.Maintenance)
	l.WithMaintenance = percent(up, t.Known)
	l.Lowest = percent(up, a.total-t.Maintenance)
	budget := time.Duration(float64(a.full-t.Maintenance) * a.targets.Budget())
	l.BudgetSeconds, l.BudgetLeftSeconds = seconds(budget), seconds(budget-t.Down)
	l.Verdict = Unknown
	switch {
	case t.Down > budget:
		l.Verdict = Missed
	case l.Lowest != nil && *l.Lowest >= a.targets.Availability:
		l.Verdict = Met
	}
	l.ErrorVerdict = Unknown
	if t.Probes > 0 {
		share := round(float64(t.Failed) / float64(t.Probes) * 100)
		l.ErrorPercent, l.ErrorVerdict = &share, Met
		if share > a.targets.Errors {
			l.ErrorVerdict = Missed
		}
	}
	l.P50MS, l.P95MS, l.P99MS = quantile(t.Latency, 0.5), quantile(t.Latency, 0.95), quantile(t.Latency, 0.99)
	l.LatencyVerdict = latencyVerdict(t.Latency, a.targets.Latency())
	return l
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }

// percent is a share with four places, rounded down, so that what is not whole never reads as 100.
func percent(part, whole time.Duration) *float64 {
	if whole <= 0 {
		return nil
	}
	v := math.Floor(float64(part)/float64(whole)*1e6) / 1e4
	return &v
}

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

func quantile(h domain.Histogram, q float64) *int64 {
	if h.Count() == 0 {
		return nil
	}
	ms := h.Quantile(domain.ProbeBounds, q).Milliseconds()
	return &ms
}

// latencyVerdict says whether 95 of 100 answers came within a limit. A bucket that the limit lies inside of leaves it open.
func latencyVerdict(h domain.Histogram, limit time.Duration) Verdict {
	total, within, maybe, lower := int64(0), int64(0), int64(0), time.Duration(0)
	for i, n := range h {
		total += n
		if i < len(domain.ProbeBounds) && domain.ProbeBounds[i] <= limit {
			within, lower = within+n, domain.ProbeBounds[i]
			continue
		}
		if lower < limit {
			maybe += n
		}
		lower = limit
	}
	switch {
	case total == 0:
		return Unknown
	case float64(within) >= 0.95*float64(total):
		return Met
	case float64(within+maybe) < 0.95*float64(total):
		return Missed
	}
	return Unknown
}

func notes(r Report) []string {
	out := []string{"Availability leaves maintenance out; the number beside it counts maintenance as down.",
		"Unknown time was not measured. It is neither up nor down; the lowest value counts it as down.",
		"Percentiles are interpolated inside the buckets of a histogram."}
	if !r.Complete {
		out = append(out, "The period is not over: this is what is known so far, and the budget is that of the whole period.")
	}
	if len(r.Lines) == 0 {
		return append(out, "No connection existed in this period.")
	}
	if u := r.All.UnknownSeconds; u > 0 {
		out = append(out, fmt.Sprintf("%s of %s of all connections together are unknown.", Words(u), Words(r.All.TotalSeconds)))
	}
	silent := 0
	for _, l := range r.Lines {
		if l.KnownSeconds == 0 {
			silent++
		}
	}
	if silent > 0 {
		out = append(out, fmt.Sprintf("Nothing at all is known of %d of %d connections.", silent, len(r.Lines)))
	}
	return out
}

// Words says a number of seconds as people do.
func Words(s int64) string {
	if s < 0 {
		return "-" + Words(-s)
	}
	d, h, m := s/86400, s%86400/3600, s%3600/60
	switch {
	case d > 0:
		return fmt.Sprintf("%d d %d h", d, h)
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, s%60)
	}
	return fmt.Sprintf("%d s", s)
}
