package outlook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

// mapped reads a JSON object over an ordinary event.
func mapped(t testing.TB, over string) (domain.Change, error) {
	t.Helper()
	e := event{ID: "id1", ETag: `W/"1"`, Type: "singleInstance", ShowAs: "busy", Sensitivity: "normal", LastModified: "2027-02-01T10:00:00.1234567Z",
		Start: &dateTime{"2027-03-10T10:00:00.0000000", "UTC"}, End: &dateTime{"2027-03-10T11:00:00.0000000", "UTC"}}
	if err := json.Unmarshal([]byte(over), &e); err != nil {
		t.Fatal(err)
	}
	return mapper().change(e)
}

func mapper() *connection {
	loc, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		panic(err)
	}
	s, err := parseSettings(json.RawMessage(`{"category_rules":[{"category":"wedding","contains":["bride"]}]}`))
	if err != nil {
		panic(err)
	}
	return &connection{settings: s, local: loc, now: func() time.Time { return providertest.Now }}
}

func TestTimeOfTheLastChangeIsTold(t *testing.T) {
	t.Parallel()
	for over, want := range map[string]time.Time{
		`{}`: time.Date(2027, 2, 1, 10, 0, 0, 123456700, time.UTC),
		`{"lastModifiedDateTime":"2027-02-03T12:00:00+02:00"}`: time.Date(2027, 2, 3, 10, 0, 0, 0, time.UTC),
		`{"lastModifiedDateTime":""}`:                          {},
	} {
		c, err := mapped(t, over)
		if err != nil || (c.ChangedAt == nil) != want.IsZero() || c.ChangedAt != nil && !c.ChangedAt.Equal(want) {
			t.Errorf("%s: changed at %v, %v", over, c.ChangedAt, err)
		}
	}
	// What an occurrence in a delta says changes with its series.
	master := event{LastModified: "2027-02-03T12:00:00Z"}
	if at := (event{ID: "o"}).hydrated(master).changedAt(); at == nil || at.Day() != 3 {
		t.Errorf("an occurrence was changed at %v", at)
	}
}

func TestWordsOfGraphBecomeOurs(t *testing.T) {
	t.Parallel()
	type words struct {
		Status                  domain.BookingStatus
		Free, Declined, Private bool
		Kind                    string
		Category                domain.Category
	}
	for over, want := range map[string]words{
		`{}`:                            {Status: "confirmed", Category: "personal"},
		`{"showAs":"free"}`:             {Status: "confirmed", Free: true, Category: "personal"},
		`{"showAs":"tentative"}`:        {Status: "tentative", Category: "personal"},
		`{"showAs":"oof"}`:              {Status: "confirmed", Kind: "out_of_office", Category: "personal"},
		`{"showAs":"workingElsewhere"}`: {Status: "confirmed", Free: true, Kind: "working_location", Category: "personal"},
		`{"showAs":"unknown"}`:          {Status: "confirmed", Category: "personal"},
		`{"isCancelled":true}`:          {Status: "cancelled", Category: "personal"},
		`{"responseStatus":{"response":"declined"}}`: {Status: "confirmed", Free: true, Declined: true, Category: "personal"},
		`{"responseStatus":{"response":"accepted"}}`: {Status: "confirmed", Category: "personal"},
		`{"sensitivity":"private"}`:                  {Status: "confirmed", Private: true, Category: "personal"},
		`{"sensitivity":"personal"}`:                 {Status: "confirmed", Private: true, Category: "personal"},
		`{"sensitivity":"confidential"}`:             {Status: "confirmed", Private: true, Category: "personal"},
		`{"subject":"The BRIDE arrives"}`:            {Status: "confirmed", Category: "wedding"},
		`{"categories":["Bridesmaids"]}`:             {Status: "confirmed", Category: "wedding"},
	} {
		c, err := mapped(t, over)
		if err != nil {
			t.Errorf("%s: %v", over, err)
			continue
		}
		if diff := cmp.Diff(want, words{c.Status, c.Free, c.Declined, c.Private, c.Kind, c.Category}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", over, diff)
		}
	}
}

