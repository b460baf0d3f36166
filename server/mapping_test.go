package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/store"
)

// mappingBundle has a custom integration of tenant a.
func mappingBundle(t *testing.T) (*bundle, domain.IntegrationID, string) {
	t.Helper()
	b := setup(t, func(d *Deps) { d.Providers = append(d.Providers, custom.Registration) })
	settings := `{"webhook":{"verify":{"scheme":"standard-webhooks"},"items":"body.list","mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end","title":"item.?title"}}}`
	admin := b.token(b.a.org, domain.RoleAdmin)
	var made struct{ ID domain.IntegrationID }
	b.do("POST", "/v1/integrations", admin, `{"name":"Hotel","provider":"custom","resource_id":"`+string(b.a.resource)+`","settings":`+settings+
		`,"secrets":{"webhook_secret":"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}`).into(t, &made)
	return b, made.ID, b.token(b.a.org, domain.RoleOperator)
}

// store a delivery of tenant a.
func (b *bundle) stored(i domain.IntegrationID, n int, body string) domain.DeliveryID {
	b.Helper()
	// Identifiers sort by their time, so each has one of its own.
	id := domain.NewID[domain.DeliveryID](time.Date(2027, 5, 1, 9, 0, 0, n*int(time.Millisecond), time.UTC))
	_, err := b.store.InsertDeliveries(b.Context(), []store.NewDelivery{{ID: id, OrgID: b.a.org, IntegrationID: i, Dedupe: [32]byte{9, byte(n), byte(n >> 8)}, Size: len(body),
		ReceivedAt: time.Now(), Content: b.store.SealDelivery(b.a.org, id, map[string]string{"content-type": "application/json"}, []byte(body))}})
	b.must(err)
	return id
}

const mappingPart = `"verify":{"scheme":"standard-webhooks"},"items":"body.list","mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end"`

func listed(id, more string) string {
	return `{"id":"` + id + `","start":"2027-06-05T14:00:00Z","end":"2027-06-05T15:00:00Z"` + more + `}`
}

func TestMappingIsTestedStepByStep(t *testing.T) {
	t.Parallel()
	b, id, operator := mappingBundle(t)
	path := "/v1/integrations/" + string(id) + "/mapping:test"
	type answer struct {
		Verification, Outcome, Reason, Priority string
		Steps                                   []struct {
			Name, Subject, Result string
			Fault                 *struct {
				Path, Text   string
				Line, Column int
			}
		}
		Changes      []domain.Change
		ChangesTotal int `json:"changes_total"`
		Cost         int
	}
	test := func(body string) (a answer) {
		t.Helper()
		b.do("POST", path, operator, body).into(t, &a)
		return a
	}
	got := test(`{"sample":{"body":{"list":[` + listed("e1", `,"title":"Marigold"`) + `]}}}`)
	if got.Outcome != "applied" || got.Verification != "not done" || len(got.Changes) != 1 || got.Changes[0].Details.Title != "Marigold" || len(got.Steps) != 3 {
		t.Errorf("a sample: %+v", got)
	}
	if got = test(`{"sample":{"body":"{\"list\":[]}"}}`); got.Outcome != "ignored" || got.Changes == nil {
		t.Errorf("a text as sample: %+v", got)
	}
	got = test(`{"sample":{"body":{"list":[{"id":"Marigold"}]}}}`)
	last := got.Steps[len(got.Steps)-1]
	if got.Outcome != "dead" || last.Fault == nil || last.Fault.Path != "settings.webhook.mapping.start" || last.Fault.Line != 1 || last.Fault.Column != 5 || strings.Contains(got.Reason, "Marigold") {
		t.Errorf("a faulty sample: %+v", got)
	}
	got = test(`{"settings":{"content_types":["application/x-www-form-urlencoded"],"rules":[{"name":"soon","when":"body.?soon == optional.of('1')","priority":"urgent"}],
		"verify":{"scheme":"standard-webhooks"},"mapping":{"external_id":"body.id","category":"'vendor'","start":"body.start","end":"body.end"}},
		"sample":{"body":"id=f1&start=2027-06-05T14:00&end=2027-06-05T15:00&soon=1","content_type":"application/x-www-form-urlencoded"}}`)
	if got.Outcome != "applied" || got.Priority != "urgent" || len(got.Changes) != 1 || got.Changes[0].ExternalID != "f1" || got.Cost == 0 {
		t.Errorf("other settings: %+v", got)
	}
	delivery := b.stored(id, 1, `{"list":[`+listed("d1", "")+`]}`)
	if got = test(`{"delivery_id":"` + string(delivery) + `"}`); got.Outcome != "applied" || got.Changes[0].ExternalID != "d1" {
		t.Errorf("a stored delivery: %+v", got)
	}
	if e := b.lastAction(b.a, "delivery.test_mapping"); e.Subject != "delivery/"+string(delivery) {
		t.Errorf("the trail says %+v", e)
	}
	for name, c := range map[string]struct{ body, field string }{
		"nothing":              {`{}`, "body"},
		"both":                 {`{"sample":{"body":1},"delivery_id":"` + string(delivery) + `"}`, "body"},
		"another's delivery":   {`{"delivery_id":"` + string(b.b.delivery) + `"}`, "body.delivery_id"},
		"of another":           {`{"delivery_id":"` + string(b.a.delivery) + `"}`, "body.delivery_id"},
		"wrong settings":       {`{"settings":{` + mappingPart + `,"title":"itm.x"}},"sample":{"body":{}}}`, "settings.webhook.mapping.title"},
		"settings of no shape": {`{"settings":[],"sample":{"body":{}}}`, "settings"},
	} {
		if p := b.do("POST", path, operator, c.body).problem(t, 422, "invalid"); len(p.Errors) == 0 || p.Errors[0].Field != c.field {
			t.Errorf("%s: %+v", name, p)
		}
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.FinishDeliveries(ctx, []store.DeliveryOutcome{{ID: delivery, State: domain.DeliveryIgnored, Reason: "nothing in it"}})
	}))
	if erased, err := b.store.EraseBodies(t.Context(), b.a.org, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), "", 100); err != nil || erased.Done == 0 {
		t.Fatalf("erased %+v, %v", erased, err)
	}
	b.do("POST", path, operator, `{"delivery_id":"`+string(delivery)+`"}`).problem(t, 409, "conflict")
	b.do("POST", "/v1/integrations/"+string(id)+"/mappingtest", operator, `{}`).problem(t, 404, "not_found")
	if strings.Contains(b.log.String(), "Marigold") {
		t.Error("a value reached the log")
	}
}

