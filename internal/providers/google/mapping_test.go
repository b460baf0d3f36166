package google

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// reader is a connection that reads events and goes nowhere.
func reader(t testing.TB, zone string, s settings) *connection {
	t.Helper()
	loc, err := calendartime.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	return &connection{settings: s, local: loc, now: func() time.Time { return providertest.Now }}
}

func parse(t testing.TB, raw string) *calendar.Event {
	t.Helper()
	ev := &calendar.Event{}
	if err := json.Unmarshal([]byte(raw), ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

const hour = `"start":{"dateTime":"2027-03-02T10:00:00Z"},"end":{"dateTime":"2027-03-02T11:00:00Z"}`

func TestTimeOfTheLastEditIsTold(t *testing.T) {
	t.Parallel()
	c := reader(t, providertest.Zone, settings{})
	edited := time.Date(2027, 2, 1, 10, 0, 0, 123e6, time.UTC)
	for raw, want := range map[string]*time.Time{
		`{"id":"a","updated":"2027-02-01T11:00:00.123+01:00",` + hour + `}`:    &edited,
		`{"id":"a","updated":"2027-02-01T10:00:00.123Z","status":"cancelled"}`: &edited,
		`{"id":"a",` + hour + `}`:                       nil,
		`{"id":"a","updated":"yesterday",` + hour + `}`: nil,
	} {
		ch, err := c.change(parse(t, raw))
		if err != nil || (ch.ChangedAt == nil) != (want == nil) || want != nil && !ch.ChangedAt.Equal(*want) {
			t.Errorf("%s: changed at %v, %v", raw, ch.ChangedAt, err)
		}
	}
}

func TestWhatBlocksAndWhatDoesNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields   string
		settings settings
		kind     string
		free     bool
		declined bool
		status   domain.BookingStatus
	}{
		"ordinary":             {status: domain.StatusConfirmed},
		"default type":         {fields: `"eventType":"default"`, status: domain.StatusConfirmed},
		"marked as free":       {fields: `"transparency":"transparent"`, free: true, status: domain.StatusConfirmed},
		"tentative":            {fields: `"status":"tentative"`, status: domain.StatusTentative},
		"working location":     {fields: `"eventType":"workingLocation"`, kind: "working_location", free: true, status: domain.StatusConfirmed},
		"birthday":             {fields: `"eventType":"birthday"`, kind: "birthday", free: true, status: domain.StatusConfirmed},
		"out of office":        {fields: `"eventType":"outOfOffice","transparency":"transparent"`, kind: "out_of_office", status: domain.StatusConfirmed},
		"focus time":           {fields: `"eventType":"focusTime"`, kind: "focus_time", status: domain.StatusConfirmed},
		"focus time set free":  {fields: `"eventType":"focusTime"`, settings: settings{FocusTimeFree: true}, kind: "focus_time", free: true, status: domain.StatusConfirmed},
		"from a mail":          {fields: `"eventType":"fromGmail"`, kind: "from_mail", status: domain.StatusConfirmed},
		"of a later type":      {fields: `"eventType":"somethingNew"`, kind: "somethingNew", status: domain.StatusConfirmed},
		"declined":             {fields: `"attendees":[{"self":true,"responseStatus":"declined"}]`, free: true, declined: true, status: domain.StatusConfirmed},
		"declined by others":   {fields: `"attendees":[{"responseStatus":"declined"}]`, status: domain.StatusConfirmed},
		"not answered":         {fields: `"attendees":[{"self":true,"responseStatus":"needsAction"}]`, status: domain.StatusTentative},
		"answered with maybe":  {fields: `"attendees":[{"self":true,"responseStatus":"tentative"}]`, status: domain.StatusTentative},
		"answered with yes":    {fields: `"attendees":[{"self":true,"responseStatus":"accepted"}]`, status: domain.StatusConfirmed},
		"declined out of work": {fields: `"eventType":"outOfOffice","attendees":[{"self":true,"responseStatus":"declined"}]`, kind: "out_of_office", free: true, declined: true, status: domain.StatusConfirmed},
	} {
		if c.fields != "" {
			c.fields = "," + c.fields
		}
		ch, err := reader(t, "Europe/London", c.settings).change(parse(t, `{"id":"abcde",`+hour+c.fields+`}`))
		if err != nil || ch.Kind != c.kind || ch.Free != c.free || ch.Declined != c.declined || ch.Status != c.status || ch.Validate() != nil {
			t.Errorf("%s: kind %q, free %v, declined %v, %s, %v", name, ch.Kind, ch.Free, ch.Declined, ch.Status, err)
		}
	}
}

