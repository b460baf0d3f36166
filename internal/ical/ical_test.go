package ical_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

func london(t testing.TB) *time.Location { return load(t, "Europe/London") }

// fataler is a test, or a check of rapid.
type fataler interface {
	Helper()
	Fatal(...any)
}

func load(t fataler, name string) *time.Location {
	t.Helper()
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// calendar puts lines into a VCALENDAR.
func calendar(lines ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCALENDAR\r\n"
}

func vevent(lines ...string) string {
	return "BEGIN:VEVENT\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT"
}

func read(t testing.TB, text string) (ical.Calendar, []ical.Problem) {
	t.Helper()
	cal, problems, err := ical.Read(strings.NewReader(text), ical.Options{Zone: london(t)})
	if err != nil {
		t.Fatal(err)
	}
	return cal, problems
}

var year2027 = [2]time.Time{time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)}

// told writes each occurrence of 2027 as "uid#recurrence id start length".
func told(t testing.TB, text string) []string {
	t.Helper()
	cal, problems := read(t, text)
	if len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
	found, more := cal.Occurrences(year2027[0], year2027[1], 1000)
	if len(more) != 0 {
		t.Errorf("problems: %v", more)
	}
	out := []string{}
	for _, o := range found {
		name := o.UID
		if o.RecurrenceID != "" {
			name += "#" + o.RecurrenceID
		}
		out = append(out, fmt.Sprintf("%s %s %s", name, o.Span.Start.In(o.Event.Start.Zone.Loc).Format("2006-01-02T15:04Z07:00"), o.Span.Duration()))
	}
	return out
}

const ownZone = "BEGIN:VTIMEZONE\r\nTZID:Customized Time Zone\r\n" +
	"BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n" +
	"BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n" +
	"END:VTIMEZONE"