func TestTimesAreReadInTheirZoneOrNotAtAll(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		over       string
		start, end string // "" = refused
		zone       string
		kind       domain.TimeKind
		free       bool
	}{
		"UTC": {over: `{}`, start: "2027-03-10T10:00:00Z", end: "2027-03-10T11:00:00Z", zone: "UTC", kind: "zoned"},
		"author's zone is kept": {over: `{"originalStartTimeZone":"Romance Standard Time"}`,
			start: "2027-03-10T10:00:00Z", end: "2027-03-10T11:00:00Z", zone: "Europe/Paris", kind: "zoned"},
		"author's own zone has no name": {over: `{"originalStartTimeZone":"tzone://Microsoft/Custom"}`,
			start: "2027-03-10T10:00:00Z", end: "2027-03-10T11:00:00Z", zone: "UTC", kind: "zoned"},
		"answer in a Windows zone": {over: `{"start":{"dateTime":"2027-07-10T10:00:00.0000000","timeZone":"W. Europe Standard Time"},"end":{"dateTime":"2027-07-10T11:00:00.0000000","timeZone":"W. Europe Standard Time"}}`,
			start: "2027-07-10T08:00:00Z", end: "2027-07-10T09:00:00Z", zone: "UTC", kind: "zoned"},
		// Peers read these as the zone of their server.
		"no zone":             {over: `{"start":{"dateTime":"2027-06-06T15:00:00.0000000"}}`},
		"unknown zone":        {over: `{"start":{"dateTime":"2027-06-06T15:00:00.0000000","timeZone":"Middle-earth Standard Time"}}`},
		"zone of an old file": {over: `{"start":{"dateTime":"2027-06-06T15:00:00.0000000","timeZone":"tzone://Microsoft/Custom"}}`},
		"no start":            {over: `{"start":null}`},
		"no clock":            {over: `{"start":{"dateTime":"tomorrow","timeZone":"UTC"}}`},
		"end before start":    {over: `{"end":{"dateTime":"2027-03-10T09:00:00.0000000","timeZone":"UTC"}}`},
		"takes no time": {over: `{"end":{"dateTime":"2027-03-10T10:00:00.0000000","timeZone":"UTC"}}`,
			start: "2027-03-10T10:00:00Z", end: "2027-03-10T10:01:00Z", zone: "UTC", kind: "zoned", free: true},
		"all day, two days in the resource's zone": {over: `{"isAllDay":true,"start":{"dateTime":"2027-03-27T00:00:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2027-03-29T00:00:00.0000000","timeZone":"UTC"}}`,
			start: "2027-03-27T00:00:00Z", end: "2027-03-28T23:00:00Z", zone: "Europe/London", kind: "all_day"},
		"all day, zones are noise": {over: `{"isAllDay":true,"originalStartTimeZone":"Tonga Standard Time","start":{"dateTime":"2027-07-01T00:00:00.0000000","timeZone":"no such zone"},"end":{"dateTime":"2027-07-02T00:00:00.0000000","timeZone":"Hawaiian Standard Time"}}`,
			start: "2027-06-30T23:00:00Z", end: "2027-07-01T23:00:00Z", zone: "Europe/London", kind: "all_day"},
		"all day, end missing its day": {over: `{"isAllDay":true,"start":{"dateTime":"2027-07-01T00:00:00.0000000"},"end":{"dateTime":"2027-07-01T00:00:00.0000000"}}`,
			start: "2027-06-30T23:00:00Z", end: "2027-07-01T23:00:00Z", zone: "Europe/London", kind: "all_day"},
	} {
		got, err := mapped(t, c.over)
		if c.start == "" {
			if domain.KindOf(err) != domain.KindInvalid {
				t.Errorf("%s: %v, error %v, want KindInvalid", name, got.When, err)
			}
			continue
		}
		want := domain.When{Span: domain.Span{Start: at(c.start), End: at(c.end)}, Zone: c.zone, Kind: c.kind}
		if err != nil || !got.When.Equal(want) || got.Free != c.free {
			t.Errorf("%s: %#v, free %v, %v, want %#v", name, got.When, got.Free, err, want)
		}
	}
}

func TestCancelledEventNeedsNoTimes(t *testing.T) {
	t.Parallel()
	c, err := mapped(t, `{"isCancelled":true,"start":null,"end":null}`)
	if err != nil || c.Status != domain.StatusCancelled {
		t.Errorf("status %s, %v", c.Status, err)
	}
}

func TestNullTextsAreRead(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	e := tasting()
	e.NoText = true
	id := b.sim.Add("Calendar", e)
	page := pullAll(t, b.conn, "")
	if c := byID(t, page, id); c.Details != (domain.Details{}) || c.UID != "" || len(page.Problems) != 0 {
		t.Errorf("an event without texts reads as %+v, uid %q, problems %v", c.Details, c.UID, page.Problems)
	}
}

func TestLongTextsAreCutAtACharacter(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 20_000)
	c, err := mapped(t, fmt.Sprintf(`{"subject":%q,"body":{"contentType":"text","content":%q},"categories":[%q]}`, long, long, long))
	if err != nil || len(c.Details.Title) != domain.MaxTitle || len(c.Details.Notes) != domain.MaxNotes || len(c.Labels[0]) != domain.MaxLabel {
		t.Errorf("title %d, notes %d bytes, %v", len(c.Details.Title), len(c.Details.Notes), err)
	}
}

