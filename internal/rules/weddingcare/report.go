package weddingcare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Report puts the report of a day together: what failed, when it was noticed, what was done about it, and what is left. names
// are labels by subject.
func Report(c domain.WeddingCare, log []domain.WeddingNote, left []domain.DayLeft, names map[string]string, now time.Time) domain.HandOver {
	h := domain.HandOver{BookingID: c.BookingID, DayFrom: c.DayFrom, DayUntil: c.DayUntil, Zone: c.Zone, MadeAt: now, Failures: []domain.DayFailure{},
		Open: append([]domain.DayLeft{}, left...), Log: append([]domain.WeddingNote{}, log...)}
	slices.SortStableFunc(h.Log, func(a, b domain.WeddingNote) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Seq, b.Seq)) })
	newest := map[string]int{} // of a subject, among the failures
	for _, n := range h.Log {
		i, known := newest[n.Subject]
		goesOn := known && h.Failures[i].OverAt == nil
		switch {
		case n.Kind == domain.NoteCare:
		case n.Kind == domain.NoteFailover || n.Kind == domain.NoteAlert:
			if known {
				h.Failures[i].Done = append(h.Failures[i].Done, n.Text)
			}
		case n.Bad && !goesOn:
			newest[n.Subject] = len(h.Failures)
			h.Failures = append(h.Failures, domain.DayFailure{Subject: n.Subject, Name: names[n.Subject], What: n.Text, NoticedAt: n.At, Done: []string{}})
		case !n.Bad && goesOn:
			at := n.At
			h.Failures[i].OverAt = &at
		}
	}
	going := 0
	for i := range h.Failures {
		f := &h.Failures[i]
		end := now
		if f.OverAt == nil {
			going++
		} else {
			end = *f.OverAt
		}
		f.Lasted = max(end.Sub(f.NoticedAt), 0)
	}
	h.Quiet = len(h.Failures) == 0 && len(h.Open) == 0
	h.Summary = summary(len(h.Failures), going, len(h.Open))
	return h
}

func summary(failed, going, open int) string {
	if failed == 0 && open == 0 {
		return "Nothing failed on the day, and nothing is left to do."
	}
	var parts []string
	switch {
	case failed == 0:
		parts = append(parts, "Nothing failed on the day")
	case going == 0:
		parts = append(parts, upper(counted(failed, "thing failed on the day and is over", "things failed on the day and are over")))
	default:
		parts = append(parts, fmt.Sprintf("%s on the day, and %d of them %s on", upper(counted(failed, "thing failed", "things failed")), going, goes(going)))
	}
	if open == 0 {
		parts = append(parts, "nothing is left to do")
	} else {
		parts = append(parts, counted(open, "thing is left to do", "things are left to do"))
	}
	return strings.Join(parts, "; ") + "."
}

func goes(n int) string {
	if n == 1 {
		return "goes"
	}
	return "go"
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// words of states, for people.
var words = map[domain.CheckState]string{domain.CheckBlocking: "IN DANGER", domain.CheckAttention: "LOOK", domain.CheckOK: "ok", domain.CheckNone: "-"}

// Outcome says in a sentence what a preflight came to.
func Outcome(p domain.Preflight) string {
	blocking, attention := p.Count(domain.CheckBlocking), p.Count(domain.CheckAttention)
	switch {
	case blocking == 0 && attention == 0:
		return "Everything that was checked will hold through the day."
	case blocking == 0:
		return upper(counted(attention, "thing needs a look", "things need a look")) + "."
	case attention == 0:
		return upper(counted(blocking, "thing puts the wedding in danger", "things put the wedding in danger")) + "."
	}
	return upper(counted(blocking, "thing puts the wedding in danger", "things put the wedding in danger")) + ", and " + counted(attention, "needs a look", "need a look") + "."
}

func zoneOf(name string) *time.Location {
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		return time.UTC
	}
	return loc
}

// Moment is a time as it is told to people, in the zone of the wedding.
func Moment(t time.Time, zone string) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zoneOf(zone)).Format("Mon 2 Jan 2006, 15:04")
}

// PreflightText is a preflight as plain text, in the zone of the wedding.
func PreflightText(p domain.Preflight, zone string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Preflight of the wedding on %s (%s)\nmade %s, %s\n\n%s\n", Moment(p.Start, zone), zone, Moment(p.MadeAt, zone), why[p.Kind], Outcome(p))
	last := ""
	for _, c := range p.Checks {
		if s := words[c.State]; s != last {
			b.WriteString("\n")
			last = s
		}
		of := ""
		if c.Name != "" {
			of = c.Name + ": "
		}
		fmt.Fprintf(&b, "%-10s %s%s\n", words[c.State], of, c.Reason)
		if c.Do != "" {
			fmt.Fprintf(&b, "%-10s -> %s\n", "", c.Do)
		}
	}
	return b.String()
}

var why = map[domain.PreflightKind]string{domain.PreflightWeek: "as the first look", domain.PreflightFreeze: "as the look for the freeze",
	domain.PreflightAgain: "because the one before found something", domain.PreflightAsked: "because somebody asked"}

// Why says why a preflight was made.
func Why(k domain.PreflightKind) string { return why[k] }

// HandOverText is the report of a day as plain text, in the zone of the wedding.
func HandOverText(h domain.HandOver) string {
	var b strings.Builder
	at := func(t time.Time) string { return Moment(t, h.Zone) }
	fmt.Fprintf(&b, "Report of the day from %s to %s (%s)\n\n%s\n", at(h.DayFrom), at(h.DayUntil), h.Zone, h.Summary)
	if len(h.Failures) > 0 {
		b.WriteString("\nWhat failed\n")
	}
	for _, f := range h.Failures {
		what := f.What
		if !strings.HasPrefix(what, f.Name) { // without a name it speaks for itself
			what = f.Name + ": " + what
		}
		over := "goes on"
		if f.OverAt != nil {
			over = fmt.Sprintf("over %s, after %s", at(*f.OverAt), f.OverAt.Sub(f.NoticedAt).Round(time.Second))
		}
		fmt.Fprintf(&b, "* %s\n  noticed %s; %s\n", what, at(f.NoticedAt), over)
		for _, d := range f.Done {
			fmt.Fprintf(&b, "  - %s\n", d)
		}
	}
	if len(h.Open) > 0 {
		b.WriteString("\nWhat is left to do\n")
	}
	for _, o := range h.Open {
		fmt.Fprintf(&b, "* %s\n  -> %s\n", o.What, o.Do)
	}
	if len(h.Log) > 0 {
		b.WriteString("\nThe day\n")
	}
	for _, n := range h.Log {
		fmt.Fprintf(&b, "%s  %s\n", at(n.At), n.Text)
	}
	return b.String()
}
