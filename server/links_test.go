package server

import (
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

type bookingReply struct {
	ID, Status string
	MergedInto string `json:"merged_into"`
	Version    int64
	Copies     []struct{ ID, How string }
	Conflicts  []struct{ Kind, Severity, Explanation string }
	Details    domain.Details
}

func (b *bundle) booked(token, category, from, to, location string) (out bookingReply) {
	b.Helper()
	b.do("POST", "/v1/bookings", token, `{"resource_id":"`+string(b.a.resource)+`","category":"`+category+`","when":{"start":"`+from+`","end":"`+to+
		`"},"details":{"title":"Marigold","location":"`+location+`"}}`).into(b, &out)
	return out
}

func TestBookingsAreLinkedAndPartedByPeople(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, viewer, foreign := b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleViewer), b.token(b.b.org, domain.RoleAdmin)
	one := b.booked(operator, "vendor", "2029-06-09T10:00:00Z", "2029-06-09T12:00:00Z", "")
	two := b.booked(operator, "vendor", "2029-06-09T10:00:00Z", "2029-06-09T12:00:00Z", "")
	var list struct {
		Items []struct {
			BookingID string `json:"booking_id"`
			OtherID   string `json:"other_id"`
			Score     int
			Parts     []struct{ Text string }
		}
		Cut bool
	}
	window := "/v1/link-suggestions?from=2029-06-01T00:00:00Z&to=2029-07-01T00:00:00Z"
	b.do("GET", window, viewer, "").into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Score != 100 || len(list.Items[0].Parts) != 3 || list.Cut {
		t.Fatalf("suggestions are %+v", list)
	}
	b.do("GET", "/v1/link-suggestions?from=2029-06-01T00:00:00Z&to=2030-07-01T00:00:00Z", viewer, "").problem(t, 422, "invalid")

	link, unlink := "/v1/bookings/"+one.ID+"/link", "/v1/bookings/"+one.ID+"/unlink"
	b.do("POST", link, viewer, `{"booking_id":"`+two.ID+`"}`).problem(t, 403, "forbidden")
	b.do("POST", link, foreign, `{"booking_id":"`+two.ID+`"}`).problem(t, 404, "not_found")
	for _, other := range []string{string(b.b.booking), one.ID} {
		p := b.do("POST", link, operator, `{"booking_id":"`+other+`"}`).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != "body.booking_id" {
			t.Errorf("linking with %s: %+v", other, p)
		}
	}
	var kept, gone, back bookingReply
	b.do("POST", link, operator, `{"booking_id":"`+two.ID+`","reason":"the same couple"}`).into(t, &kept)
	b.do("GET", "/v1/bookings/"+two.ID, viewer, "").into(t, &gone)
	if kept.ID != one.ID || gone.MergedInto != one.ID || gone.Status != "cancelled" {
		t.Fatalf("kept %+v, gone %+v", kept, gone)
	}
	b.do("PATCH", "/v1/bookings/"+two.ID, operator, `{"version":2,"status":"confirmed"}`).problem(t, 422, "invalid")
	b.do("GET", window, viewer, "").into(t, &list)
	if len(list.Items) != 0 {
		t.Errorf("suggested after linking: %+v", list.Items)
	}
	var why struct {
		Reason  string
		Merged  string `json:"merged_into"`
		Choices []struct{ Decision, By, Reason string }
	}
	b.do("GET", "/v1/bookings/"+two.ID+"/explain", viewer, "").into(t, &why)
	if why.Merged != one.ID || !strings.Contains(why.Reason, one.ID) || len(why.Choices) != 1 || why.Choices[0].Decision != "linked" || why.Choices[0].Reason != "the same couple" {
		t.Errorf("explained as %+v", why)
	}
	b.do("POST", unlink, operator, `{"link_id":"00000000-0000-7000-8000-000000000000"}`).problem(t, 422, "invalid")
	b.do("POST", unlink, operator, `{"booking_id":"`+two.ID+`","reason":"two couples"}`).into(t, &back)
	if back.ID != two.ID || back.Status != "confirmed" || back.MergedInto != "" || len(back.Conflicts) != 1 || back.Conflicts[0].Kind != "overlap" {
		t.Fatalf("parted: %+v", back)
	}
	b.do("GET", window, viewer, "").into(t, &list)
	if len(list.Items) != 0 {
		t.Errorf("suggested after parting: %+v", list.Items)
	}
	if strings.Contains(b.log.String(), "Marigold") {
		t.Error("a title reached the log")
	}
}