func TestEventTakesPlaceWhenItsAuthorMeant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		text string
		want []string
	}{
		{"in UTC", vevent("UID:a", "DTSTART:20270605T130000Z", "DTEND:20270605T150000Z"), []string{"a 2027-06-05T13:00Z 2h0m0s"}},
		{"in an IANA zone", vevent("UID:a", "DTSTART;TZID=America/New_York:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00-04:00 2h0m0s"}},
		{"in an IANA zone in quotes", vevent("UID:a", `DTSTART;TZID="America/New_York":20270605T130000`, "DURATION:PT2H"), []string{"a 2027-06-05T13:00-04:00 2h0m0s"}},
		{"in a Windows zone", vevent("UID:a", "DTSTART;TZID=W. Europe Standard Time:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"in a zone behind a vendor's prefix", vevent("UID:a", "DTSTART;TZID=/freeassociation.sourceforge.net/Europe/Berlin:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"in a zone behind a prefix with a date", vevent("UID:a", "DTSTART;TZID=/mozilla.org/20050126_1/Europe/Berlin:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"at an offset", vevent("UID:a", `DTSTART;TZID="UTC+02:00":20270605T130000`, "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"at an offset in the other order of signs", vevent("UID:a", "DTSTART;TZID=GMT-0500:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00-05:00 2h0m0s"}},
		{"in a display name with a colon and a comma", vevent("UID:a", `DTSTART;TZID="(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna":20270605T130000`, "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"in a zone of the calendar's own, summer", ownZone + "\r\n" + vevent("UID:a", "DTSTART;TZID=Customized Time Zone:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"in a zone of the calendar's own, winter", ownZone + "\r\n" + vevent("UID:a", "DTSTART;TZID=Customized Time Zone:20271205T130000", "DURATION:PT2H"), []string{"a 2027-12-05T13:00+01:00 2h0m0s"}},
		{"in a zone of the calendar's own under Microsoft's name", strings.ReplaceAll(ownZone, "Customized Time Zone", "tzone://Microsoft/Custom") + "\r\n" + vevent("UID:a", `DTSTART;TZID="tzone://Microsoft/Custom":20270605T130000`, "DURATION:PT2H"), []string{"a 2027-06-05T13:00+02:00 2h0m0s"}},
		{"in IANA's rules although the calendar brings others under that name", strings.ReplaceAll(ownZone, "Customized Time Zone", "America/New_York") + "\r\n" + vevent("UID:a", "DTSTART;TZID=America/New_York:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00-04:00 2h0m0s"}},
		{"in the place that an own zone names", strings.ReplaceAll(ownZone, "TZID:Customized Time Zone", "TZID:Odd\r\nX-LIC-LOCATION:America/New_York") + "\r\n" + vevent("UID:a", "DTSTART;TZID=Odd:20270605T130000", "DURATION:PT2H"), []string{"a 2027-06-05T13:00-04:00 2h0m0s"}},
		{"floating, in the zone of the reader", vevent("UID:a", "DTSTART:20270605T130000", "DTEND:20270605T150000"), []string{"a 2027-06-05T13:00+01:00 2h0m0s"}},
		{"on a day, whatever its TZID", vevent("UID:a", "DTSTART;VALUE=DATE;TZID=America/New_York:20270327"), []string{"a 2027-03-27T00:00Z 24h0m0s"}},
		{"on days over the end of winter", vevent("UID:a", "DTSTART;VALUE=DATE:20270327", "DTEND;VALUE=DATE:20270329"), []string{"a 2027-03-27T00:00Z 47h0m0s"}},
		{"on a clock that is skipped", vevent("UID:a", "DTSTART;TZID=America/New_York:20270314T023000", "DURATION:PT1H"), []string{"a 2027-03-14T03:30-04:00 1h0m0s"}},
		{"on a clock that occurs twice", vevent("UID:a", "DTSTART;TZID=Europe/Amsterdam:20271031T023000", "DURATION:PT1H"), []string{"a 2027-10-31T02:30+02:00 1h0m0s"}},
		{"a day after a length in days, an hour less in spring", vevent("UID:a", "DTSTART:20270327T180000", "DURATION:P1D"), []string{"a 2027-03-27T18:00Z 23h0m0s"}},
		{"in lower case and folded", "begin:vevent\r\nuid:a\r\ndtstart:2027060\r\n 5T130000Z\r\nduration:pt2h\r\nend:vevent", []string{"a 2027-06-05T13:00Z 2h0m0s"}},
		{"for a minute when it takes no time", vevent("UID:a", "DTSTART:20270605T130000Z"), []string{"a 2027-06-05T13:00Z 1m0s"}},
		{"outside the window", vevent("UID:a", "DTSTART:20280605T130000Z", "DURATION:PT1H"), []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, told(t, calendar(c.text))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemNamesItsLineAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	good := vevent("UID:good", "DTSTART:20270605T130000Z", "DURATION:PT1H")
	for _, c := range []struct {
		name, text string
		line       int
		property   string
		lost       bool
	}{
		{"a zone that nobody knows", vevent("UID:a", "DTSTART;TZID=Mars/Olympus:20270605T130000"), 5, "DTSTART", true},
		{"no start", vevent("UID:a", "SUMMARY:x"), 3, "", true},
		{"an end before the start", vevent("UID:a", "DTSTART:20270605T130000Z", "DTEND:20270605T120000Z"), 6, "DTEND", true},
		{"a day that is not", vevent("UID:a", "DTSTART;VALUE=DATE:20270231"), 5, "DTSTART", true},
		{"an unknown rule", vevent("UID:a", "DTSTART:20270605T130000Z", "RRULE:FREQ=SOMETIMES"), 6, "RRULE", true},
		{"an exception that is no date", vevent("UID:a", "DTSTART:20270605T130000Z", "RRULE:FREQ=DAILY", "EXDATE:20270606T130000Z,soon"), 7, "EXDATE", true},
		{"a start without a colon", vevent("UID:a", "DTSTART;X=Y", "SUMMARY:x"), 5, "DTSTART", true},
		{"a line that was folded wrongly", vevent("UID:a", "DTSTART:20270605T130000Z", "DESCRIPTION:a text", "that goes on"), 7, "THAT", false},
		{"an alarm that is broken", vevent("UID:a", "DTSTART:20270605T130000Z", "BEGIN:VALARM", "TRIGGER", "END:VALARM"), 7, "TRIGGER", false},
		{"an event without an end", "BEGIN:VEVENT\r\nUID:a\r\nDTSTART:20270605T130000Z\r\n", 3, "BEGIN", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cal, problems := read(t, calendar(c.text, good))
			if c.name == "an event without an end" {
				good := strings.Replace(good, "END:VEVENT", "END:VEVENT\r\n", 1)
				cal, problems = read(t, calendar(c.text+"END:VCALENDAR\r\nBEGIN:VCALENDAR\r\n"+good))
			}
			if len(problems) != 1 {
				t.Fatalf("problems %v, want one", problems)
			}
			p := problems[0]
			if p.Line != c.line || p.Property != c.property || p.Lost != c.lost || domain.KindOf(p.Err) != domain.KindInvalid {
				t.Errorf("%+v; want line %d, property %q, lost %v", p, c.line, c.property, c.lost)
			}
			want := 2
			if c.lost {
				want = 1
			}
			if len(cal.Objects) != want || cal.Lost != 2-want || cal.Truncated {
				t.Errorf("%d objects, %d lost, truncated %v", len(cal.Objects), cal.Lost, cal.Truncated)
			}
		})
	}
}

func TestCalendarThatIsCutOffSaysSo(t *testing.T) {
	t.Parallel()
	whole := calendar(vevent("UID:a", "DTSTART:20270605T130000Z"), vevent("UID:b", "DTSTART:20270605T130000Z"))
	for _, cut := range []int{len(whole) - 10, len(whole) - 30, len(whole) - 50} {
		cal, _ := read(t, whole[:cut])
		if !cal.Truncated {
			t.Errorf("cut after %d bytes of %d: not told", cut, len(whole))
		}
	}
	if cal, _ := read(t, whole); cal.Truncated || len(cal.Objects) != 2 {
		t.Errorf("the whole calendar has %d objects, truncated %v", len(cal.Objects), cal.Truncated)
	}
}

func TestReadRefusesWhatIsNoCalendarOrTooMuch(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "another format": "<html>\n</html>", "a task outside a calendar": "BEGIN:VTODO\nEND:VTODO\n",
		"nested too deep": strings.Repeat("BEGIN:VEVENT\r\n", 100),
	} {
		if _, _, err := ical.Read(strings.NewReader(text), ical.Options{}); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v, want KindInvalid", name, err)
		}
	}
	big := calendar(strings.Repeat("X-A:b\r\n", 100))
	if _, _, err := ical.Read(strings.NewReader(big), ical.Options{MaxBytes: 100}); domain.KindOf(err) != domain.KindTooLarge {
		t.Errorf("too large: %v", err)
	}
	many := calendar(strings.Repeat("BEGIN:VTODO\r\nEND:VTODO\r\n", 20))
	if _, _, err := ical.Read(strings.NewReader(many), ical.Options{MaxParts: 20}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("too many parts: %v", err)
	}
	if _, _, err := ical.Read(iotestErr{}, ical.Options{}); err == nil {
		t.Error("a reader that fails was read")
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, os.ErrClosed }

func TestSeriesOverItsBudgetIsWithheldAndTold(t *testing.T) {
	t.Parallel()
	cal, problems := read(t, calendar(vevent("UID:often", "DTSTART:20270101T000000Z", "DURATION:PT1M", "RRULE:FREQ=HOURLY"), vevent("UID:once", "DTSTART:20270605T130000Z")))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	found, more := cal.Occurrences(year2027[0], year2027[1], 100)
	if len(found) != 1 || found[0].UID != "once" || len(more) != 1 || more[0].UID != "often" || !more[0].Lost || domain.KindOf(more[0].Err) != domain.KindTooLarge {
		t.Errorf("found %d, problems %v", len(found), more)
	}
}

func TestBusiestSeriesGivesWayToTheOthers(t *testing.T) {
	t.Parallel()
	cal, problems := read(t, calendar(vevent("UID:daily", "DTSTART:20270101T000000Z", "DURATION:PT1M", "RRULE:FREQ=DAILY"),
		vevent("UID:weekly", "DTSTART:20270101T000000Z", "DURATION:PT1M", "RRULE:FREQ=WEEKLY"), vevent("UID:monthly", "DTSTART:20270101T000000Z", "DURATION:PT1M", "RRULE:FREQ=MONTHLY")))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	found, more := cal.Occurrences(year2027[0], year2027[1], 370)
	if len(found) != 53+12 || len(more) != 1 || more[0].UID != "daily" || domain.KindOf(more[0].Err) != domain.KindTooLarge {
		t.Errorf("found %d, problems %v", len(found), more)
	}
}