func TestMarkupNeverBecomesNotes(t *testing.T) {
	t.Parallel()
	c, err := mapped(t, `{"body":{"contentType":"html","content":"<html><b>Bring</b></html>"},"bodyPreview":"Bring\r\n"}`)
	if err != nil || c.Details.Notes != "Bring" {
		t.Errorf("notes %q, %v", c.Details.Notes, err)
	}
}

func TestEventThatCannotBeReadIsAProblemAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	bad := tasting()
	bad.End = bad.End.AddDate(2, 0, 0) // longer than any booking
	badID, goodID := b.sim.Add("Calendar", bad), b.sim.Add("Calendar", tasting())
	page := pullAll(t, b.conn, "")
	byID(t, page, goodID)
	if len(page.Problems) != 1 || page.Problems[0].ExternalID != badID || strings.Contains(page.Problems[0].Err.Error(), "Tasting") {
		t.Errorf("problems %v", page.Problems)
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(`{"id":"a","type":"singleInstance","start":{"dateTime":"2027-03-10T10:00:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2027-03-10T11:00:00.0000000","timeZone":"UTC"}}`)
	f.Add(`{"id":"a","isAllDay":true,"start":{"dateTime":"0000-00-00T00:00:00"},"end":{"dateTime":"9999-12-31T00:00:00"}}`)
	f.Add(`{"id":"a","@removed":{"reason":"deleted"}}`)
	f.Add(`{"id":"a","type":"occurrence","seriesMasterId":"m","categories":["x"],"singleValueExtendedProperties":[{"id":"` + originProperty + `","value":"a/b/c/d"}]}`)
	c := mapper()
	f.Fuzz(func(t *testing.T, text string) {
		var e event
		if json.Unmarshal([]byte(text), &e) != nil {
			return
		}
		ch, err := c.change(e)
		if err == nil {
			if err := ch.Validate(); err != nil {
				t.Fatalf("an invalid change without error: %v", err)
			}
		} else if domain.KindOf(err) != domain.KindInvalid {
			t.Fatalf("error of kind %q: %v", domain.KindOf(err), err)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{"tenant":"a b"}`:                                "settings.tenant",
		`{"tenant":"../evil"}`:                            "settings.tenant",
		`{"cloud":"moon"}`:                                "settings.cloud",
		`{"graph_url":"https://graph.example.net/v1.0"}`:  "settings.graph_url",
		`{"graph_url":"http://127.0.0.1@evil.example/x"}`: "settings.graph_url",
		`{"login_url":"ftp://localhost"}`:                 "settings.login_url",
		`{"window_future_days":0}`:                        "settings.window_future_days",
		`{"window_past_days":901}`:                        "settings.window_past_days",
		`{"category_default":"party"}`:                    "settings.category_default",
		`{"category_rules":[{"category":"wedding"}]}`:     "settings.category_rules[0].contains",
		`{"calendar":7}`:                                  "settings.calendar",
	} {
		if err := validate(json.RawMessage(raw), nil); domain.FieldOf(err) != field {
			t.Errorf("%s: %v, want an error on %s", raw, err, field)
		}
	}
	for _, raw := range []string{`{}`, `{"tenant":"contoso.onmicrosoft.com","cloud":"china"}`, `{"graph_url":"http://127.0.0.1:8080/v1.0","login_url":"http://localhost:1"}`} {
		if err := validate(json.RawMessage(raw), nil); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestGrantAsksForTheLeast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw    string
		writes bool
		auth   string
		scope  string
	}{
		{`{}`, false, "https://login.microsoftonline.com/common/oauth2/v2.0/authorize", "https://graph.microsoft.com/Calendars.Read"},
		{`{"tenant":"organizations"}`, true, "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize", "https://graph.microsoft.com/Calendars.ReadWrite"},
		{`{"cloud":"us_gov"}`, false, "https://login.microsoftonline.us/common/oauth2/v2.0/authorize", "https://graph.microsoft.us/Calendars.Read"},
	} {
		got, err := Registration.OAuth(json.RawMessage(c.raw), c.writes)
		if err != nil || got.AuthURL != c.auth || got.TokenURL != strings.TrimSuffix(c.auth, "authorize")+"token" {
			t.Errorf("%s: %s, %s, %v", c.raw, got.AuthURL, got.TokenURL, err)
		}
		if diff := cmp.Diff([]string{"offline_access", c.scope}, got.Scopes); diff != "" {
			t.Errorf("%s: scopes (-want +got):\n%s", c.raw, diff)
		}
	}
	if _, err := Registration.OAuth(json.RawMessage(`{"tenant":"/"}`), false); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a wrong tenant: %v", err)
	}
}
