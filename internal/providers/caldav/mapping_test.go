package caldav

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

// offline is a connection that is only asked to read.
func offline(t testing.TB, edit ...func(*settings)) *connection {
	t.Helper()
	s := settings{URL: "https://calendar.example.com/", Username: "owner@example.com", Calendar: "/home/weddings/"}
	for _, e := range edit {
		e(&s)
	}
	return connect(t, s)
}

func changesOf(t testing.TB, c *connection, data string) ([]domain.Change, []provider.Problem) {
	t.Helper()
	r, err := c.read("/home/weddings/a.ics", `"1"`, []byte(data))
	if err != nil {
		return nil, []provider.Problem{{ExternalID: "/home/weddings/a.ics", Err: err}}
	}
	if r == nil {
		return nil, nil
	}
	return c.changes(r, c.window(), true)
}

func TestTimesAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	const custom = "BEGIN:VTIMEZONE\r\nTZID:My Zone\r\n" +
		"BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n" +
		"BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n" +
		"END:VTIMEZONE\r\n"
	for _, v := range []struct {
		name, before, lines string
		start, end, zone    string
		kind                domain.TimeKind
		free                bool
	}{
		{name: "UTC", lines: "DTSTART:20270605T130000Z\r\nDTEND:20270605T150000Z",
			start: "2027-06-05T13:00:00Z", end: "2027-06-05T15:00:00Z", zone: "UTC", kind: domain.TimeZoned},
		{name: "IANA zone", lines: "DTSTART;TZID=America/New_York:20270605T130000\r\nDTEND;TZID=America/New_York:20270605T150000",
			start: "2027-06-05T17:00:00Z", end: "2027-06-05T19:00:00Z", zone: "America/New_York", kind: domain.TimeZoned},
		{name: "skipped clock", lines: "DTSTART;TZID=America/New_York:20270314T023000\r\nDURATION:PT1H",
			start: "2027-03-14T07:30:00Z", end: "2027-03-14T08:30:00Z", zone: "America/New_York", kind: domain.TimeZoned},
		{name: "Windows zone", lines: "DTSTART;TZID=W. Europe Standard Time:20270605T130000\r\nDURATION:P1DT2H",
			start: "2027-06-05T11:00:00Z", end: "2027-06-06T13:00:00Z", zone: "Europe/Berlin", kind: domain.TimeZoned},
		{name: "zone behind a prefix", lines: "DTSTART;TZID=/vendor.example/20250101_1/America/Indiana/Knox:20270605T130000\r\nDURATION:PT1H",
			start: "2027-06-05T18:00:00Z", end: "2027-06-05T19:00:00Z", zone: "America/Indiana/Knox", kind: domain.TimeZoned},
		{name: "zone of the resource's own, summer", before: custom, lines: "DTSTART;TZID=My Zone:20270605T130000\r\nDURATION:PT1H",
			start: "2027-06-05T11:00:00Z", end: "2027-06-05T12:00:00Z", zone: "UTC", kind: domain.TimeZoned},
		{name: "zone of the resource's own, winter", before: custom, lines: "DTSTART;TZID=My Zone:20271205T130000\r\nDURATION:PT1H",
			start: "2027-12-05T12:00:00Z", end: "2027-12-05T13:00:00Z", zone: "UTC", kind: domain.TimeZoned},
		{name: "floating", lines: "DTSTART:20270605T130000\r\nDTEND:20270605T150000",
			start: "2027-06-05T12:00:00Z", end: "2027-06-05T14:00:00Z", zone: "Europe/London", kind: domain.TimeFloating},
		{name: "one day", lines: "DTSTART;VALUE=DATE:20270605",
			start: "2027-06-04T23:00:00Z", end: "2027-06-05T23:00:00Z", zone: "Europe/London", kind: domain.TimeAllDay},
		{name: "one day, end on the day itself", lines: "DTSTART;VALUE=DATE:20270605\r\nDTEND;VALUE=DATE:20270605",
			start: "2027-06-04T23:00:00Z", end: "2027-06-05T23:00:00Z", zone: "Europe/London", kind: domain.TimeAllDay},
		{name: "days over the clock change, TZID ignored", lines: "DTSTART;VALUE=DATE;TZID=America/New_York:20270327\r\nDTEND;VALUE=DATE:20270329",
			start: "2027-03-27T00:00:00Z", end: "2027-03-28T23:00:00Z", zone: "Europe/London", kind: domain.TimeAllDay},
		{name: "no end takes no time", lines: "DTSTART:20270605T130000Z",
			start: "2027-06-05T13:00:00Z", end: "2027-06-05T13:01:00Z", zone: "UTC", kind: domain.TimeZoned, free: true},
		{name: "transparent", lines: "DTSTART:20270605T130000Z\r\nDURATION:PT1H\r\nTRANSP:TRANSPARENT",
			start: "2027-06-05T13:00:00Z", end: "2027-06-05T14:00:00Z", zone: "UTC", kind: domain.TimeZoned, free: true},
		{name: "declined", lines: "DTSTART:20270605T130000Z\r\nDURATION:PT1H\r\nATTENDEE;PARTSTAT=DECLINED:MAILTO:Owner@example.com",
			start: "2027-06-05T13:00:00Z", end: "2027-06-05T14:00:00Z", zone: "UTC", kind: domain.TimeZoned, free: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			got, problems := changesOf(t, offline(t), calendar(v.before+"BEGIN:VEVENT", "UID:a", "DTSTAMP:20270101T000000Z", v.lines, "SUMMARY:x", "END:VEVENT"))
			if len(got) != 1 || len(problems) != 0 {
				t.Fatalf("%d changes, problems %v", len(got), problems)
			}
			w := got[0].When
			if s, e := w.Start.Format(time.RFC3339), w.End.Format(time.RFC3339); s != v.start || e != v.end || w.Zone != v.zone || w.Kind != v.kind {
				t.Errorf("read as %s to %s, %s %s; want %s to %s, %s %s", s, e, w.Zone, w.Kind, v.start, v.end, v.zone, v.kind)
			}
			if got[0].Free != v.free {
				t.Errorf("free is %v, want %v", got[0].Free, v.free)
			}
		})
	}
}

