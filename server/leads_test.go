package server

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/sim/honeybooksim"
)

func leadBundle(t *testing.T) (*bundle, *honeybooksim.Studio, string) {
	t.Helper()
	const company = "5f0e1d2c3b4a59687766554a"
	studio := honeybooksim.New(honeybooksim.Options{Company: company})
	srv := httptest.NewServer(studio.Forms())
	t.Cleanup(srv.Close)
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b, id := relayBundle(t, `{"lead_form":{"enabled":true,"vendor_id":"v","company_id":"`+company+`","contact_form_id":"f","per_day":2,"url":"`+srv.URL+`"}}`,
		func(d *Deps) { d.Outward = client })
	return b, studio, "/v1/integrations/" + string(id) + "/leads"
}

const marigoldsLead = `{"full_name":"Marigold","email":"marigold@example.com","event_date":"2027-06-05"}`

type leadAnswer struct {
	ID, State, Meaning, Reason string
	Confirmed                  bool
}

func TestEnquiryIsSentOnceForAKeyAndNothingIsConfirmed(t *testing.T) {
	t.Parallel()
	b, studio, path := leadBundle(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	answers := make([]leadAnswer, 6)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			b.do("POST", path, operator, marigoldsLead, header("Idempotency-Key", "one")).into(t, &answers[i])
		})
	}
	wg.Wait()
	var last leadAnswer
	b.do("POST", path, operator, marigoldsLead, header("Idempotency-Key", "one")).into(t, &last)
	if len(studio.Leads()) != 1 || last.State != "answered" || last.Confirmed || !strings.Contains(last.Meaning, "not told") {
		t.Errorf("%d arrived; the answer is %+v", len(studio.Leads()), last)
	}
	for _, a := range answers {
		if a.ID != last.ID {
			t.Errorf("one key made two: %+v", a)
		}
	}
	b.do("POST", path, operator, strings.Replace(marigoldsLead, "Marigold", "Oakbridge", 1), header("Idempotency-Key", "one")).problem(t, 409, "conflict")
	var list struct{ Items []leadAnswer }
	b.do("GET", path, b.token(b.a.org, domain.RoleViewer), "").into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != last.ID {
		t.Errorf("listed %+v", list)
	}
	if e := b.lastAction(b.a, "lead.send"); e.After["lead"] != last.ID {
		t.Errorf("the trail says %+v", e)
	}
	if strings.Contains(b.log.String(), "arigold") {
		t.Error("a name reached the log")
	}
}

func TestEnquiryThatMayHaveArrivedIsNeverSentAgainByItself(t *testing.T) {
	t.Parallel()
	b, studio, path := leadBundle(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	studio.SetFaults(honeybooksim.FormFaults{LoseAnswer: true})
	var got leadAnswer
	for range 3 {
		b.do("POST", path, operator, marigoldsLead, header("Idempotency-Key", "lost")).into(t, &got)
		if got.State != "unknown" || !strings.Contains(got.Meaning, "may have arrived") || strings.Contains(got.Reason, "arigold") {
			t.Errorf("a lost answer: %+v", got)
		}
	}
	if n := len(studio.Leads()); n != 1 {
		t.Errorf("%d arrived", n)
	}
	studio.SetFaults(honeybooksim.FormFaults{Status: 422})
	b.do("POST", path, operator, marigoldsLead, header("Idempotency-Key", "refused")).into(t, &got)
	if got.State != "refused" || len(studio.Leads()) != 1 {
		t.Errorf("refused: %+v", got)
	}
}

func TestEnquiriesAreBounded(t *testing.T) {
	t.Parallel()
	b, studio, path := leadBundle(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	for range 2 {
		if got := b.do("POST", path, operator, marigoldsLead); got.status != 201 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	got := b.do("POST", path, operator, marigoldsLead)
	got.problem(t, 429, "rate_limited")
	if got.header.Get("Retry-After") == "" || len(studio.Leads()) != 2 {
		t.Errorf("Retry-After %q, %d arrived", got.header.Get("Retry-After"), len(studio.Leads()))
	}
	for field, body := range map[string]string{"body.email": `{"full_name":"x","email":"none"}`, "body.event_date": `{"full_name":"x","email":"x@example.com","event_date":"soon"}`} {
		if p := b.do("POST", path, operator, body).problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", field, p)
		}
	}
	b.do("POST", path, b.token(b.a.org, domain.RoleViewer), marigoldsLead).problem(t, 403, "forbidden")
}

func TestEnquiriesAreOffUnlessTheSettingsSaySo(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{}`)
	b.do("POST", "/v1/integrations/"+string(id)+"/leads", b.token(b.a.org, domain.RoleOperator), marigoldsLead).problem(t, 409, "conflict")
}
