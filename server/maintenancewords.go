package server

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
)

// standingText says how far the connections of a window that has begun are.
func standingText(m domain.Maintenance, members []domain.MaintenanceMember) string {
	quiet, left := 0, m.Left
	for _, one := range members {
		if one.QuietAt != nil {
			quiet++
		}
		left += one.Left
	}
	switch {
	case m.State.Holds():
		return "At rest: " + strconv.Itoa(quiet) + " of " + strconv.Itoa(m.Connections) + " connections."
	case m.Held == 0:
		return "Connections: " + strconv.Itoa(m.Connections) + ". Nothing waited."
	}
	return "Connections: " + strconv.Itoa(m.Connections) + ". Deliveries and writes that waited: " + strconv.Itoa(m.Held) + ", of them not done yet: " + strconv.Itoa(left) + "."
}

// endWords are the words of the button that ends a window, and of the question beside it.
func endWords(s domain.MaintenanceState, admin bool) (button, question string) {
	switch {
	case s == domain.MaintenanceProposed && admin:
		return "Refuse", "Why, or why not?"
	case s == domain.MaintenanceProposed:
		return "Withdraw", "Why not?"
	case s.Ahead():
		return "Cancel", "Why not?"
	case s.Holds():
		return "End it now", "Why now?"
	}
	return "", ""
}

func windowMark(s domain.MaintenanceState) mark {
	switch s {
	case domain.MaintenanceProposed:
		return mark{"○", "Waits for approval", "medium"}
	case domain.MaintenanceApproved:
		return mark{"✓", "Approved", "low"}
	case domain.MaintenanceAnnounced:
		return mark{"✓", "Announced", "low"}
	case domain.MaintenanceDraining:
		return mark{"◔", "Begins: connections come to rest", "high"}
	case domain.MaintenanceRunning:
		return mark{"◔", "Going on", "high"}
	case domain.MaintenanceReplaying:
		return mark{"↻", "Over: what waited is being done", "medium"}
	case domain.MaintenanceDone:
		return mark{"✓", "Done", "good"}
	case domain.MaintenanceCancelled:
		return mark{"–", "Cancelled", "low"}
	case domain.MaintenanceRefused:
	}
	return mark{"–", "Not approved in time", "low"}
}

// openText says whether maintenance may be now, why not, and when that changes.
func openText(st maintenance.State, zone *time.Location) string {
	text := "Maintenance may be now"
	if !st.Open {
		text = "No maintenance may be now: " + closedText(st.Closed)
	}
	if st.Next == nil {
		return text + "."
	}
	at := st.Next.In(zone).Format("Mon 2 Jan 2006, 15:04") + " (" + zone.String() + ")"
	if !st.Open {
		return text + ". That is over " + at + "."
	}
	if then := closedText(st.Then); then != "" {
		return text + ", until " + at + ": " + then + "."
	}
	return text + ", until " + at + "."
}

func closedText(all []maintenance.Closure) string {
	var out []string
	for _, one := range all {
		if !slices.Contains(out, one.Text) {
			out = append(out, one.Text)
		}
	}
	return strings.Join(out, "; ")
}

// upkeepRules says what the organisation wants of maintenance.
func upkeepRules(st domain.MaintenanceSettings) []string {
	out := []string{"An admin approves each window."}
	if st.Approval == domain.ApprovalAutomatic {
		out[0] = "Windows take place unless somebody cancels them before their notice begins."
	}
	if st.NoticeMinutes > 0 {
		out = append(out, "They are approved "+minutesText(st.NoticeMinutes)+" ahead, unless an admin lets one begin on short notice.")
	}
	var days []string
	for day := range 7 {
		if !slices.Contains(st.Weekdays, day) {
			days = append(days, time.Weekday(day).String()+"s")
		}
	}
	if len(days) > 0 {
		out = append(out, "None on "+strings.Join(days, ", ")+".")
	}
	if st.FromMinute != 0 || st.UntilMinute != 24*60 {
		out = append(out, "Only from "+clockText(st.FromMinute)+" to "+clockText(st.UntilMinute)+".")
	}
	for _, one := range st.Seasons {
		out = append(out, "None from "+one.From+" to "+one.Until+": "+one.Name+".")
	}
	if st.WhenWedding == domain.WeddingMoves {
		return append(out, "A window into which a wedding moves is moved to another time.")
	}
	return append(out, "A window into which a wedding moves is cancelled.")
}

func minutesText(n int) string {
	switch {
	case n%(24*60) == 0:
		return strconv.Itoa(n/(24*60)) + " days"
	case n%60 == 0:
		return strconv.Itoa(n/60) + " hours"
	}
	return strconv.Itoa(n) + " minutes"
}

func clockText(minute int) string {
	two := func(n int) string { return strconv.Itoa(n/10) + strconv.Itoa(n%10) }
	return two(minute/60) + ":" + two(minute%60)
}