func TestPrivateEntriesAreMarkedAndColoursAreLabels(t *testing.T) {
	t.Parallel()
	c := reader(t, "UTC", settings{CategoryRules: []categoryRule{{Category: domain.CategoryWedding, Contains: []string{"tomato"}}}})
	for _, v := range []struct {
		visibility string
		private    bool
	}{{"default", false}, {"public", false}, {"private", true}, {"confidential", true}} {
		ch, err := c.change(parse(t, `{"id":"abcde",`+hour+`,"visibility":"`+v.visibility+`","colorId":"11","eventLabelId":"x-1"}`))
		if err != nil || ch.Private != v.private {
			t.Errorf("%s: private %v, %v", v.visibility, ch.Private, err)
		}
		if strings.Join(ch.Labels, "|") != "Tomato|label x-1" || ch.Category != domain.CategoryWedding {
			t.Errorf("labels %q, category %s", ch.Labels, ch.Category)
		}
	}
	ch, err := c.change(parse(t, `{"id":"abcde",`+hour+`,"colorId":"77"}`))
	if err != nil || strings.Join(ch.Labels, "|") != "colour 77" {
		t.Errorf("labels %q, %v", ch.Labels, err)
	}
}

func TestAllDayIsADateOfTheZoneOfTheResource(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, first, end, from, to string }{
		{"UTC", "2027-06-05", "2027-06-06", "2027-06-05T00:00:00Z", "2027-06-06T00:00:00Z"},
		{"Europe/London", "2027-03-28", "2027-03-29", "2027-03-28T00:00:00Z", "2027-03-28T23:00:00Z"},
		{"America/New_York", "2027-11-07", "2027-11-08", "2027-11-07T04:00:00Z", "2027-11-08T05:00:00Z"},
		{"Australia/Sydney", "2027-01-01", "2027-01-03", "2026-12-31T13:00:00Z", "2027-01-02T13:00:00Z"},
		{"Pacific/Kiritimati", "2027-01-01", "2027-01-01", "2026-12-31T10:00:00Z", "2027-01-01T10:00:00Z"}, // no length: one day
	} {
		ch, err := reader(t, c.zone, settings{}).change(parse(t, `{"id":"abcde","start":{"date":"`+c.first+`","timeZone":"Asia/Tokyo"},"end":{"date":"`+c.end+`"}}`))
		if err != nil || ch.When.Kind != domain.TimeAllDay || ch.When.Zone != c.zone {
			t.Errorf("%s: %#v, %v", c.zone, ch.When, err)
			continue
		}
		if from, to := ch.When.Start.UTC().Format(time.RFC3339), ch.When.End.UTC().Format(time.RFC3339); from != c.from || to != c.to {
			t.Errorf("%s: %s to %s, want %s to %s", c.zone, from, to, c.from, c.to)
		}
		start, end := reader(t, c.zone, settings{}).times(ch.When)
		if start.Date != c.first || c.first != c.end && end.Date != c.end {
			t.Errorf("%s: written back as %s to %s", c.zone, start.Date, end.Date)
		}
	}
}

