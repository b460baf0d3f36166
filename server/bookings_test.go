package server

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func span(start time.Time, hours int) string {
	return fmt.Sprintf(`{"start":%q,"end":%q}`, start.Format(time.RFC3339), start.Add(time.Duration(hours)*time.Hour).Format(time.RFC3339))
}

func TestBookingMadeByHandIsCheckedForConflicts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	made := b.do("POST", "/v1/bookings", operator, `{"resource_id":"`+string(b.a.resource)+`","category":"vendor","when":`+span(nextSaturday().Add(11*time.Hour), 1)+
		`,"details":{"title":"Tasting"},"reason":"phoned in"}`, header("Idempotency-Key", "k"))
	var got struct {
		domain.Booking
		Conflicts []domain.Conflict
	}
	made.into(t, &got)
	if made.status != 201 || got.Version != 1 || got.When.Zone != "Europe/London" || got.When.Kind != domain.TimeZoned || len(got.Conflicts) == 0 {
		t.Fatalf("%d %s", made.status, made.body)
	}
	again := b.do("POST", "/v1/bookings", operator, `{"resource_id":"`+string(b.a.resource)+`","category":"vendor","when":`+span(nextSaturday(), 1)+`}`, header("Idempotency-Key", "k"))
	if !strings.Contains(string(again.body), string(got.ID)) {
		t.Errorf("the same key made another booking: %s", again.body)
	}
	path := "/v1/bookings/" + string(got.ID)
	if moved := b.do("PATCH", path, operator, `{"version":1,"when":`+span(nextSaturday().Add(-48*time.Hour), 1)+`}`); moved.status != 200 {
		t.Fatalf("%d %s", moved.status, moved.body)
	}
	b.do("PATCH", path, operator, `{"version":1,"status":"cancelled"}`).problem(t, 409, "conflict")
	if cancelled := b.do("PATCH", path, operator, `{"version":2,"status":"cancelled"}`); cancelled.status != 200 || !strings.Contains(string(cancelled.body), `"status":"cancelled"`) {
		t.Errorf("%d %s", cancelled.status, cancelled.body)
	}
}

func TestBadTimesNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	for when, field := range map[string]string{
		`{"start":"2027-06-12T10:00:00Z"}`:                                                                            "body.when.end",
		`{"start":"2027-06-12T10:00:00Z","end":"2027-06-12T10:00:00Z"}`:                                               "body.when",
		`{"start":"2027-06-12T10:00:00Z","end":"2029-06-12T10:00:00Z"}`:                                               "body.when",
		`{"start":"12 June","end":"2027-06-12T11:00:00Z"}`:                                                            "body.when.start",
		`{"start":"2027-06-12T10:00:00Z","end":"2027-06-12T11:00:00Z","zone":"Local"}`:                                "body.when.zone",
		`{"start":"2027-06-12T10:00:00Z","end":"2027-06-12T11:00:00Z","zone":"Mars/Olympus"}`:                         "body.when.zone",
		`{"start":"2027-06-12T10:00:00Z","end":"2027-06-12T11:00:00Z","kind":"sometime"}`:                             "body.when.kind",
		`{"start":"2027-06-12T10:00:00Z","end":"2027-06-13T10:00:00Z","kind":"all_day","zone":"Europe/London"}`:       "body.when",
		`{"start":"2027-06-12T00:00:00Z","end":"2027-06-13T00:00:00Z","kind":"all_day","zone":"Europe/London"}`:       "body.when",
		`{"start":"2027-06-11T23:00:00Z","end":"2027-06-12T23:00:00Z","kind":"all_day","zone":"Europe/London"}`:       "",
		`{"start":"2026-09-06T04:00:00Z","end":"2026-09-07T03:00:00Z","kind":"all_day","zone":"America/Santiago"}`:    "",
		`{"start":"2026-09-06T03:00:00Z","end":"2026-09-07T03:00:00Z","kind":"all_day","zone":"America/Los_Angeles"}`: "body.when",
	} {
		got := b.do("POST", "/v1/bookings", operator, `{"resource_id":"`+string(b.a.spare)+`","category":"personal","when":`+when+`}`)
		if field == "" {
			if got.status != 201 {
				t.Errorf("%s: %d %s", when, got.status, got.body)
			}
			continue
		}
		p := got.problem(t, 422, "invalid")
		if len(p.Errors) == 0 || p.Errors[0].Field != field && !strings.Contains(p.Errors[0].Reason, strings.TrimPrefix(field, "body.when.")) {
			t.Errorf("%s: %+v, want field %s", when, p.Errors, field)
		}
	}
}

func TestAvailabilityExplainsWhatIsBlocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	day := nextSaturday()
	q := url.Values{"resource": {string(b.a.resource)}, "from": {day.Format(time.RFC3339)}, "to": {day.Add(24 * time.Hour).Format(time.RFC3339)},
		"category": {"consultation"}, "duration_minutes": {"60"}}
	var got struct {
		Zone    string
		Free    []domain.Span
		Blocked []struct {
			Rule, Reason string
			BookingID    string `json:"booking_id"`
		}
	}
	b.do("GET", "/v1/availability?"+q.Encode(), b.token(b.a.org, domain.RoleViewer), "").into(t, &got)
	want := []domain.Span{{Start: day, End: day.Add(10 * time.Hour)}, {Start: day.Add(20 * time.Hour), End: day.Add(24 * time.Hour)}}
	if d := cmp.Diff(want, got.Free); d != "" || got.Zone != "Europe/London" {
		t.Errorf("free in %s (-want +got):\n%s", got.Zone, d)
	}
	found := false
	for _, x := range got.Blocked {
		found = found || x.BookingID == string(b.a.booking) && x.Rule == "overlap" && x.Reason != ""
		if strings.Contains(x.Reason, "Ada") || strings.Contains(x.Reason, "Bo") {
			t.Errorf("a reason names a person: %s", x.Reason)
		}
	}
	if !found {
		t.Errorf("the booking in the way is not named: %+v", got.Blocked)
	}
	q.Set("to", day.Add(500*24*time.Hour).Format(time.RFC3339))
	b.do("GET", "/v1/availability?"+q.Encode(), b.token(b.a.org, domain.RoleViewer), "").problem(t, 422, "invalid")
	q.Del("category")
	b.do("GET", "/v1/availability?"+q.Encode(), b.token(b.a.org, domain.RoleViewer), "").problem(t, 422, "invalid")
}

func TestResolveStoresTheDecisionAndTellsTheWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	path := "/v1/conflicts/" + string(b.a.conflict)
	var c domain.Conflict
	b.do("GET", path, operator, "").into(t, &c)
	if len(c.Alternatives) < 3 || c.Explanation == "" {
		t.Fatalf("conflict %+v, want at least three alternatives and an explanation", c)
	}
	got := b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"alternative":0,"version":%d,"reason":"the couple agreed"}`, c.Version), header("Idempotency-Key", "k"))
	var out struct {
		State      string
		DecisionID string `json:"decision_id"`
	}
	got.into(t, &out)
	if got.status != 202 || out.State != "resolving" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.flow.mu.Lock()
	sent := b.flow.resolved
	b.flow.mu.Unlock()
	best := c.Alternatives[0]
	want := contract.ResolveRequest{Action: best.Action, BookingID: best.BookingID, DecisionID: out.DecisionID, By: "operator@example.test", Version: c.Version}
	if best.Action == domain.ActionReassign {
		want.ResourceID = best.ResourceID
	} else {
		want.When = &best.When
	}
	if d := cmp.Diff([]contract.ResolveRequest{want}, sent, cmp.Comparer(func(x, y domain.When) bool { return x.Equal(y) })); d != "" {
		t.Errorf("told the workflow (-want +got):\n%s", d)
	}
	raw, err := json.Marshal(sent)
	b.must(err)
	if strings.Contains(string(raw), "couple") {
		t.Errorf("words of a person are on their way to a history: %s", raw)
	}
	e := b.lastAction(b.a, "conflict.resolve")
	if e.Reason != "the couple agreed" || e.After["decision"] != out.DecisionID || e.Before["booking"] != string(c.BookingID) {
		t.Errorf("audit %+v", e)
	}

	b.flow.fail(domain.E(domain.KindConflict, "the conflict is resolving already"))
	if p := b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"action":"keep_both","version":%d}`, c.Version)).problem(t, 409, "conflict"); p.Detail != "the conflict is resolving already" {
		t.Errorf("a refusal says %q", p.Detail)
	}
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal is away"))
	b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"action":"keep_both","version":%d}`, c.Version)).problem(t, 503, "unavailable")
	b.flow.fail(domain.E(domain.KindNotFound, "no such workflow"))
	b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"action":"keep_both","version":%d}`, c.Version)).problem(t, 409, "conflict")
}

func TestImpossibleDecisionsAreRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	path := "/v1/conflicts/" + string(b.a.conflict) + "/resolve"
	before := len(b.trail(b.a))
	for body, field := range map[string]string{
		`{"version":1}`:                     "body.action",
		`{"version":1,"action":"explode"}`:  "body.action",
		`{"version":1,"action":"move"}`:     "body.when",
		`{"version":1,"action":"reassign"}`: "body.resource_id",
		`{"version":1,"action":"cancel","when":` + span(nextSaturday(), 1) + `}`:              "body.when",
		`{"version":1,"action":"move","resource_id":"` + string(b.a.spare) + `"}`:             "body.resource_id",
		`{"version":1,"action":"ignore"}`:                                                     "body.until",
		`{"version":1,"action":"ignore","until":"2020-01-01T00:00:00Z"}`:                      "body.until",
		`{"version":1,"action":"cancel","until":"2090-01-01T00:00:00Z"}`:                      "body.until",
		`{"version":1,"alternative":99}`:                                                      "body.alternative",
		`{"version":1,"alternative":-1}`:                                                      "body.alternative",
		`{"version":1,"alternative":0,"action":"cancel"}`:                                     "body.alternative",
		`{"version":1,"action":"cancel","booking_id":"00000000-0000-7000-8000-000000000000"}`: "body.booking_id",
		`{"version":1,"action":"cancel","reason":"` + strings.Repeat("x", 501) + `"}`:         "body.reason",
	} {
		p := b.do("POST", path, operator, body).problem(t, 422, "invalid")
		if len(p.Errors) == 0 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want field %s", body, p.Errors, field)
		}
	}
	b.do("POST", path, operator, `{"action":"cancel"}`).problem(t, 428, "version_required")
	b.do("POST", path, operator, `{"action":"cancel","version":77}`).problem(t, 409, "conflict")
	if after := len(b.trail(b.a)); after != before {
		t.Errorf("%d audit lines were written for refused input", after-before)
	}
}

func TestListsArePaged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	for _, path := range []string{"/v1/resources", "/v1/bookings", "/v1/bookings?from=2027-01-01T00:00:00Z&to=2040-01-01T00:00:00Z"} {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		seen := map[string]bool{}
		next, pages := "", 0
		for pages = 1; ; pages++ {
			var got struct {
				Items []struct{ ID string }
				Next  string
			}
			b.do("GET", path+sep+"limit=1&after="+url.QueryEscape(next), viewer, "").into(t, &got)
			for _, x := range got.Items {
				seen[x.ID] = true
			}
			if next = got.Next; next == "" || pages > 10 {
				break
			}
		}
		if len(seen) != 2 || pages != 2 {
			t.Errorf("%s: %d entries on %d pages of one, want 2 on 2", path, len(seen), pages)
		}
	}
}