func TestFieldsAreReadAsPeopleMeantThem(t *testing.T) {
	t.Parallel()
	c := offline(t, func(s *settings) {
		s.CategoryDefault = domain.CategoryVendor
		s.CategoryRules = []categoryRule{{Category: domain.CategoryWedding, Contains: []string{"WEDDING"}}, {Category: domain.CategoryConsultation, Contains: []string{"tasting"}}}
	})
	got, problems := changesOf(t, c, vevent("UID:a", "DTSTART:20270605T130000Z", "DTEND:20270605T150000Z", "STATUS:TENTATIVE", "CLASS:CONFIDENTIAL",
		`SUMMARY:Smith, Jones\; wedding\, part`+"\r\n  two", `DESCRIPTION:Line\nC:\dir`, "LOCATION:Barn", "CONTACT:Somebody", "SEQUENCE:7", "LAST-MODIFIED:20270101T000000Z"))
	if len(got) != 1 || len(problems) != 0 {
		t.Fatalf("%d changes, problems %v", len(got), problems)
	}
	modified := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	want := domain.Change{
		Op: domain.OpUpsert, ExternalID: "/home/weddings/a.ics", UID: "a", Revision: `"1"`, ChangedAt: &modified,
		Category: domain.CategoryWedding, Status: domain.StatusTentative, Private: true, When: got[0].When,
		Details: domain.Details{Title: "Smith, Jones; wedding, part two", Notes: "Line\nC:\\dir", Location: "Barn", Contact: "Somebody"},
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for title, category := range map[string]domain.Category{"Cake TASTING": domain.CategoryConsultation, "Dentist": domain.CategoryVendor} {
		got, _ := changesOf(t, c, vevent("UID:a", "DTSTART:20270605T130000Z", "DURATION:PT1H", "SUMMARY:"+title))
		if len(got) != 1 || got[0].Category != category {
			t.Errorf("%q: %+v, want %s", title, got, category)
		}
	}
}

func TestEntryThatCannotBeUnderstoodIsAProblem(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"unknown zone":           vevent("UID:a", "DTSTART;TZID=Mars/Olympus:20270605T130000", "DURATION:PT1H"),
		"no start":               vevent("UID:a", "SUMMARY:x"),
		"end before start":       vevent("UID:a", "DTSTART:20270605T130000Z", "DTEND:20270605T120000Z"),
		"day that is not":        vevent("UID:a", "DTSTART;VALUE=DATE:20270231"),
		"too long":               vevent("UID:a", "DTSTART;VALUE=DATE:20270301", "DTEND;VALUE=DATE:20290301"),
		"unknown rule":           vevent("UID:a", "DTSTART:20270605T130000Z", "DURATION:PT1H", "RRULE:FREQ=SOMETIMES"),
		"line without a colon":   vevent("UID:a", "DTSTART;X=Y"),
		"two masters":            calendar("BEGIN:VEVENT", "UID:a", "DTSTART:20270605T130000Z", "END:VEVENT", "BEGIN:VEVENT", "UID:a", "DTSTART:20270605T130000Z", "END:VEVENT"),
		"nested without end":     strings.Repeat("BEGIN:VEVENT\r\n", 100_000),
		"zone with broken rules": calendar("BEGIN:VTIMEZONE", "TZID:Odd", "BEGIN:STANDARD", "DTSTART:x", "END:STANDARD", "END:VTIMEZONE", "BEGIN:VEVENT", "UID:a", "DTSTART;TZID=Odd:20270605T130000", "END:VEVENT"),
		"not a calendar":         "<html>",
		"nothing":                "",
	} {
		got, problems := changesOf(t, offline(t), data)
		if len(got) != 0 || len(problems) != 1 {
			t.Errorf("%s: %d changes, %d problems; want one problem", name, len(got), len(problems))
		}
	}
}

