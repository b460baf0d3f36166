package server

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/explain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestAnEditConflictIsShownAndDecidedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, operator := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleOperator)
	got := b.do("PATCH", "/v1/integrations/"+string(b.a.integration), admin, `{"version":1,"direction":"bidirectional","sync":{"edit_conflicts":"manual"}}`)
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	id := b.bring(b.a, 1)[0]
	here, there := entry(0, "Flowers 0"), entry(0, "Flowers 0")
	here.When.Start, here.When.End = here.When.Start.Add(2*time.Hour), here.When.End.Add(2*time.Hour)
	there.When.Start, there.When.End = there.When.Start.Add(5*time.Hour), there.When.End.Add(5*time.Hour)
	booking := "/v1/bookings/" + string(id)
	if got := b.do("PATCH", booking, operator, fmt.Sprintf(`{"version":1,"when":{"start":%q,"end":%q}}`, here.When.Start.Format(time.RFC3339), here.When.End.Format(time.RFC3339))); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, b.a.integration)
		if err == nil {
			_, err = applyChanges(ctx, tx, i, there)
		}
		return err
	}))

	var all listBody[editConflictView]
	b.do("GET", "/v1/edit-conflicts?state=open&integration="+string(b.a.integration), operator, "").into(t, &all)
	var q editConflictView
	for _, one := range all.Items {
		if one.BookingID == id {
			q = one
		}
	}
	path := "/v1/edit-conflicts/" + string(q.ID)
	got = b.do("GET", path, operator, "")
	got.into(t, &q)
	if got.header.Get("ETag") != etag(q.Version) || q.State != domain.EditOpen || !q.ThereIsSource || q.Kind != domain.EditBothChanged ||
		q.There.When == nil || !q.There.When.Equal(there.When) || q.Here == nil || !q.Here.When.Start.Equal(here.When.Start) {
		t.Fatalf("shown: %s", got.body)
	}
	var x struct {
		Systems []systemView `json:"systems"`
	}
	if b.do("GET", booking+"/explain", operator, "").into(t, &x); len(x.Systems) != 1 || x.Systems[0].Code != explain.CodeEdited || x.Systems[0].Shows != explain.ShowsFailed {
		t.Errorf("explained: %+v", x.Systems)
	}

	b.do("POST", path+"/resolve", operator, `{"choice":"source","version":99}`).problem(t, http.StatusConflict, "conflict")
	b.do("POST", path+"/resolve", operator, `{"choice":"source"}`).problem(t, http.StatusPreconditionRequired, "version_required")
	b.do("POST", path+"/resolve", operator, `{"choice":"neither","version":1}`).problem(t, http.StatusUnprocessableEntity, "invalid")
	got = b.do("POST", path+"/resolve", operator, `{"choice":"source","reason":"they called"}`, header("If-Match", etag(q.Version)))
	var done editConflictView
	if got.into(t, &done); got.status != http.StatusOK || done.State != domain.EditResolved || done.Choice != domain.ChooseSource || done.By != "operator@example.test" ||
		done.Version != q.Version+1 || got.header.Get("ETag") != etag(done.Version) {
		t.Fatalf("resolved: %d %s", got.status, got.body)
	}
	var now domain.Booking
	if b.do("GET", booking, operator, "").into(t, &now); !now.When.Start.Equal(there.When.Start) {
		t.Errorf("the booking is at %s, want what the source says", now.When.Start)
	}
	b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"choice":"copy","version":%d}`, done.Version)).problem(t, http.StatusConflict, "conflict")
	if b.do("GET", booking+"/explain", operator, "").into(t, &x); x.Systems[0].Code == explain.CodeEdited {
		t.Errorf("an answered question is still explained as open: %+v", x.Systems)
	}
	e := b.lastAction(b.a, "edit_conflict.resolve")
	if e.Actor != "operator@example.test" || e.Reason != "they called" || e.Subject != "edit-conflict/"+string(q.ID) || e.After["choice"] != "source" {
		t.Errorf("the trail says %+v", e)
	}
}
