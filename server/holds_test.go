package server

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type holdReply struct {
	ID        string
	State     domain.HoldState
	ExpiresAt time.Time `json:"expires_at"`
	Booking   domain.Booking
	Warnings  []string
	Systems   []struct{ State string }
	Sources   []struct{ State string }
}

func holdBody(x tenant, day time.Time, from, to int, more string) string {
	return fmt.Sprintf(`{"resource_id":"%s","category":"engagement","when":{"start":"%s","end":"%s"}%s}`, x.resource,
		day.Add(time.Duration(from)*time.Hour).Format(time.RFC3339), day.Add(time.Duration(to)*time.Hour).Format(time.RFC3339), more)
}

func TestAHoldIsPlacedExtendedAndConfirmed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, day := b.token(b.a.org, domain.RoleOperator), nextSaturday().AddDate(0, 0, 7)
	key := header("Idempotency-Key", "couple-7")
	first := b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 12, 14, `,"expires_in_minutes":60,"details":{"title":"Cy and Di"}`), key)
	if first.status != 201 {
		t.Fatalf("%d %s", first.status, first.body)
	}
	var v, again holdReply
	first.into(t, &v)
	if v.State != domain.HoldLive || v.Booking.Status != domain.StatusTentative || v.Booking.Details.Title != "Cy and Di" || len(v.Sources) != 1 || v.Sources[0].State != "fresh" {
		t.Errorf("hold %s", first.body)
	}
	repeat := b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 12, 14, `,"expires_in_minutes":60,"details":{"title":"Cy and Di"}`), key)
	repeat.into(t, &again)
	if repeat.status != 201 || again.ID != v.ID || !again.ExpiresAt.Equal(v.ExpiresAt) {
		t.Errorf("the repeat: %d %s", repeat.status, repeat.body)
	}
	p := b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 13, 14, `,"expires_in_minutes":60,"details":{"title":"Cy and Di"}`), key).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "body.when" {
		t.Errorf("the same key with another time: %+v", p)
	}
	p = b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 13, 15, "")).problem(t, 409, "conflict")
	if len(p.Clashes) != 1 || string(p.Clashes[0].BookingID) != v.ID || p.Clashes[0].Reason == "" || len(p.Alternatives) < 3 || strings.Contains(p.Detail, "Cy") {
		t.Errorf("a hold of a time that is held: %+v", p)
	}
	path := "/v1/holds/" + v.ID
	b.do("POST", path+"/extend", operator, `{"expires_in_minutes":120,"reason":"they ask an aunt"}`).into(t, &again)
	if !again.ExpiresAt.After(v.ExpiresAt) {
		t.Errorf("extended to %s from %s", again.ExpiresAt, v.ExpiresAt)
	}
	var list struct{ Items []holdReply }
	b.do("GET", "/v1/holds?state=held", operator, "").into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != v.ID || !list.Items[0].Booking.When.Start.Equal(day.Add(12*time.Hour)) {
		t.Errorf("list %+v", list)
	}
	got := b.do("POST", path+"/confirm", operator, "")
	got.into(t, &v)
	if got.status != 200 || v.State != domain.HoldConfirmed || v.Booking.Status != domain.StatusConfirmed {
		t.Errorf("confirmed: %d %s", got.status, got.body)
	}
	b.do("POST", path+"/release", operator, "").problem(t, 409, "conflict")
	b.do("POST", path+"/extend", operator, `{"expires_in_minutes":1}`).problem(t, 409, "conflict")
	b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 18, 19, `,"expires_in_minutes":129601`)).problem(t, 422, "invalid")
	b.do("POST", "/v1/holds", operator, holdBody(tenant{resource: b.b.resource}, day, 18, 19, "")).problem(t, 422, "invalid")
}

func TestAReleasedHoldGivesTheTimeBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, day := b.token(b.a.org, domain.RoleOperator), nextSaturday().AddDate(0, 0, 7)
	var v holdReply
	b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 12, 14, "")).into(t, &v)
	b.do("POST", "/v1/holds/"+v.ID+"/release", operator, `{"reason":"another date"}`).into(t, &v)
	if v.State != domain.HoldReleased || v.Booking.Status != domain.StatusCancelled {
		t.Errorf("released %+v", v)
	}
	if got := b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 13, 15, "")); got.status != 201 {
		t.Errorf("its time is still taken: %d %s", got.status, got.body)
	}
}

func TestAConfirmationNamesTheSystemsThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, day := b.token(b.a.org, domain.RoleOperator), nextSaturday().AddDate(0, 0, 7)
	var v holdReply
	b.do("POST", "/v1/holds", operator, holdBody(b.a, day, 12, 14, "")).into(t, &v)
	b.must(b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, b.a.integration, domain.IntegrationPaused, "test")
		return err
	}))
	path := "/v1/holds/" + v.ID + "/confirm"
	p := b.do("POST", path, operator, "").problem(t, 409, "unknown_sources")
	if len(p.Sources) != 1 || p.Sources[0].IntegrationID != b.a.integration || p.Sources[0].Since == nil || p.Sources[0].Reason == "" {
		t.Errorf("problem %+v", p)
	}
	got := b.do("POST", path, operator, `{"override":"asked by phone"}`)
	if got.into(t, &v); got.status != 200 || v.State != domain.HoldConfirmed || len(v.Sources) != 1 || v.Sources[0].State != "unknown" {
		t.Errorf("overridden: %d %s", got.status, got.body)
	}
}