func TestTaskIsNoEntry(t *testing.T) {
	t.Parallel()
	got, problems := changesOf(t, offline(t), calendar("BEGIN:VTODO", "UID:a", "DTSTAMP:20270101T000000Z", "END:VTODO"))
	if len(got)+len(problems) != 0 {
		t.Errorf("%d changes, problems %v", len(got), problems)
	}
}

const series = "BEGIN:VEVENT\r\nUID:s\r\nDTSTAMP:20270101T000000Z\r\nSUMMARY:Choir\r\n" +
	"DTSTART;TZID=Europe/London:20270320T100000\r\nDTEND;TZID=Europe/London:20270320T110000\r\nRRULE:FREQ=WEEKLY;COUNT=5\r\n" +
	"EXDATE;TZID=Europe/London:20270403T100000\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:s\r\nDTSTAMP:20270101T000000Z\r\nSUMMARY:Choir in the barn\r\nRECURRENCE-ID:20270410T090000Z\r\n" +
	"DTSTART:20270411T120000Z\r\nDTEND:20270411T130000Z\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:s\r\nDTSTAMP:20270101T000000Z\r\nSTATUS:CANCELLED\r\nRECURRENCE-ID;TZID=Europe/London:20270417T100000\r\n" +
	"DTSTART;TZID=Europe/London:20270417T100000\r\nDTEND;TZID=Europe/London:20270417T110000\r\nEND:VEVENT"

func TestSeriesIsToldInstanceByInstance(t *testing.T) {
	t.Parallel()
	got, problems := changesOf(t, offline(t), calendar(series))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	lines := map[string]string{}
	for _, c := range got {
		id := strings.TrimPrefix(c.ExternalID, "/home/weddings/a.ics#")
		if c.Op == domain.OpRemove {
			lines[id] = "removed"
			continue
		}
		lines[id] = fmt.Sprintf("%s %s %s %s", c.When.Start.Format(time.RFC3339), c.Status, c.Details.Title, c.UID)
	}
	want := map[string]string{
		"20270320T100000": "2027-03-20T10:00:00Z confirmed Choir s#20270320T100000",
		"20270327T100000": "2027-03-27T10:00:00Z confirmed Choir s#20270327T100000",
		"20270403T100000": "removed",
		"20270410T100000": "2027-04-11T12:00:00Z confirmed Choir in the barn s#20270410T100000",
		"20270417T100000": "2027-04-17T09:00:00Z cancelled  s#20270417T100000",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInstanceIsReadByItsID(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	path := b.sim.PutEvent("weddings", "s.ics", calendar(series))
	page := pullAll(t, b.conn, "")
	for _, c := range page.Changes {
		read, err := b.conn.Read(t.Context(), c.ExternalID)
		if c.Op == domain.OpRemove {
			if domain.KindOf(err) != domain.KindNotFound {
				t.Errorf("%s: error %v, want KindNotFound", c.ExternalID, err)
			}
			continue
		}
		if err != nil || read.Hash() != c.Hash() {
			t.Errorf("%s: %v, %s", c.ExternalID, err, cmp.Diff(c, read))
		}
	}
	for _, id := range []string{path, path + "#20270321T100000", path + "#20270320"} {
		if _, err := b.conn.Read(t.Context(), id); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("%s: error %v, want KindNotFound: the resource does not hold it", id, err)
		}
	}
	if _, err := b.conn.Read(t.Context(), "/elsewhere/a.ics"); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a path outside the calendar: %v, want KindInvalid", err)
	}
}