func TestVenuesAndBlackoutsMakeConflictsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, operator, viewer := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleViewer)
	resource := "/v1/resources/" + string(b.a.resource)
	var r struct {
		Version   int64
		Travel    domain.Travel
		Blackouts []domain.Blackout
	}
	b.do("GET", resource, viewer, "").into(t, &r)
	patch := func(body string) {
		b.do("GET", resource, viewer, "").into(t, &r)
		b.do("PATCH", resource, admin, strings.Replace(body, "{", `{"version":`+itoa(r.Version)+`,`, 1)).into(t, &r)
	}
	b.do("PATCH", resource, admin, `{"version":`+itoa(r.Version)+`,"travel":{"speed_kmh":900,"min_minutes":0,"fixed_minutes":0}}`).problem(t, 422, "invalid")
	patch(`{"travel":{"speed_kmh":50,"min_minutes":5,"fixed_minutes":0},"buffer_before_minutes":0,"buffer_after_minutes":0}`)
	if r.Travel != (domain.Travel{SpeedKmh: 50, MinMinutes: 5}) {
		t.Fatalf("travel is %+v", r.Travel)
	}
	open := func() (kinds []string) {
		var list struct {
			Items []struct{ Kind, BookingID string }
		}
		b.do("GET", "/v1/conflicts?state=open&limit=200&resource="+string(b.a.resource), viewer, "").into(t, &list)
		for _, c := range list.Items {
			kinds = append(kinds, c.Kind)
		}
		return kinds
	}
	before := len(open())
	b.booked(operator, "vendor", "2029-06-09T10:00:00Z", "2029-06-09T12:00:00Z", "Assembly Rooms, Bath")
	b.booked(operator, "vendor", "2029-06-09T12:20:00Z", "2029-06-09T14:00:00Z", "Ashton Court")
	if n := len(open()); n != before {
		t.Fatalf("%d conflicts between places that nobody knows", n-before)
	}
	var v struct {
		ID      string
		Version int64
		Aliases []string
	}
	b.do("POST", "/v1/venues", operator, `{"name":"Ashton Court","latitude":51.4478,"longitude":-2.645}`).into(t, &v)
	b.do("POST", "/v1/venues", operator, `{"name":"Assembly Rooms","latitude":51.3811,"longitude":-2.359}`)
	if got := open(); len(got) != before+1 || got[0] != "travel" {
		t.Fatalf("open conflicts %v", got)
	}
	p := b.do("POST", "/v1/venues", operator, `{"name":"Other","aliases":["ashton  court"],"latitude":51,"longitude":-2}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "body.aliases" {
		t.Errorf("a name that is taken: %+v", p)
	}
	b.do("PATCH", "/v1/venues/"+v.ID, operator, `{"version":1,"latitude":51.3811,"longitude":-2.359}`).into(t, &v)
	if got := open(); len(got) != before || v.Version != 2 || v.Aliases == nil {
		t.Errorf("open conflicts %v after the venue moved; %+v", got, v)
	}
	if got := b.do("DELETE", "/v1/venues/"+v.ID, operator, ""); got.status != 204 {
		t.Errorf("DELETE: %d %s", got.status, got.body)
	}

	var out domain.Blackout
	b.do("POST", resource+"/blackouts", operator, `{"from":"2029-06-09","to":"2029-06-08"}`).problem(t, 422, "invalid")
	b.do("POST", resource+"/blackouts", operator, `{"from":"2029-06-09","reason":"away"}`, header("Idempotency-Key", "k")).into(t, &out)
	var again domain.Blackout
	b.do("POST", resource+"/blackouts", operator, `{"from":"2029-06-09","reason":"away"}`, header("Idempotency-Key", "k")).into(t, &again)
	if out.To != "2029-06-09" || again != out {
		t.Errorf("made %+v, again %+v", out, again)
	}
	if got := open(); len(got) != before+2 || got[0] != "blackout" || got[1] != "blackout" {
		t.Errorf("open conflicts %v", got)
	}
	var list struct{ Items []domain.Blackout }
	b.do("GET", resource+"/blackouts", viewer, "").into(t, &list)
	if len(list.Items) != 1 || list.Items[0] != out {
		t.Errorf("blackouts are %+v", list.Items)
	}
	if got := b.do("DELETE", resource+"/blackouts/"+string(out.ID), operator, ""); got.status != 204 {
		t.Errorf("DELETE: %d %s", got.status, got.body)
	}
	if got := open(); len(got) != before {
		t.Errorf("open conflicts %v", got)
	}
}

func itoa(n int64) string { return strings.Trim(etag(n), `"`) }
