package server

import (
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestATimelineIsSetReadChangedAndRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, viewer := b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleViewer)
	var wedding struct{ ID string }
	b.do("POST", "/v1/bookings", operator, `{"resource_id":"`+string(b.a.resource)+`","category":"wedding","when":{"start":"2027-06-12T13:00:00Z","end":"2027-06-12T22:00:00Z","zone":"Europe/Berlin"}}`).into(t, &wedding)
	path := "/v1/bookings/" + wedding.ID + "/timeline"
	b.do("GET", path, viewer, "").problem(t, 404, "not_found")
	type answer struct {
		Version int64
		Zone    string
		Items   []struct{ Key, Start, End string }
		Clashes []struct{ Kind, First, Second string }
	}
	vendor := `"resource_id":"` + string(b.a.resource) + `"`
	plan := func(more string) string {
		return `{` + more + `"travel_minutes":30,"items":[{"key":"vows","kind":"ceremony","title":"Marigold","place":"Chapel",` + vendor + `,"duration_minutes":45},
			{"key":"meal","kind":"meal","title":"Dinner","place":"Barn",` + vendor + `,"after":"vows","offset_minutes":10,"duration_minutes":90}]}`
	}
	made := b.do("PUT", path, operator, plan(""))
	var got answer
	made.into(t, &got)
	if made.status != 200 || got.Version != 1 || got.Zone != "Europe/Berlin" || len(got.Items) != 2 || got.Items[1].Start != "2027-06-12T15:55:00+02:00" || got.Items[1].End != "2027-06-12T17:25:00+02:00" {
		t.Fatalf("%d %+v", made.status, got)
	}
	if len(got.Clashes) != 1 || got.Clashes[0].Kind != "too_far" || got.Clashes[0].First != "vows" {
		t.Errorf("clashes %+v", got.Clashes)
	}
	b.do("PUT", path, operator, plan("")).problem(t, 428, "version_required")
	b.do("PUT", path, operator, plan(`"version":7,`)).problem(t, 409, "conflict")
	b.do("PUT", path, viewer, plan(`"version":1,`)).problem(t, 403, "forbidden")
	p := b.do("PUT", path, operator, strings.Replace(plan(`"version":1,`), `"after":"vows"`, `"after":"wows"`, 1)).problem(t, 422, "invalid")
	if len(p.Errors) == 0 || p.Errors[0].Field != "body.items[1].after" {
		t.Errorf("an unknown item: %+v", p)
	}
	b.do("PUT", path, operator, plan(`"version":1,`)).into(t, &got)
	if got.Version != 2 {
		t.Errorf("version %d after a change", got.Version)
	}
	var read answer
	b.do("GET", path, viewer, "").into(t, &read)
	if read.Version != 2 || len(read.Items) != 2 {
		t.Errorf("read %+v", read)
	}
	b.do("GET", path, b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	b.do("DELETE", path, b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	if got := b.do("DELETE", path, operator, ""); got.status != 204 {
		t.Errorf("DELETE: %d %s", got.status, got.body)
	}
	b.do("GET", path, viewer, "").problem(t, 404, "not_found")
	if strings.Contains(b.log.String(), "Marigold") {
		t.Error("a title reached the log")
	}
}