func TestEndlessSeriesStaysInTheWindow(t *testing.T) {
	t.Parallel()
	c := offline(t)
	got, problems := changesOf(t, c, vevent("UID:a", "DTSTART;VALUE=DATE:20200101", "RRULE:FREQ=WEEKLY", "SUMMARY:x"))
	if len(problems) != 0 || len(got) < 100 || len(got) > 112 {
		t.Fatalf("%d instances in 760 days, problems %v", len(got), problems)
	}
	for _, ch := range got {
		if !ch.When.Span.Overlaps(c.window()) || ch.When.Kind != domain.TimeAllDay {
			t.Errorf("%s lies outside the window or is not all-day", ch.ExternalID)
		}
	}
	got, problems = changesOf(t, c, vevent("UID:a", "DTSTART:20200101T000000Z", "DURATION:PT1M", "RRULE:FREQ=HOURLY", "SUMMARY:x"))
	if len(got) != 0 || len(problems) != 1 {
		t.Errorf("a series of too many instances: %d changes, problems %v", len(got), problems)
	}
}

func TestOverrideForLaterInstancesDescribesThem(t *testing.T) {
	t.Parallel()
	got, problems := changesOf(t, offline(t), calendar(
		"BEGIN:VEVENT", "UID:s", "DTSTAMP:20270101T000000Z", "SUMMARY:Early", "DTSTART:20270301T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=4", "END:VEVENT",
		"BEGIN:VEVENT", "UID:s", "DTSTAMP:20270101T000000Z", "SUMMARY:Late", "RECURRENCE-ID;RANGE=THISANDFUTURE:20270303T100000Z", "DTSTART:20270303T120000Z", "DURATION:PT2H", "END:VEVENT"))
	if len(problems) != 0 || len(got) != 4 {
		t.Fatalf("%d changes, problems %v", len(got), problems)
	}
	for _, c := range got {
		day := c.When.Start.Day()
		if late := day >= 3; late != (c.Details.Title == "Late") || late != (c.When.Duration() == 2*time.Hour) {
			t.Errorf("the instance on day %d is %q for %s", day, c.Details.Title, c.When.Duration())
		}
	}
}

func TestListingLeavesOutWhatLiesOutsideTheWindowAndDeltaDoesNot(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	old := func(day string) string {
		return vevent("UID:old", "DTSTART:"+day+"T100000Z", "DURATION:PT1H", "SUMMARY:x")
	}
	b.sim.PutEvent("weddings", "old.ics", old("20200101"))
	page := pullAll(t, b.conn, "")
	if len(page.Changes) != 0 || !page.Complete {
		t.Fatalf("a listing with %d changes, complete %v", len(page.Changes), page.Complete)
	}
	id := b.sim.PutEvent("weddings", "old.ics", old("20200102"))
	byID(t, pullAll(t, b.conn, page.Next), id)
}

// A stored object has no METHOD, and there DTSTAMP means what LAST-MODIFIED means (RFC 5545, 3.8.7.2).
func TestTimeOfTheLastChangeIsTold(t *testing.T) {
	t.Parallel()
	at := func(day int) *time.Time { d := time.Date(2027, 1, day, 0, 0, 0, 0, time.UTC); return &d }
	event := func(lines string) string {
		return "BEGIN:VEVENT\r\nUID:a\r\nDTSTART:20270301T100000Z\r\nDURATION:PT1H\r\nSUMMARY:x\r\n" + lines + "\r\nEND:VEVENT"
	}
	for name, tc := range map[string]struct {
		data string
		want *time.Time
	}{
		"last modified":                    {calendar(event("DTSTAMP:20270101T000000Z\r\nLAST-MODIFIED:20270102T000000Z")), at(2)},
		"stamp alone":                      {calendar(event("DTSTAMP:20270101T000000Z")), at(1)},
		"stamp of something that was sent": {calendar("METHOD:REQUEST", event("DTSTAMP:20270101T000000Z")), nil},
		"modified in something sent":       {calendar("METHOD:REQUEST", event("DTSTAMP:20270101T000000Z\r\nLAST-MODIFIED:20270102T000000Z")), at(2)},
		"local time, which is not allowed": {calendar(event("DTSTAMP:20270101T000000Z\r\nLAST-MODIFIED:20270102T000000")), at(1)},
		"nothing that can be read":         {calendar(event("DTSTAMP:soon")), nil},
		"an instance of a series":          {calendar(event("DTSTAMP:20270101T000000Z\r\nRRULE:FREQ=DAILY;COUNT=1")), at(1)},
	} {
		got, problems := changesOf(t, offline(t), tc.data)
		if len(problems) != 0 || len(got) != 1 {
			t.Fatalf("%s: %d changes, problems %v", name, len(got), problems)
		}
		if c := got[0].ChangedAt; (c == nil) != (tc.want == nil) || c != nil && !c.Equal(*tc.want) {
			t.Errorf("%s: changed at %v", name, c)
		}
	}
}