func TestTimesKeepTheirInstantAndZone(t *testing.T) {
	t.Parallel()
	c := reader(t, "Europe/London", settings{})
	ch, err := c.change(parse(t, `{"id":"abcde","start":{"dateTime":"2027-11-07T01:30:00-05:00","timeZone":"America/New_York"},"end":{"dateTime":"2027-11-07T03:00:00-05:00","timeZone":"America/New_York"}}`))
	if err != nil || ch.When.Start.UTC().Format(time.RFC3339) != "2027-11-07T06:30:00Z" || ch.When.Zone != "America/New_York" || ch.When.Kind != domain.TimeZoned {
		t.Errorf("%#v, %v", ch.When, err)
	}
	point, err := c.change(parse(t, `{"id":"abcde","start":{"dateTime":"2027-03-02T10:00:00Z"},"end":{"dateTime":"2027-03-02T10:00:00Z"}}`))
	if err != nil || !point.Free || point.When.Duration() != time.Minute {
		t.Errorf("an entry without length: free %v, %s, %v", point.Free, point.When.Duration(), err)
	}
}

func TestEntryThatCannotBeReadIsAProblemAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	c := reader(t, "UTC", settings{})
	items := []*calendar.Event{
		parse(t, `{"id":"nostart"}`),
		parse(t, `{"id":"garbled","start":{"dateTime":"noon"},"end":{"dateTime":"later"}}`),
		parse(t, `{"id":"mixed","start":{"date":"2027-03-02"},"end":{"dateTime":"2027-03-02T11:00:00Z"}}`),
		parse(t, `{"id":"endless","start":{"date":"2020-03-02"},"end":{"date":"2027-04-02"}}`),
		parse(t, `{"id":"fine",`+hour+`}`),
		parse(t, `{"id":"`+strings.Repeat("a", 600)+`",`+hour+`}`),
	}
	page, err := c.page(items, c.startCursor())
	if err != nil || len(page.Changes) != 1 || page.Changes[0].ExternalID != "fine" || len(page.Problems) != 5 {
		t.Fatalf("%d changes, %d problems, %v", len(page.Changes), len(page.Problems), err)
	}
	for _, p := range page.Problems {
		if len(p.ExternalID) > domain.MaxExternalID {
			t.Error("the id of a problem is too long to keep")
		}
	}
	if _, err := c.page([]*calendar.Event{{}}, c.startCursor()); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("an entry without an id: %v", err)
	}
}

func TestLongTextsAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	ch, err := reader(t, "UTC", settings{}).change(&calendar.Event{Id: "abcde", Summary: strings.Repeat("é", 400), Description: strings.Repeat("日", 8000),
		Start: &calendar.EventDateTime{DateTime: "2027-03-02T10:00:00Z"}, End: &calendar.EventDateTime{DateTime: "2027-03-02T11:00:00Z"}})
	if err != nil || ch.Validate() != nil || !strings.HasSuffix(ch.Details.Title, "é…") || !strings.HasSuffix(ch.Details.Notes, "日…") {
		t.Errorf("%v, %v", ch.Validate(), err)
	}
}

func FuzzChange(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"id":"abcde","status":"cancelled"}`, `{"id":"abcde",` + hour + `}`, `{"id":"a_20270101","start":{"date":"2027-01-01"},"end":{"date":"2027-01-02"},"recurringEventId":"a"}`,
		`{"id":"abcde","start":{"date":"9999-12-31"},"end":{"date":"0001-01-01"}}`, `{"id":"abcde","extendedProperties":{"private":{"wedsyncBooking":"x"}},` + hour + `}`,
		`{"id":"abcde","attendees":[null,{"self":true}],"colorId":"\u0000",` + hour + `}`,
	} {
		f.Add(seed)
	}
	c := reader(f, "America/New_York", settings{})
	f.Fuzz(func(t *testing.T, raw string) {
		ev := &calendar.Event{}
		if json.Unmarshal([]byte(raw), ev) != nil || ev.Id == "" {
			return
		}
		page, err := c.page([]*calendar.Event{ev}, c.startCursor())
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range page.Changes {
			if err := ch.Validate(); err != nil {
				t.Errorf("an invalid change: %v", err)
			}
			if ch.Origin != "" {
				if _, ok := readMarker(ev); !ok {
					t.Error("an origin without a marker")
				}
			}
		}
	})
}