func TestBacktestTellsWhatANewMappingWouldChange(t *testing.T) {
	t.Parallel()
	b, id, operator := mappingBundle(t)
	var ids []domain.DeliveryID
	for i, body := range []string{`{"list":[` + listed("same", "") + `]}`, `{"list":[` + listed("titled", `,"title":"Marigold"`) + `]}`, `{"nolist":true}`,
		`{"list":[` + listed("test", `,"title":""`) + `],"test":true}`, `{"list":[]}`} {
		ids = append(ids, b.stored(id, i, body))
	}
	for i := range 25 { // more than a page
		ids = append(ids, b.stored(id, 100+i, `{"list":[`+listed(fmt.Sprint("more-", i), "")+`]}`))
	}
	type answer struct {
		Tried, Erased int
		Complete      bool
		Counts        map[string]int
		NewHeaders    []string `json:"new_headers"`
		Deliveries    []struct {
			DeliveryID domain.DeliveryID `json:"delivery_id"`
			Kind       string
			Outcome    string
			Fields     []string
			Reason     string
		}
	}
	settings := `{"verify":{"scheme":"standard-webhooks"},"items":"body.?list.orValue([])","rules":[{"name":"tests","when":"body.?test","drop":{"reason":"a test"}}],
		"mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end","uid":"headers[?'x-uid']"}}`
	var got answer
	reply := b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":`+settings+`,"last":1000}`)
	reply.into(t, &got)
	if strings.Contains(string(reply.body), "Marigold") {
		t.Error("the answer holds a value")
	}
	if !got.Complete || got.Tried != 30 || got.Erased != 0 || fmt.Sprint(got.NewHeaders) != "[X-Uid]" || len(got.Deliveries) != 30 {
		t.Fatalf("answer %+v", got)
	}
	if fmt.Sprint(got.Counts) != "map[changed:1 newly_applied:0 newly_dead:0 newly_ignored:2 same:27]" {
		t.Errorf("counts %v", got.Counts)
	}
	by := map[domain.DeliveryID]string{}
	for _, d := range got.Deliveries {
		by[d.DeliveryID] = fmt.Sprint(d.Kind, " ", d.Outcome, " ", d.Fields, " ", d.Reason)
	}
	for i, want := range []string{"same applied [] ", "changed applied [title] ", "newly_ignored ignored [] nothing in it is for us",
		`newly_ignored ignored [] dropped by rule "tests": a test`, "same ignored [] nothing in it is for us"} {
		if by[ids[i]] != want {
			t.Errorf("delivery %d: %s, want %s", i, by[ids[i]], want)
		}
	}
	got = answer{}
	b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":`+settings+`,"last":3}`).into(t, &got)
	if !got.Complete || got.Tried != 3 || got.Deliveries[0].DeliveryID != ids[len(ids)-1] {
		t.Errorf("the newest three: %+v", got)
	}
	b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":`+settings+`,"last":1001}`).problem(t, 422, "invalid")
	b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":null}`).problem(t, 422, "invalid")
	p := b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":{"items":"body.list +"}}`).problem(t, 422, "invalid")
	if raw, _ := json.Marshal(p); !strings.Contains(string(raw), "settings.webhook.items") {
		t.Errorf("wrong settings: %s", raw)
	}
	if e := b.lastAction(b.a, "integration.backtest"); e.After["last"] != "100" && e.After["last"] != "3" {
		t.Errorf("the trail says %+v", e)
	}
	// Nothing was applied or counted.
	b.must(b.store.TenantRead(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		d, err := tx.Delivery(ctx, ids[0])
		if d.State != domain.DeliveryReceived || d.Attempts != 0 {
			t.Errorf("a tried delivery is %+v", d)
		}
		return err
	}))
}

func TestBacktestsAtOnceAreFew(t *testing.T) {
	t.Parallel()
	b, id, operator := mappingBundle(t)
	b.server.backtests.Add(backtestsAtOnce)
	got := b.do("POST", "/v1/integrations/"+string(id)+"/mapping:backtest", operator, `{"settings":{}}`)
	got.problem(t, 429, "rate_limited")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if n := b.server.backtests.Load(); n != backtestsAtOnce {
		t.Errorf("%d under way", n)
	}
}