func TestAvailabilityIsToldForSeveralResourcesAndZones(t *testing.T) {
	t.Parallel()
	b := setup(t)
	day := nextSaturday()
	q := url.Values{"resource": {string(b.a.spare) + "," + string(b.a.resource)}, "from": {day.Format(time.RFC3339)}, "to": {day.Add(24 * time.Hour).Format(time.RFC3339)},
		"category": {"consultation"}, "duration_minutes": {"60"}, "zone": {"America/New_York"}}
	viewer := b.token(b.a.org, domain.RoleViewer)
	type calendar struct {
		ResourceID string `json:"resource_id"`
		Free       []domain.Span
		Blocked    []struct {
			Reason    string
			BookingID string `json:"booking_id"`
		}
		Sources []struct{ State string }
	}
	var got struct {
		calendar
		Items []calendar
	}
	answer := b.do("GET", "/v1/availability?"+q.Encode(), viewer, "")
	answer.into(t, &got)
	if len(got.Items) != 2 || got.ResourceID != string(b.a.spare) || got.Items[1].ResourceID != string(b.a.resource) || len(got.Items[1].Blocked) == 0 || len(got.Items[1].Sources) != 1 {
		t.Fatalf("%s", answer.body)
	}
	if !strings.Contains(string(answer.body), "T00:00:00-0") && !strings.Contains(string(answer.body), "-04:00") && !strings.Contains(string(answer.body), "-05:00") {
		t.Errorf("times are not told in the zone: %s", answer.body)
	}
	if !strings.Contains(got.Items[1].Blocked[0].Reason, "Europe/London") {
		t.Errorf("the words do not say whose clock they are by: %+v", got.Items[1].Blocked)
	}
	q.Set("resource", string(b.a.spare)+","+string(b.b.resource))
	b.do("GET", "/v1/availability?"+q.Encode(), viewer, "").problem(t, 404, "not_found")
	q.Set("zone", "Mars/Olympus")
	b.do("GET", "/v1/availability?"+q.Encode(), viewer, "").problem(t, 422, "invalid")
}

func TestWhoIsFreeOnADate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer, admin := b.token(b.a.org, domain.RoleViewer), b.token(b.a.org, domain.RoleAdmin)
	b.do("PATCH", "/v1/resources/"+string(b.a.spare), admin, `{"version":1,"skills":["Portrait"]}`)
	path := "/v1/availability/search?category=wedding&date=" + nextSaturday().Format(time.DateOnly)
	var got struct {
		Items []struct {
			ResourceID string `json:"resource_id"`
			Name       string
			State      string
			Windows    []domain.Span
		}
		Room   int `json:"with_room"`
		Taken  int
		Looked int `json:"looked_at"`
	}
	b.do("GET", path+"&duration=480", viewer, "").into(t, &got)
	if len(got.Items) != 1 || got.Items[0].ResourceID != string(b.a.spare) || got.Items[0].Name != "Photographer Two" || got.Items[0].State != "free" ||
		len(got.Items[0].Windows) == 0 || got.Room != 1 || got.Taken != 1 || got.Looked != 2 {
		t.Errorf("found %+v", got)
	}
	b.do("GET", path+"&duration=8h&skill=portrait", viewer, "").into(t, &got)
	if len(got.Items) != 1 || got.Looked != 1 {
		t.Errorf("with the skill: %+v", got)
	}
	b.do("GET", path+"&duration=8h&skill=juggling", viewer, "").into(t, &got)
	if len(got.Items) != 0 {
		t.Errorf("with a skill that nobody has: %+v", got)
	}
	for field, query := range map[string]string{"query.duration": "&duration=long", "query.zone": "&duration=8h&zone=Mars/Olympus", "query.after": "&duration=8h&after=x"} {
		if p := b.do("GET", path+query, viewer, "").problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
	p := b.do("GET", "/v1/availability/search?category=wedding&duration=8h&date=2027-02-30", viewer, "").problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "query.date" {
		t.Errorf("%+v", p)
	}
}

func TestSuggestionsForABookingAConflictAndAWish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer, day := b.token(b.a.org, domain.RoleViewer), nextSaturday()
	type advice struct {
		Fits    bool
		Clashes []struct {
			BookingID string `json:"booking_id"`
			Reason    string
		}
		Ways []domain.Alternative
	}
	wish := url.Values{"resource": {string(b.a.resource)}, "category": {"consultation"}, "start": {day.Add(14 * time.Hour).Format(time.RFC3339)}, "end": {day.Add(15 * time.Hour).Format(time.RFC3339)}}
	for name, query := range map[string]string{"booking": "booking=" + string(b.a.booking), "conflict": "conflict=" + string(b.a.conflict), "wish": wish.Encode()} {
		var got advice
		answer := b.do("GET", "/v1/suggestions?max=4&"+query, viewer, "")
		if answer.into(t, &got); got.Fits || len(got.Clashes) == 0 || got.Clashes[0].Reason == "" || len(got.Ways) < 3 || len(got.Ways) > 4 {
			t.Errorf("%s: %s", name, answer.body)
		}
	}
	for _, query := range []string{"", "booking=" + string(b.a.booking) + "&conflict=" + string(b.a.conflict), "resource=" + string(b.a.resource)} {
		b.do("GET", "/v1/suggestions?"+query, viewer, "").problem(t, 422, "invalid")
	}
	for _, query := range []string{"booking=" + string(b.b.booking), "conflict=" + string(b.b.conflict)} {
		b.do("GET", "/v1/suggestions?"+query, viewer, "").problem(t, 404, "not_found")
	}
	wish.Set("resource", string(b.b.resource))
	b.do("GET", "/v1/suggestions?"+wish.Encode(), viewer, "").problem(t, 404, "not_found")
}
