package custom

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func TestReadingReadsAsAWebhookPartDoes(t *testing.T) {
	t.Parallel()
	m := Mapping{ExternalID: "item.id", Category: "'hold'", Start: "item.day", Notes: "headers[?'x-note']"}
	r, err := NewReading(Webhook{Mapping: &m, EventType: "body.kind"}, "settings.kinds.a", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	d := provider.Webhook{Header: http.Header{"X-Note": {"hello"}}, Body: []byte(`{"id":"1","day":"2027-06-05","kind":"made"}`), ReceivedAt: time.Now()}
	got, err := r.Decode(t.Context(), d)
	if err != nil || len(got.Changes) != 1 || got.Changes[0].Details.Notes != "hello" || got.EventType != "made" {
		t.Fatalf("%+v, %v", got, err)
	}
	if diff := cmp.Diff(got, r.Explain(t.Context(), d).Decoded); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"X-Note"}, r.Headers()); diff != "" || r.Priority() != nil {
		t.Error(diff)
	}
	d.Body = []byte(`{"id":"1","kind":"made"}`)
	told := r.Explain(t.Context(), d)
	if last := told.Steps[len(told.Steps)-1]; last.Fault == nil || last.Fault.Path != "settings.kinds.a.mapping.start" {
		t.Errorf("the fault is at %+v", told.Steps)
	}
}

func TestReadingWithoutAMappingAsksTheRulesOnly(t *testing.T) {
	t.Parallel()
	r, err := NewReading(Webhook{EventType: "body.kind", Rules: []Rule{{Name: "tests", When: "body.?test", Drop: &Drop{Reason: "a test"}},
		{Name: "soon", When: "body.?soon", Priority: "urgent"}}}, "settings", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Decode(t.Context(), provider.Webhook{Body: []byte(`{"kind":"made"}`)})
	if err != nil || got.EventType != "made" || got.Ignore != "" || len(got.Changes) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = r.Decode(t.Context(), provider.Webhook{Body: []byte(`{"kind":"made","test":true}`)}); err != nil || !strings.Contains(got.Ignore, "a test") {
		t.Errorf("%+v, %v", got, err)
	}
	if p, ok := r.Priority()(nil, []byte(`{"soon":true}`)); !ok || p != domain.PriorityUrgent {
		t.Errorf("priority %v, %t", p, ok)
	}
}

func TestFaultsOfAReadingNameItsPlace(t *testing.T) {
	t.Parallel()
	for field, w := range map[string]Webhook{
		"settings.kinds.a.mapping.start":    {Mapping: &Mapping{ExternalID: "item.id", Category: "'hold'", Start: "itm.x"}},
		"settings.kinds.a.mapping.category": {Mapping: &Mapping{ExternalID: "item.id", Start: "item.x"}},
		"settings.kinds.a.event_type":       {EventType: "body.("},
		"settings.kinds.a.rules[0]":         {Rules: []Rule{{Name: "x", When: "true"}}},
		"settings.kinds.a.content_types":    {Mapping: &Mapping{ExternalID: "item.id", Category: "'hold'", Start: "item.x"}, ContentTypes: []string{"json"}},
		"settings.kinds.a.mapping.drop":     {Mapping: &Mapping{ExternalID: "item.id", Category: "'hold'", Start: "item.x", Drop: "item.id.matches('[0-9]{4}')"}},
		"":                                  {},
	} {
		_, err := NewReading(w, "settings.kinds.a", time.UTC)
		if domain.FieldOf(err) != field {
			t.Errorf("%v, want a fault of %s", err, field)
		}
	}
}

func TestMappingsLieOverEachOtherFieldByField(t *testing.T) {
	t.Parallel()
	got := Mapping{Title: "'mine'", Notes: "'new'"}.Over(Mapping{Title: "'ours'", Start: "item.day"})
	if diff := cmp.Diff(map[string]string{"title": "'mine'", "notes": "'new'", "start": "item.day"}, got.Fields()); diff != "" {
		t.Error(diff)
	}
	back, err := MappingOf(got.Fields(), "m")
	if err != nil || back != got {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := MappingOf(map[string]string{"colour": "x"}, "m"); domain.FieldOf(err) != "m.colour" {
		t.Errorf("unknown field: %v", err)
	}
	all := map[string]string{}
	for _, name := range MappingFields() {
		all[name] = "x"
	}
	if m, err := MappingOf(all, "m"); err != nil || len(m.Fields()) != reflect.TypeFor[Mapping]().NumField() {
		t.Errorf("the list of fields: %v", err)
	}
}
