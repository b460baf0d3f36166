package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

const meetings = "/v1/conflict-policies/consultation/consultation"

// meetTwice makes two consultations by hand at one time and returns their conflict.
func (b *bundle) meetTwice(t tenant) domain.Conflict {
	b.Helper()
	var found domain.Conflict
	start := nextSaturday().AddDate(0, 0, 30).Add(10 * time.Hour)
	for range 2 {
		booking := domain.Booking{ID: domain.NewID[domain.BookingID](time.Now()), ResourceID: t.spare, Category: domain.CategoryConsultation,
			Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
		b.must(b.store.Tenant(b.Context(), t.org, func(ctx context.Context, tx *store.Tx) error {
			r, err := apply.Manual(ctx, tx, booking, "alex", "phoned in")
			for _, c := range r.Conflicts() {
				found = c
			}
			return err
		}))
	}
	if found.ID == "" {
		b.Fatal("no conflict")
	}
	return found
}

func TestPolicyIsSetListedTriedOutAndTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	c := b.meetTwice(b.a)
	type preview struct {
		Items []struct {
			ConflictID domain.ConflictID `json:"conflict_id"`
			Outcome    string
			Reason     string
			Would      *struct {
				Action    string
				BookingID domain.BookingID `json:"booking_id"`
			}
		}
	}
	of := func(p preview) (string, string) {
		for _, i := range p.Items {
			if i.ConflictID == c.ID && i.Would != nil {
				return i.Outcome, i.Would.Action
			} else if i.ConflictID == c.ID {
				return i.Outcome, ""
			}
		}
		return "", ""
	}
	before := len(b.trail(b.a))
	var tried preview
	b.do("POST", "/v1/conflict-policies/preview", admin, `{"category":"consultation","other":"consultation","rule":"newest_wins","then":"cancel"}`).into(t, &tried)
	if outcome, action := of(tried); outcome != "decided" || action != "cancel" {
		t.Fatalf("a policy that is not stored would do %q %q: %+v", outcome, action, tried)
	}
	tried = preview{}
	b.do("POST", "/v1/conflict-policies/preview", admin, "").into(t, &tried)
	if outcome, _ := of(tried); outcome != "" || len(b.trail(b.a)) != before {
		t.Errorf("the try was stored: %+v", tried)
	}

	var p domain.ConflictPolicy
	b.do("PUT", meetings, admin, `{"rule":"first_confirmed","reason":"house rule"}`).into(t, &p)
	if p.Rule != domain.PolicyFirstConfirmed || p.Then != domain.ThenBest || p.Version != 1 || p.UpdatedBy != "admin@example.test" {
		t.Fatalf("policy %+v", p)
	}
	var again domain.ConflictPolicy
	b.do("PUT", meetings, admin, `{"rule":"newest_wins","then":"tentative"}`).into(t, &again)
	if again.ID != p.ID || again.Version != 2 {
		t.Errorf("changed to %+v", again)
	}
	if e := b.lastAction(b.a, "conflict_policy.put"); e.Before["rule"] != "first_confirmed" || e.After["rule"] != "newest_wins" || e.After["then"] != "tentative" {
		t.Errorf("audit %+v", e)
	}
	tried = preview{}
	b.do("POST", "/v1/conflict-policies/preview", admin, "").into(t, &tried)
	if outcome, action := of(tried); outcome != "decided" || action != "tentative" {
		t.Errorf("would do %q %q", outcome, action)
	}
	var list struct{ Items []domain.ConflictPolicy }
	b.do("GET", "/v1/conflict-policies", admin, "").into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != p.ID {
		t.Errorf("listed %+v", list.Items)
	}
	if got := b.do("GET", "/v1/conflict-policies", b.token(b.b.org, domain.RoleAdmin), ""); strings.Contains(string(got.body), string(p.ID)) {
		t.Error("another tenant sees the policy")
	}
	var asked struct{ Asked int }
	if got := b.do("POST", "/v1/conflict-policies/apply", admin, `{"reason":"tidy up"}`); got.status != 202 {
		t.Errorf("apply: %d %s", got.status, got.body)
	} else if got.into(t, &asked); asked.Asked < 1 {
		t.Errorf("%d conflicts asked about", asked.Asked)
	}
	if e := b.lastAction(b.a, "conflict_policy.apply"); e.Reason != "tidy up" {
		t.Errorf("audit %+v", e)
	}
	if got := b.do("DELETE", meetings+"?reason=enough", admin, ""); got.status != 204 {
		t.Fatalf("delete: %d %s", got.status, got.body)
	}
	b.do("DELETE", meetings, admin, "").problem(t, 404, "not_found")
	if e := b.lastAction(b.a, "conflict_policy.delete"); e.Reason != "enough" || e.Before["rule"] != "newest_wins" {
		t.Errorf("audit %+v", e)
	}
}

func TestPoliciesThatMakeNoSenseNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for body, field := range map[string]string{
		`{"rule":"loudest"}`:                         "body.rule",
		`{"rule":"higher_category"}`:                 "body.rule",
		`{"rule":"manual","then":"cancel"}`:          "body.then",
		`{"rule":"keep_both","then":"best"}`:         "body.then",
		`{"rule":"source_priority"}`:                 "body.sources",
		`{"rule":"newest_wins","sources":["x"]}`:     "body.sources",
		`{"rule":"source_priority","sources":["x"]}`: "body.sources",
		fmt.Sprintf(`{"rule":"source_priority","sources":[%q,%q]}`, b.a.integration, b.a.integration): "body.sources",
		fmt.Sprintf(`{"rule":"source_priority","sources":[%q]}`, b.b.integration):                     "body.sources",
		`{"rule":"newest_wins","reason":"` + strings.Repeat("x", 501) + `"}`:                          "body.reason",
	} {
		p := b.do("PUT", meetings, admin, body).problem(t, 422, "invalid")
		if len(p.Errors) == 0 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want field %s", body, p.Errors, field)
		}
	}
	b.do("PUT", "/v1/conflict-policies/wedding/brunch", admin, `{"rule":"newest_wins"}`).problem(t, 404, "not_found")
	if got := b.do("PUT", "/v1/conflict-policies/consultation/wedding", admin, `{"rule":"higher_category"}`); got.status != 200 || !strings.Contains(string(got.body), `"category":"wedding"`) {
		t.Errorf("in the other order: %d %s", got.status, got.body)
	}
}

func TestSecondPersonLearnsWhoDecidedWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	path := "/v1/conflicts/" + string(b.a.conflict)
	var c domain.Conflict
	b.do("GET", path, operator, "").into(t, &c)
	if c.DeadlineAt == nil || c.WaitingSince.IsZero() {
		t.Errorf("the conflict shows no deadline: %+v", c)
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.LockConflict(ctx, c.ID)
		if err != nil {
			return err
		}
		now.State, now.Resolution = domain.ConflictResolving, &domain.Resolution{Action: domain.ActionCancel, BookingID: c.BookingID, By: "robin", At: tx.Now}
		return tx.UpdateConflict(ctx, now, now.Version)
	}))
	for _, version := range []int64{c.Version, c.Version + 1} {
		b.flow.fail(domain.E(domain.KindConflict, "another decision is being carried out: robin decided cancel"))
		p := b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"alternative":0,"version":%d}`, version)).problem(t, 409, "conflict")
		if !strings.Contains(p.Detail, "robin decided cancel") {
			t.Errorf("version %d is told %q", version, p.Detail)
		}
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.LockConflict(ctx, c.ID)
		if err != nil {
			return err
		}
		now.State, now.ClosedAt = domain.ConflictResolved, &tx.Now
		return tx.UpdateConflict(ctx, now, now.Version)
	}))
	if p := b.do("POST", path+"/resolve", operator, fmt.Sprintf(`{"action":"keep_both","version":%d}`, c.Version)).problem(t, 409, "conflict"); !strings.Contains(p.Detail, "robin decided cancel") {
		t.Errorf("the late one is told %q", p.Detail)
	}
}
