package honeybook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// said is a change in a line: op, id, category, status, kind and time.
func said(c domain.Change) string {
	if c.Op == domain.OpRemove {
		return "remove " + c.ExternalID
	}
	out := fmt.Sprintf("%s %s %s", c.ExternalID, c.Category, c.Status)
	if c.When.Start.IsZero() {
		return out
	}
	return out + fmt.Sprintf(" %s %s to %s", c.When.Kind, c.When.Start.UTC().Format("2006-01-02T15:04"), c.When.End.UTC().Format("2006-01-02T15:04"))
}

const (
	wholeDay = "all_day 2027-06-04T23:00 to 2027-06-05T23:00" // 5 June in London
	named    = `"project_id":"7","project_name":"Marigold"`
)

func TestEachTriggerBecomesWhatItSays(t *testing.T) {
	t.Parallel()
	src := source(t, `{}`)
	for name, c := range map[string]struct{ body, want string }{
		"booked":                        {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, US date":               {`{"trigger":"New Project Booked",` + named + `,"project_date":"6/5/2027"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, date in words":         {`{"trigger":"project_booked",` + named + `,"project_date":"June 5, 2027"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, midnight in UTC":       {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05T00:00:00.000Z"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, midnight elsewhere":    {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05T00:00:00-07:00"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, our midnight in UTC":   {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-04T23:00:00Z"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, two days":              {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05","project_end_date":"06/06/2027"}`, "project/7 wedding confirmed all_day 2027-06-04T23:00 to 2027-06-06T23:00"},
		"booked, with hours":            {`{"trigger":"project_booked",` + named + `,"project_start":"6/5/2027 2:00 PM","project_end":"6/5/2027 10:30 PM"}`, "project/7 wedding confirmed floating 2027-06-05T13:00 to 2027-06-05T21:30"},
		"booked, start alone":           {`{"trigger":"project_booked",` + named + `,"project_start":"2027-06-05T14:00"}`, "project/7 wedding confirmed floating 2027-06-05T13:00 to 2027-06-05T21:00"},
		"booked, an id that is number":  {`{"trigger":"project_booked","project_id":7,"project_name":null,"project_date":"2027-06-05"}`, "project/7 wedding confirmed " + wholeDay},
		"booked, engagement":            {`{"trigger":"project_booked",` + named + `,"project_type":"Engagement session","project_date":"2027-06-05"}`, "project/7 engagement confirmed " + wholeDay},
		"enquiry with a date":           {`{"trigger":"inquiry",` + named + `,"project_date":"2027-06-05"}`, "project/7 wedding tentative " + wholeDay},
		"enquiry without one":           {`{"trigger":"New Inquiry",` + named + `}`, "the mapping of inquiry leaves it alone"},
		"client":                        {`{"trigger":"Client Created","client_full_name":"Quillfeather"}`, "the mapping of client_created leaves it alone"},
		"payment":                       {`{"trigger":"New Payment Paid",` + named + `,"project_date":"2027-06-05","payment_amount":100}`, "project/7 wedding confirmed " + wholeDay},
		"thin payment":                  {`{"trigger":"payment_paid","project_id":"7","payment_amount":100}`, "the mapping of payment_paid leaves it alone"},
		"stage that books":              {`{"trigger":"Project Stage Changed",` + named + `,"project_date":"2027-06-05","stage":"Retainer Paid"}`, "project/7 wedding confirmed " + wholeDay},
		"stage before":                  {`{"trigger":"stage_changed",` + named + `,"project_date":"2027-06-05","stage":"Proposal Sent"}`, "project/7 wedding tentative " + wholeDay},
		"stage that ends":               {`{"trigger":"stage_changed","project_id":"7","stage":"Cancelled"}`, "project/7 wedding cancelled"},
		"stage of their own":            {`{"trigger":"stage_changed",` + named + `,"project_date":"2027-06-05","stage":"Shoot week"}`, "the mapping of stage_changed leaves it alone"},
		"thin stage":                    {`{"trigger":"stage_changed","project_id":"7","stage":"Booked"}`, "the mapping of stage_changed leaves it alone"},
		"meeting":                       {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_start":"2027-06-05T14:00:00+02:00"}`, "meeting/m1 consultation confirmed zoned 2027-06-05T12:00 to 2027-06-05T13:00"},
		"meeting in another zone":       {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_start":"2027-06-05 14:00","meeting_end":"2027-06-05 14:45","meeting_zone":"America/New_York"}`, "meeting/m1 consultation confirmed zoned 2027-06-05T18:00 to 2027-06-05T18:45"},
		"meeting that is off":           {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_status":"Canceled"}`, "meeting/m1 consultation cancelled"},
		"meeting of a day":              {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_start":"2027-06-05"}`, "meeting/m1 consultation confirmed " + wholeDay},
		"meeting where clocks go ahead": {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_start":"2027-03-28T01:30","meeting_end":"2027-03-28T03:00"}`, "meeting/m1 consultation confirmed floating 2027-03-28T01:30 to 2027-03-28T02:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := src.Decode(t.Context(), jsonPost(c.body))
			if err != nil {
				t.Fatal(err)
			}
			text := got.Ignore
			for _, change := range got.Changes {
				text += said(change)
			}
			if text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if i := strings.IndexByte(got.EventType, ' '); i >= 0 || got.EventType == "" {
				t.Errorf("the event type is %q, want the trigger's name", got.EventType)
			}
		})
	}
}

func TestWhatCannotBeUnderstoodWaitsForAPersonAndQuotesNothing(t *testing.T) {
	t.Parallel()
	src := source(t, `{}`)
	for name, c := range map[string]struct{ body, want string }{
		"no trigger":               {`{"project_id":"7"}`, "trigger: has no value"},
		"another trigger":          {`{"trigger":"Marigold"}`, "trigger: must be one of inquiry, client_created"},
		"booked without date":      {`{"trigger":"project_booked",` + named + `}`, "start: has no value"},
		"booked without name":      {`{"trigger":"project_booked","client_email":"marigold@example.com","project_date":"2027-06-05"}`, "external_id: has no value"},
		"date of no kind":          {`{"trigger":"project_booked",` + named + `,"project_date":"Marigold"}`, "start: read_day: the text is no date or time in a usual notation"},
		"month 13":                 {`{"trigger":"project_booked",` + named + `,"project_date":"13/5/2027"}`, "start: read_day: "},
		"day and another clock":    {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05T15:00:00Z"}`, "start: an all-day entry needs a date as text"},
		"end before start":         {`{"trigger":"project_booked",` + named + `,"project_date":"2027-06-05","project_end_date":"2027-06-01"}`, "end: must not be before start"},
		"field that is a list":     {`{"trigger":"project_booked","project_id":["Marigold"],"project_date":"2027-06-05"}`, "external_id: text: the value is a list or an object"},
		"meeting without a start":  {`{"trigger":"meeting_scheduled","meeting_id":"m1"}`, "start: has no value"},
		"zone that does not exist": {`{"trigger":"meeting_scheduled","meeting_id":"m1","meeting_start":"2027-06-05T14:00","meeting_zone":"Marigold/Barn"}`, "zone"},
		"a list":                   {`[{"trigger":"inquiry"}]`, "event_type: "},
		"trigger twice":            {`{"trigger":"inquiry","trigger":"client_created"}`, "body: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := src.Decode(t.Context(), jsonPost(c.body))
			if domain.KindOf(err) != domain.KindInvalid || len(got.Changes) != 0 {
				t.Fatalf("%d changes and error %v, want KindInvalid", len(got.Changes), err)
			}
			if !strings.HasPrefix(err.Error(), c.want) || strings.Contains(strings.ToLower(err.Error()), "marigold") {
				t.Errorf("error %q, want it to begin with %q and to quote nothing", err, c.want)
			}
		})
	}
}

func TestOneProjectIsOneEntryInEveryTrigger(t *testing.T) {
	t.Parallel()
	src := source(t, `{}`)
	ids := map[string]bool{}
	for _, trigger := range []string{"inquiry", "project_booked", "payment_paid"} {
		for _, who := range []string{`"project_name":"Marigold & Co","client_email":"A@example.com"`, `"project_name":"marigold & co ","client_email":" a@EXAMPLE.com"`} {
			got, err := src.Decode(t.Context(), jsonPost(`{"trigger":"`+trigger+`",`+who+`,"project_date":"2027-06-05"}`))
			if err != nil || len(got.Changes) != 1 {
				t.Fatal(got, err)
			}
			ids[got.Changes[0].ExternalID] = true
		}
	}
	other, err := src.Decode(t.Context(), jsonPost(`{"trigger":"inquiry","project_name":"Another","client_email":"a@example.com","project_date":"2027-06-05"}`))
	if err != nil || len(ids) != 1 || ids[other.Changes[0].ExternalID] {
		t.Errorf("ids %v, and of another project %+v, %v", ids, other, err)
	}
	for id := range ids {
		if !strings.HasPrefix(id, "project/") || strings.Contains(id, "@") || strings.Contains(strings.ToLower(id), "marigold") {
			t.Errorf("the id %q names somebody", id)
		}
	}
}

func TestFormsAreReadAsJSONIs(t *testing.T) {
	t.Parallel()
	src := source(t, `{}`)
	form, err := src.Decode(t.Context(), post("application/x-www-form-urlencoded", "trigger=project_booked&project_id=7&project_name=Marigold&project_date=2027-06-05&occurred_at=2027-01-02T03:04:05Z"))
	if err != nil {
		t.Fatal(err)
	}
	same, err := src.Decode(t.Context(), jsonPost(`{"trigger":"project_booked",`+named+`,"project_date":"2027-06-05","occurred_at":"2027-01-02T03:04:05Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(same, form); diff != "" {
		t.Errorf("(-JSON +form)\n%s", diff)
	}
	if want := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli(); form.Changes[0].RemoteVersion != want {
		t.Errorf("order %d, want %d", form.Changes[0].RemoteVersion, want)
	}
}

func TestDatesAreThoseOfTheStudio(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{"America/Los_Angeles": "2027-06-05T07:00 to 2027-06-06T07:00", "Pacific/Auckland": "2027-06-04T12:00 to 2027-06-05T12:00"} {
		src, _ := provider.As[provider.WebhookSource](mustOpenIn(t, `{}`, zone))
		got, err := src.Decode(t.Context(), jsonPost(`{"trigger":"project_booked",`+named+`,"project_date":"6/5/2027"}`))
		if err != nil || !strings.HasSuffix(said(got.Changes[0]), want) || got.Changes[0].When.Zone != zone {
			t.Errorf("%s: %+v, %v", zone, got, err)
		}
	}
	got, err := source(t, `{"date_order":"dmy"}`).Decode(t.Context(), jsonPost(`{"trigger":"project_booked",`+named+`,"project_date":"5/6/2027"}`))
	if err != nil || said(got.Changes[0]) != "project/7 wedding confirmed "+wholeDay {
		t.Errorf("the day first: %+v, %v", got, err)
	}
}

func TestTheCustomersExpressionsLieOverOurs(t *testing.T) {
	t.Parallel()
	src := source(t, `{"trigger":"body.?event","rules":[{"name":"samples","when":"body.?sample","drop":{"reason":"a sample"}},{"name":"soon","when":"body.?soon","priority":"urgent"}],
		"triggers":{"project_booked":{"mapping":{"start":"item.data.date","external_id":"item.data.id","title":"''"}},"payment_paid":{"off":true}}}`)
	got, err := src.Decode(t.Context(), jsonPost(`{"event":"project_booked","project_name":"Marigold","project_location":"Barn","data":{"id":"x9","date":"2027-06-05"}}`))
	if err != nil || len(got.Changes) != 1 {
		t.Fatal(got, err)
	}
	if c := got.Changes[0]; said(c) != "x9 wedding confirmed "+wholeDay || c.Details.Title != "" || c.Details.Location != "Barn" {
		t.Errorf("change %+v", c)
	}
	if got, err = src.Decode(t.Context(), jsonPost(`{"event":"payment_paid"}`)); err != nil || got.Ignore != "the trigger payment_paid is switched off in the settings" {
		t.Errorf("a trigger that is off: %+v, %v", got, err)
	}
	if got, err = src.Decode(t.Context(), jsonPost(`{"event":"of our own","sample":true}`)); err != nil || got.Ignore != `dropped by rule "samples": a sample` {
		t.Errorf("a rule: %+v, %v", got, err)
	}
	in := src.Intake()
	if p, ok := in.Priority(nil, []byte(`{"soon":true}`)); !ok || p != domain.PriorityUrgent {
		t.Errorf("priority %v, %t", p, ok)
	}
	if in.DedupePath != "/message_id" || len(in.Credentials) != 1 || in.Auth.Header != "X-WedSync-Key" {
		t.Errorf("intake %+v", in)
	}
}

func TestHeadersThatExpressionsReadAreKept(t *testing.T) {
	t.Parallel()
	src := source(t, `{"triggers":{"inquiry":{"mapping":{"notes":"headers[?'x-form']"}}}}`)
	if diff := cmp.Diff([]string{"X-Form", "X-Wedsync-Trigger"}, src.Intake().KeepHeaders); diff != "" {
		t.Error(diff)
	}
	d := jsonPost(`{` + named + `,"project_date":"2027-06-05"}`)
	d.Header.Set("X-Wedsync-Trigger", "Project Booked")
	if got, err := src.Decode(t.Context(), d); err != nil || len(got.Changes) != 1 || got.EventType != ProjectBooked {
		t.Errorf("the trigger in a header: %+v, %v", got, err)
	}
}

func TestPathTokenTakesTimeTentativelyAndGivesNoneBack(t *testing.T) {
	t.Parallel()
	opened, err := Registration.Open(provider.Connection{Integration: domain.Integration{Settings: []byte(`{"verify":{"scheme":"path-token"}}`)},
		Secrets: map[string]string{"webhook_secret": "q7Zr3vXk9LmT2nWb5yHc8D"}})
	if err != nil {
		t.Fatal(err)
	}
	src, _ := provider.As[provider.WebhookSource](opened)
	got, err := src.Decode(t.Context(), jsonPost(`{"trigger":"project_booked",`+named+`,"project_date":"2027-06-05"}`))
	if err != nil || len(got.Changes) != 1 || got.Changes[0].Status != domain.StatusTentative {
		t.Errorf("booked: %+v, %v", got, err)
	}
	got, err = src.Decode(t.Context(), jsonPost(`{"trigger":"stage_changed","project_id":"7","stage":"Archived"}`))
	if err != nil || len(got.Changes) != 0 || got.Ignore == "" {
		t.Errorf("cancelled: %+v, %v", got, err)
	}
}

func TestExplanationHasTheOutcomeOfDecodeAndThePlaceOfAFault(t *testing.T) {
	t.Parallel()
	src := source(t, `{"triggers":{"project_booked":{"mapping":{"start":"item.date"}}}}`)
	explainer, ok := src.(provider.Explainer)
	if !ok {
		t.Fatal("cannot explain")
	}
	for _, body := range []string{`{"trigger":"project_booked",` + named + `,"date":"2027-06-05"}`, `{"trigger":"project_booked",` + named + `}`, `{"trigger":"cake"}`,
		`{"trigger":"client_created"}`, `{`, `{"trigger":"inquiry",` + named + `,"project_date":"2027-06-05"}`} {
		want, wantErr := src.Decode(t.Context(), jsonPost(body))
		got := explainer.Explain(t.Context(), jsonPost(body))
		if diff := cmp.Diff(want, got.Decoded); diff != "" || fmt.Sprint(wantErr) != fmt.Sprint(got.Err) || len(got.Steps) == 0 {
			t.Errorf("%s: error %v and %v, %d steps\n%s", body, wantErr, got.Err, len(got.Steps), diff)
		}
	}
	got := explainer.Explain(t.Context(), jsonPost(`{"trigger":"project_booked",`+named+`}`))
	last := got.Steps[len(got.Steps)-1]
	if last.Fault == nil || last.Fault.Path != "settings.triggers.project_booked.mapping.start" || last.Fault.Line != 1 {
		t.Errorf("the last step is %+v", last)
	}
}

func TestSampleOfEachTriggerIsReadByItsOwnMapping(t *testing.T) {
	t.Parallel()
	src := source(t, `{}`)
	if len(mappings.Kinds) != 6 {
		t.Fatalf("%d kinds, HoneyBook has six triggers", len(mappings.Kinds))
	}
	for _, k := range mappings.Kinds {
		got, err := src.Decode(t.Context(), post(k.ContentType, string(k.Sample)))
		if err != nil || got.EventType != k.Name || (len(got.Changes) == 0) != (k.Name == ClientCreated) {
			t.Errorf("%s: %+v, %v", k.Name, got, err)
		}
	}
}