func TestDuplicateOfOurCopyIsThePersonsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	done, err := b.conn.Put(t.Context(), write(1))
	if err != nil {
		t.Fatal(err)
	}
	data := b.sim.Events("weddings")[0].Data
	id := b.sim.PutEvent("weddings", "duplicate.ics", strings.ReplaceAll(data, "UID:"+uidOf(write(1).Key), "UID:another"))
	page := pullAll(t, b.conn, "")
	if got := byID(t, page, done.ExternalID); got.Origin != write(1).BookingID || got.Category != domain.CategoryWedding {
		t.Errorf("our copy has origin %q and category %q", got.Origin, got.Category)
	}
	if got := byID(t, page, id); got.Origin != "" || got.CopyOf != write(1).BookingID || got.Category != domain.CategoryPersonal {
		t.Errorf("a person's duplicate has origin %q and category %q", got.Origin, got.Category)
	}
}

func TestEveryCopyReadsBackAsItWasWished(t *testing.T) {
	t.Parallel()
	c := offline(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := write(rapid.IntRange(0, 1000).Draw(rt, "n"))
		text := rapid.StringMatching(`[a-zA-Z ,;:\\"\n\tßé→𝄞-]{0,200}`)
		w.Details = domain.Details{Title: cut(text.Draw(rt, "title"), 500), Location: cut(text.Draw(rt, "location"), 500),
			Notes: text.Draw(rt, "notes"), Contact: cut(text.Draw(rt, "contact"), 500)}
		w.When.Start = w.When.Start.Add(time.Duration(rapid.IntRange(0, 1e6).Draw(rt, "start")) * time.Second)
		w.When.End = w.When.Start.Add(time.Duration(rapid.IntRange(1, 1e6).Draw(rt, "length")) * time.Second)
		w.Status = rapid.SampledFrom([]domain.BookingStatus{domain.StatusConfirmed, domain.StatusTentative, domain.StatusCancelled}).Draw(rt, "status")
		w.Category = rapid.SampledFrom(domain.Categories()).Draw(rt, "category")
		body, err := c.compose(w)
		if err != nil {
			rt.Fatal(err)
		}
		for _, l := range strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n") {
			if len(l) > 75 {
				rt.Fatalf("a line of %d bytes", len(l))
			}
		}
		got, err := c.single("/home/weddings/a.ics", "", body)
		if err != nil {
			rt.Fatal(err)
		}
		title := ical.Clean(w.Details.Title)
		if title == "" {
			title = "Busy"
		}
		want := domain.Details{Title: title, Location: ical.Clean(w.Details.Location), Notes: ical.Clean(w.Details.Notes), Contact: ical.Clean(w.Details.Contact)}
		if diff := cmp.Diff(want, got.Details); diff != "" {
			rt.Fatalf("texts (-want +got):\n%s", diff)
		}
		if !got.When.Start.Equal(w.When.Start) || !got.When.End.Equal(w.When.End) || got.Status != w.Status || got.Category != w.Category || got.Origin != w.BookingID {
			rt.Fatalf("wished %+v, read %+v", w, got)
		}
	})
}

func FuzzResourceNeverPanics(f *testing.F) {
	f.Add(calendar(series))
	f.Add(vevent("UID:a", "DTSTART;VALUE=DATE:20270605", "RDATE;VALUE=PERIOD:20270607T100000Z/PT1H,20270608T100000Z/20270608T110000Z"))
	f.Add("BEGIN:VCALENDAR\nA;B=\"\nEND:VCALENDAR")
	f.Add("BEGIN:VCALENDAR\nA;B=C")
	c := offline(f)
	f.Fuzz(func(t *testing.T, data string) {
		changes, _ := changesOf(t, c, data)
		for _, ch := range changes {
			if err := ch.Validate(); err != nil {
				t.Errorf("an invalid change: %v", err)
			}
		}
	})
}
