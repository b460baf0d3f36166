package custom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func init() { decodeTime = 5 * time.Minute } // the race detector makes expressions many times slower

var testSecrets = map[string]string{
	SecretWebhook: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", SecretAPIKey: "k", SecretToken: "t", SecretPassword: "p",
}

// hookSettings makes settings of a webhook with a mapping, on one line.
func hookSettings(t testing.TB, mapping map[string]string) json.RawMessage {
	t.Helper()
	full := map[string]string{"external_id": "item.id", "category": "'wedding'", "start": "item.start", "end": "item.end"}
	for k, v := range mapping {
		full[k] = v
		if v == "" {
			delete(full, k)
		}
	}
	b, err := json.Marshal(map[string]any{"webhook": map[string]any{"verify": map[string]string{"scheme": "standard-webhooks"}, "mapping": full}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zoneNamed(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func openHooks(t testing.TB, settings json.RawMessage, zone *time.Location) provider.WebhookSource {
	t.Helper()
	opened, err := open(provider.Connection{Integration: domain.Integration{Settings: settings}, Secrets: testSecrets, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	src, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		t.Fatalf("%T takes no webhooks", opened)
	}
	return src
}

var received = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

func decode(src provider.WebhookSource, body string, header http.Header) ([]domain.Change, error) {
	got, err := src.Decode(context.Background(), provider.Webhook{Header: header, Body: []byte(body), ReceivedAt: received})
	return got.Changes, err
}

func TestTimesAreReadInTheFormInWhichTheyWereWritten(t *testing.T) {
	t.Parallel()
	zoned, floating, allDay := domain.TimeZoned, domain.TimeFloating, domain.TimeAllDay
	for _, c := range []struct {
		name, local, body string
		mapping           map[string]string
		start, end, zone  string
		kind              domain.TimeKind
		fault             string // text in the error instead
	}{
		{name: "instants without a zone are in UTC", local: "America/New_York", body: `{"start":"2027-06-05T14:00:00+02:00","end":"2027-06-05T18:00:00Z"}`,
			start: "2027-06-05T12:00:00Z", end: "2027-06-05T18:00:00Z", zone: "UTC", kind: zoned},
		{name: "wall clock floats in the zone of the resource", local: "America/New_York", body: `{"start":"2027-06-05T14:00:00","end":"2027-06-05 18:30"}`,
			start: "2027-06-05T18:00:00Z", end: "2027-06-05T22:30:00Z", zone: "America/New_York", kind: floating},
		{name: "wall clock in its own zone", local: "America/New_York", mapping: map[string]string{"zone": "item.tz"},
			body:  `{"start":"2027-06-05T14:00","end":"2027-06-05T18:00","tz":"Europe/Amsterdam"}`,
			start: "2027-06-05T12:00:00Z", end: "2027-06-05T16:00:00Z", zone: "Europe/Amsterdam", kind: zoned},
		{name: "skipped clock is read with the offset before the gap", local: "America/New_York", body: `{"start":"2026-03-08T02:30:00","end":"2026-03-08T05:00:00"}`,
			start: "2026-03-08T07:30:00Z", end: "2026-03-08T09:00:00Z", zone: "America/New_York", kind: floating},
		{name: "dates are local days", local: "Pacific/Auckland", body: `{"start":"2027-06-05","end":"2027-06-07"}`,
			start: "2027-06-04T12:00:00Z", end: "2027-06-06T12:00:00Z", zone: "Pacific/Auckland", kind: allDay},
		{name: "same date twice is one day", local: "UTC", body: `{"start":"2027-06-05","end":"2027-06-05"}`,
			start: "2027-06-05T00:00:00Z", end: "2027-06-06T00:00:00Z", zone: "UTC", kind: allDay},
		{name: "all-day flag takes the date as written and not by way of UTC", local: "America/Los_Angeles", mapping: map[string]string{"all_day": "item.whole"},
			body:  `{"start":"2027-06-05T00:00:00Z","end":"2027-06-06T00:00:00Z","whole":true}`,
			start: "2027-06-05T07:00:00Z", end: "2027-06-06T07:00:00Z", zone: "America/Los_Angeles", kind: allDay},
		{name: "all-day end at 23:59 includes its day", local: "UTC", mapping: map[string]string{"all_day": "true"},
			body:  `{"start":"2027-06-05T00:00:00","end":"2027-06-06T23:59:59"}`,
			start: "2027-06-05T00:00:00Z", end: "2027-06-07T00:00:00Z", zone: "UTC", kind: allDay},
		{name: "all-day without an end is one day", local: "UTC", mapping: map[string]string{"end": "item.?end"}, body: `{"start":"2027-06-05"}`,
			start: "2027-06-05T00:00:00Z", end: "2027-06-06T00:00:00Z", zone: "UTC", kind: allDay},
		{name: "inclusive last day by add_days", local: "UTC", mapping: map[string]string{"end": "add_days(item.last, 1)"}, body: `{"start":"2027-06-05","last":"2027-06-06"}`,
			start: "2027-06-05T00:00:00Z", end: "2027-06-07T00:00:00Z", zone: "UTC", kind: allDay},
		{name: "timestamp at local midnight is that day", local: "America/New_York", mapping: map[string]string{"all_day": "true", "start": "timestamp(item.start)", "end": "duration('24h')"},
			body:  `{"start":"2027-06-05T04:00:00Z"}`,
			start: "2027-06-05T04:00:00Z", end: "2027-06-06T04:00:00Z", zone: "America/New_York", kind: allDay},
		{name: "timestamp of another midnight is refused", local: "America/New_York", mapping: map[string]string{"all_day": "true", "start": "timestamp(item.start)", "end": "duration('24h')"},
			body: `{"start":"2027-06-05T00:00:00Z"}`, fault: "start: an all-day entry needs a date as text"},
		{name: "24 hours after a midnight are a day of 25", local: "America/New_York", mapping: map[string]string{"all_day": "true", "start": "timestamp(item.start)", "end": "timestamp(item.start) + duration('24h')"},
			body:  `{"start":"2027-11-07T04:00:00Z"}`,
			start: "2027-11-07T04:00:00Z", end: "2027-11-08T05:00:00Z", zone: "America/New_York", kind: allDay},
		{name: "24 hours after a midnight are a day of 23", local: "America/New_York", mapping: map[string]string{"all_day": "true", "start": "timestamp(item.start)", "end": "read_day(item.start, 'MDY', 1)"},
			body:  `{"start":"2027-03-14T05:00:00Z"}`,
			start: "2027-03-14T05:00:00Z", end: "2027-03-15T04:00:00Z", zone: "America/New_York", kind: allDay},
		{name: "an hour off midnight is refused", local: "America/New_York", mapping: map[string]string{"all_day": "true", "start": "timestamp(item.start)", "end": "timestamp(item.end)"},
			body: `{"start":"2027-06-05T04:00:00Z","end":"2027-06-06T05:00:00Z"}`, fault: "end: an all-day entry needs a date as text"},
		{name: "duration after a start", local: "UTC", mapping: map[string]string{"end": "duration(string(item.hours) + 'h')"}, body: `{"start":"2027-06-05T14:00:00Z","hours":8}`,
			start: "2027-06-05T14:00:00Z", end: "2027-06-05T22:00:00Z", zone: "UTC", kind: zoned},
		{name: "Unix milliseconds", local: "UTC", mapping: map[string]string{"start": "from_unix_ms(item.start)", "end": "from_unix_ms(item.end)"},
			body:  `{"start":1812204000000,"end":1812211200000}`,
			start: "2027-06-05T14:00:00Z", end: "2027-06-05T16:00:00Z", zone: "UTC", kind: zoned},
		{name: "other notation by parse_time", local: "Europe/London", mapping: map[string]string{"start": "parse_time(item.start, 'DD/MM/YYYY h:mm A')", "end": "parse_time(item.end, 'DD/MM/YYYY h:mm A')"},
			body:  `{"start":"05/06/2027 2:00 PM","end":"05/06/2027 11:30 PM"}`,
			start: "2027-06-05T13:00:00Z", end: "2027-06-05T22:30:00Z", zone: "Europe/London", kind: floating},
		{name: "date and time mixed", local: "UTC", body: `{"start":"2027-06-05T10:00:00","end":"2027-06-06"}`, fault: "end: is a date, but start has a time"},
		{name: "end before start", local: "UTC", body: `{"start":"2027-06-05T10:00:00","end":"2027-06-05T09:00:00"}`, fault: "end: must be after start"},
		{name: "no end", local: "UTC", mapping: map[string]string{"end": "item.?end"}, body: `{"start":"2027-06-05T10:00:00"}`, fault: "end: has no value"},
		{name: "too long", local: "UTC", body: `{"start":"2027-06-05T10:00:00Z","end":"2029-06-05T10:00:00Z"}`, fault: "end: at most 366 days"},
		{name: "day that does not exist", local: "UTC", body: `{"start":"2027-02-29","end":"2027-03-01"}`, fault: "start: must be YYYY-MM-DD"},
		{name: "year out of range", local: "UTC", body: `{"start":"0001-01-01T00:00:00Z","end":"2027-03-01T00:00:00Z"}`, fault: "start: must be in the years"},
		{name: "unknown zone", local: "UTC", mapping: map[string]string{"zone": "item.tz"}, body: `{"start":"2027-06-05T10:00:00","end":"2027-06-05T11:00:00","tz":"Marigold/Barn"}`, fault: "zone: is not in the IANA"},
		{name: "start is a number", local: "UTC", body: `{"start":5,"end":"2027-06-05"}`, fault: "start: must be a timestamp or a text, is a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mapping := map[string]string{"external_id": "'e1'"}
			for k, v := range c.mapping {
				mapping[k] = v
			}
			got, err := decode(openHooks(t, hookSettings(t, mapping), zoneNamed(t, c.local)), c.body, nil)
			if c.fault != "" {
				if err == nil || domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("error %v, want KindInvalid with %q", err, c.fault)
				}
				if strings.Contains(err.Error(), "Marigold") || strings.Contains(err.Error(), "2027-0") {
					t.Errorf("the error repeats a value: %v", err)
				}
				return
			}
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			w := got[0].When
			if w.Start.Format(time.RFC3339) != c.start || w.End.Format(time.RFC3339) != c.end || w.Zone != c.zone || w.Kind != c.kind {
				t.Errorf("got %#v, want %s/%s %s %s", w, c.start, c.end, c.zone, c.kind)
			}
		})
	}
}

func TestFieldsAreMapped(t *testing.T) {
	t.Parallel()
	src := openHooks(t, hookSettings(t, map[string]string{
		"external_id": "item.id", "uid": "item.?uid", "revision": "item.rev", "remote_version": "timestamp(item.updated)",
		"category": "{'W': 'wedding', 'M': 'consultation'}[item.type]", "status": "item.?status", "title": "item.?title",
		"notes": "truncate(item.?notes.orValue(''), 5)", "contact": "item.client.?mail", "private": "item.?secret", "free": "'free' in item.tags",
		"origin": "item.?ref", "location": "headers['x-place']", "drop": "item.?draft", "op": "item.?gone.orValue(false) ? 'remove' : 'upsert'",
	}), time.UTC)
	base := `"start":"2027-06-05","end":"2027-06-06","rev":3,"updated":"2027-01-01T00:00:00.5Z","client":{"mail":"a@b.c"},"tags":["free"]`
	when := domain.When{Zone: "UTC", Kind: domain.TimeAllDay, Span: domain.Span{
		Start: time.Date(2027, 6, 5, 0, 0, 0, 0, time.UTC), End: time.Date(2027, 6, 6, 0, 0, 0, 0, time.UTC)}}
	full := domain.Change{Op: domain.OpUpsert, ExternalID: "42", UID: "u", Revision: "3", RemoteVersion: 1798761600500, Category: domain.CategoryWedding,
		Status: domain.StatusTentative, When: when, Private: true, Free: true, Origin: "0193b000-0000-7000-8000-000000000001", Unbound: true,
		Details: domain.Details{Title: "T", Notes: "ééx", Contact: "a@b.c", Location: "barn"}}
	for _, c := range []struct {
		name, body string
		want       []domain.Change
		fault      string
	}{
		{name: "all fields", body: `{"id":42,"uid":"u","type":"W","status":"tentative","title":"T","notes":"ééxyz","secret":true,"ref":"0193b000-0000-7000-8000-000000000001",` + base + `}`, want: []domain.Change{full}},
		{name: "absent and null are no value", body: `{"id":"a","type":"M","title":null,"ref":"see mail",` + base + `}`, want: []domain.Change{{Op: domain.OpUpsert, ExternalID: "a",
			Revision: "3", RemoteVersion: 1798761600500, Category: domain.CategoryConsultation, Status: domain.StatusConfirmed, When: when, Free: true, Details: domain.Details{Contact: "a@b.c", Location: "barn"}}}},
		{name: "dropped", body: `{"draft":true}`, want: []domain.Change{}},
		{name: "removal needs no more than its id", body: `{"id":"a","gone":true,"rev":4,"updated":"2027-01-01T00:00:00Z"}`,
			want: []domain.Change{{Op: domain.OpRemove, ExternalID: "a", Revision: "4", RemoteVersion: 1798761600000}}},
		{name: "cancelled without times", body: `{"id":"a","type":"W","status":"cancelled","rev":1,"updated":"2027-01-01T00:00:00Z","client":{},"tags":[]}`,
			want: []domain.Change{{Op: domain.OpUpsert, ExternalID: "a", Revision: "1", RemoteVersion: 1798761600000, Category: domain.CategoryWedding,
				Status: domain.StatusCancelled, Details: domain.Details{Location: "barn"}}}},
		{name: "unknown category key", body: `{"id":"a","type":"Marigold",` + base + `}`, fault: "category: the expression looks up a key that is not there"},
		{name: "unknown status", body: `{"id":"a","type":"W","status":"Marigold",` + base + `}`, fault: "status: must be one of confirmed, tentative, cancelled"},
		{name: "missing key is named", body: `{"type":"W",` + base + `}`, fault: `external_id: the expression needs "id", which is not there`},
		{name: "empty id", body: `{"id":"","type":"W",` + base + `}`, fault: "external_id: has no value"},
		{name: "id with a line end", body: `{"id":"a\nb","type":"W",` + base + `}`, fault: "external_id: holds a control character"},
		{name: "wrong type", body: `{"id":"a","type":"W","title":{"Marigold":1},` + base + `}`, fault: "title: must be a text, is an object"},
		{name: "private is no boolean", body: `{"id":"a","type":"W","secret":"Marigold",` + base + `}`, fault: "private: must be true or false, is a text"},
		{name: "title too long", body: `{"id":"a","type":"W","title":"` + strings.Repeat("x", 501) + `",` + base + `}`, fault: "title: at most 500 bytes, has 501"},
		{name: "time that is none", body: `{"id":"a","type":"W",` + strings.Replace(base, "2027-01-01T00:00:00.5Z", "Marigold", 1) + `}`, fault: "remote_version: the expression cannot be evaluated"},
		{name: "not JSON", body: `{"Marigold"`, fault: "body: "},
		{name: "member twice", body: `{"id":"a","id":"b"}`, fault: "a member name occurs twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := decode(src, c.body, http.Header{"X-Place": {"barn"}})
			if c.fault != "" {
				if domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("error %v, want KindInvalid with %q", err, c.fault)
				}
				if strings.Contains(err.Error(), "Marigold") {
					t.Errorf("the error repeats a value: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if got := src.Intake().KeepHeaders; !cmp.Equal(got, []string{"X-Place"}) {
		t.Errorf("keeps the headers %v, want those that the mapping reads", got)
	}
}

func TestWrongSettingsAreRefusedWithPlaceAndReason(t *testing.T) {
	t.Parallel()
	hook := func(field, expr string) string { return string(hookSettings(t, map[string]string{field: expr})) }
	write := func(s string) string {
		return `{"base_url":"https://crm.example","mapping":{"external_id":"item.id","category":"'hold'","start":"item.s","end":"item.e"},"write":{` + s + `}}`
	}
	for _, c := range []struct{ name, settings, field, text string }{
		{"undeclared name", hook("start", "item.start + bdy.x"), "settings.webhook.mapping.start", "line 1, column 14: undeclared reference to 'bdy'"},
		{"second line of an expression", hook("title", "item.a +\n  nope(item.b)"), "settings.webhook.mapping.title", "line 2, column 7: undeclared reference to 'nope'"},
		{"syntax", hook("title", "item.a +"), "settings.webhook.mapping.title", "line 1, column 9: Syntax error"},
		{"wrong result type", hook("status", "1 + 2"), "settings.webhook.mapping.status", "line 1, column 3: gives a whole number, must give a text"},
		{"constant outside the set", hook("status", "item.ok ? 'confirmed' : 'canceled'"), "settings.webhook.mapping.status", `line 1, column 25: "canceled" is not one of confirmed, tentative, cancelled`},
		{"constant in a table", hook("category", "{'a': 'wedding', 'b': 'party'}[item.k]"), "settings.webhook.mapping.category", `column 23: "party" is not one of`},
		{"constant default", hook("category", "item.?k.orValue('party')"), "settings.webhook.mapping.category", `"party" is not one of`},
		{"all_day is a text", hook("all_day", "'yes'"), "settings.webhook.mapping.all_day", "gives a text, must give true or false"},
		{"layout", hook("start", "parse_time(item.d, 'dd.mm.yyyy')"), "settings.webhook.mapping.start", "line 1, column 20: layout:"},
		{"header in capitals", hook("title", "headers['X-Event']"), "settings.webhook.mapping.title", "header names are lower-case here"},
		{"header by a computed name", hook("title", "headers[item.h]"), "settings.webhook.mapping.title", "needs a literal name"},
		{"too long an expression", hook("title", "'"+strings.Repeat("x", 5000)+"'"), "settings.webhook.mapping.title", "size"},
		{"too deep an expression", hook("title", strings.Repeat("(", 300)+"1"+strings.Repeat(")", 300)), "settings.webhook.mapping.title", ""},
		{"huge regular expression", hook("free", "item.a.matches('(a{500}){500}')"), "settings.webhook.mapping.free", ""},
		{"required field", hook("category", ""), "settings.webhook.mapping.category", "required"},
		{"unknown field", `{"webhook":{"verify":{"scheme":"standard-webhooks"},"mapings":{}}}`, "settings.webhook.mapings", "unknown field; known here: content_encoding, content_types, dedupe, dedupe_header, event_type, fetch_back, items, mapping, rules, schema, selective, verify"},
		{"unknown field of verify", `{"webhook":{"verify":{"shceme":"x"}}}`, "settings.webhook.verify.shceme", "unknown field"},
		{"other capitals", `{"Webhook":{}}`, "settings.Webhook", "unknown field"},
		{"wrong type", `{"list":{"page_size":"many"}}`, "settings.list.page_size", "must be a whole number"},
		{"list in place of a text", `{"webhook":{"mapping":{"title":[]}}}`, "settings.webhook.mapping.title", "must be a text"},
		{"unknown scheme", `{"webhook":{"verify":{"scheme":"x"},"mapping":{"external_id":"'a'","category":"'hold'","start":"item.s"}}}`, "settings.webhook.verify.scheme", "unknown"},
		{"nothing to do", `{}`, "settings", "at least one of webhook, list and write"},
		{"empty", ``, "settings", "line 1, column 1"},
		{"null", `null`, "settings", "must be an object"},
		{"address", `{"base_url":"crm.example","list":{"path":"/e","items":"body"},"mapping":{"external_id":"item.id","category":"'hold'","start":"item.s"}}`, "settings.base_url", "absolute address"},
		{"user in the address", `{"base_url":"https://u:p@crm.example","list":{"path":"/e","items":"body"},"mapping":{"external_id":"item.id","category":"'hold'","start":"item.s"}}`, "settings.base_url", "use auth"},
		{"variable of another place", `{"base_url":"https://crm.example","list":{"path":"/e","query":{"q":"x ${item.id}"},"items":"body"},"mapping":{"external_id":"item.id","category":"'hold'","start":"item.s"}}`, "settings.list.query.q", "line 1, column 5: undeclared reference to 'item'"},
		{"write without repeat safety", write(`"create":{"path":"/e"},"remove":{"path":"/e"}`), "settings.write", "idempotency_header or lookup"},
		{"misspelt entry", write(`"idempotency_header":"K","create":{"path":"/e","body":{"a":["${entry.titel}"]}},"remove":{"path":"/e"}`), "settings.write.create.body.a[0]", "line 1, column 3: entry has no such field; known: entry.all_day"},
		{"open template", write(`"idempotency_header":"K","create":{"path":"/e","body":"${entry.title"},"remove":{"path":"/e"}`), "settings.write.create.body", "without its }"},
		{"query in a path", write(`"idempotency_header":"K","create":{"path":"/e?a=1"},"remove":{"path":"/e"}`), "settings.write.create.path", "parameters go into query"},
		{"status that proves nothing", `{"base_url":"https://crm.example","read":{"path":"/e","missing_status":[500]},"webhook":{"verify":{"scheme":"standard-webhooks"}},"mapping":{"external_id":"item.id","category":"'hold'","start":"item.s"}}`, "settings.read.missing_status", "from 400 to 499"},
		{"auth kind", `{"auth":{"kind":"magic"}}`, "settings.auth.kind", "must be none, bearer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Validate(json.RawMessage(c.settings), testSecrets)
			if domain.KindOf(err) != domain.KindInvalid {
				t.Fatalf("error %v, want KindInvalid", err)
			}
			want := c.field + ": "
			for _, line := range strings.Split(err.Error(), "\n") {
				if strings.HasPrefix(line, want) && strings.Contains(line, c.text) {
					return
				}
			}
			t.Errorf("error\n%v\nwant %s%s", err, want, c.text)
		})
	}
}

func TestErrorNamesTheLineOfTheDocument(t *testing.T) {
	t.Parallel()
	doc := "{\n \"webhook\": {\n  \"verify\": {\"scheme\": \"standard-webhooks\"},\n  \"mapping\": {\n   \"external_id\": \"item.id\",\n   \"category\": \"'hold'\",\n   \"start\":\n     \"bdy.start\",\n   \"end\": \"item.end\"\n  }\n }\n}"
	err := Validate(json.RawMessage(doc), testSecrets)
	want := "settings.webhook.mapping.start: line 1, column 1: undeclared reference to 'bdy' (line 8 of the settings)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestEveryFaultIsReportedOnce(t *testing.T) {
	t.Parallel()
	doc := `{"base_url":"https://crm.example","mapping":{"external_id":"nope","category":"'hold'","start":"item.s","end":"7.5"},
		"webhook":{"verify":{"scheme":"standard-webhooks"}},"list":{"path":"/e","items":"body.events"},"read":{"path":"/e"}}`
	err := Validate(json.RawMessage(doc), testSecrets)
	if err == nil || strings.Count(err.Error(), "\n") != 1 || domain.FieldOf(err) != "settings.mapping.external_id" {
		t.Errorf("want one line for each of the two faults, got:\n%v", err)
	}
}

func TestSecretsAreRequiredWhereTheyAreUsed(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		SecretWebhook: string(hookSettings(t, nil)), SecretAPIKey: `{"auth":{"kind":"header","header":"X-Key"}}`,
		SecretToken: `{"auth":{"kind":"bearer"}}`, SecretPassword: `{"auth":{"kind":"basic","username":"u"}}`,
	} {
		some := map[string]string{}
		for k, v := range testSecrets {
			if k != name {
				some[k] = v
			}
		}
		if err := Validate(json.RawMessage(doc), some); err == nil || !strings.Contains(err.Error(), "secrets."+name+": required") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	two := map[string]string{SecretWebhook: testSecrets[SecretWebhook] + "\n " + "whsec_" + "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}
	c, err := compileAll(hookSettings(t, nil), two, time.UTC)
	if err != nil || len(c.webhook.intake.Credentials) != 2 {
		t.Errorf("two secrets during a rotation: %v", err)
	}
}

func TestHostileExpressionsAreStopped(t *testing.T) {
	t.Parallel()
	list := "[" + strings.Repeat("1,", 999) + "1]"
	long := `"` + strings.Repeat("a", 100_000) + `"`
	for name, expr := range map[string]string{
		"nested loops":             "string(item.l.map(a, item.l.map(b, item.l.map(c, a + b + c))).size())",
		"doubling text":            "[1,2,3,4,5,6,7,8,9].map(x, item.t + item.t + item.t + item.t)[0]",
		"replace that multiplies":  "item.t.replace('a', item.t)",
		"join that multiplies":     "item.l.map(x, item.t).join(item.t)",
		"split into many":          "item.t.split('')[0]",
		"pattern on a long text":   "item.l.exists(x, item.t.matches('(a|aa)+b')) ? 'x' : 'y'",
		"comparison of everything": "item.l.all(x, item.l.all(y, item.l == item.l)) ? 'x' : 'y'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := openHooks(t, hookSettings(t, map[string]string{"title": expr}), time.UTC)
			_, err := decode(src, `{"id":"a","start":"2027-06-05","end":"2027-06-06","l":`+list+`,"t":`+long+`}`, nil)
			if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "title" || strings.Contains(err.Error(), "aaaa") {
				t.Errorf("error %.200v, want KindInvalid about title", err)
			}
		})
	}
	t.Run("many entries", func(t *testing.T) {
		t.Parallel()
		var doc map[string]map[string]any
		if err := json.Unmarshal(hookSettings(t, map[string]string{"title": "string(body.l.filter(x, x == 1).size())"}), &doc); err != nil {
			t.Fatal(err)
		}
		doc["webhook"]["items"] = "body.l.map(x, {'id': x, 'start': '2027-06-05', 'end': '2027-06-06'})"
		settings, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = decode(openHooks(t, settings, time.UTC), `{"l":`+list+`}`, nil)
		if domain.KindOf(err) != domain.KindInvalid || !errors.Is(err, errTooMuchWork) {
			t.Errorf("error %v, want KindInvalid about the whole delivery", err)
		}
	})
	t.Run("ended context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := openHooks(t, hookSettings(t, nil), time.UTC).Decode(ctx, provider.Webhook{Body: []byte(`{}`)})
		if domain.KindOf(err) != domain.KindUnavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want KindUnavailable", err)
		}
	})
}

func TestDecodeDependsOnTheDeliveryAlone(t *testing.T) {
	t.Parallel()
	settings := hookSettings(t, map[string]string{"title": "item.?title", "status": "item.?status", "notes": "string(received_at)", "remote_version": "item.?n"})
	one, two := openHooks(t, settings, time.UTC), openHooks(t, settings, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(map[string]any{
			"id":    rapid.SampledFrom([]any{"a", "b", 7, nil, true}).Draw(t, "id"),
			"start": rapid.SampledFrom([]string{"2027-06-05", "2027-06-05T10:00", "2027-06-05T10:00:00-04:00", "x"}).Draw(t, "start"),
			"end":   rapid.SampledFrom([]string{"2027-06-06", "2027-06-05T12:00", "2027-06-05T12:00:00-04:00"}).Draw(t, "end"),
			"title": rapid.String().Draw(t, "title"), "status": rapid.SampledFrom([]string{"", "tentative", "odd"}).Draw(t, "status"),
			"n": rapid.Int64().Draw(t, "n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		a, errA := decode(one, string(body), nil)
		b, errB := decode(two, string(body), nil)
		if !cmp.Equal(a, b) || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Fatalf("decoded differently: %v %v; %v %v", a, errA, b, errB)
		}
		for _, c := range a {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPlainPathsMeanWhatTheInterpreterSays(t *testing.T) {
	t.Parallel()
	exprs := []string{"item.a", "item.?a", "item.a.b", "item.?a.b", "item.a.?b", "item.?a.?b.c", "item.?a.orValue('x')", "item.?a.?b.orValue('y')",
		"item.a.orValue('x')", "item", "body.a.b.c", "item.?a.orValue(null)"}
	values := []string{`{}`, `null`, `{"a":null}`, `{"a":1}`, `{"a":"s"}`, `{"a":{"b":true}}`, `{"a":{"b":{"c":[1]}}}`, `{"a":{}}`, `[1]`, `"t"`, `{"a":1.5}`, `{"a":18446744073709551615}`}
	for _, expr := range exprs {
		p, err := compile(expr, "x", 0, scopeItem, wantAny, nil)
		if err != nil {
			t.Fatal(expr, err)
		}
		for _, text := range values {
			v, err := parseJSON([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			w := newWork(t.Context())
			w.vars = vars{item: v, body: v}
			fast, errFast := w.eval(p)
			slow := *p
			slow.plain = nil
			plain, errPlain := w.eval(&slow)
			if fmt.Sprint(errFast) != fmt.Sprint(errPlain) || fmt.Sprint(fast) != fmt.Sprint(plain) || reflect.TypeOf(fast) != reflect.TypeOf(plain) {
				t.Errorf("%s on %s: %v (%v), the interpreter says %v (%v)", expr, text, fast, errFast, plain, errPlain)
			}
		}
	}
	if p, err := compile("item.?a.b", "x", 0, scopeItem, wantAny, nil); err != nil || p.plain == nil {
		t.Error("an ordinary path is left to the interpreter")
	}
}

func TestAbilitiesAreExactlyTheConfiguredOnes(t *testing.T) {
	t.Parallel()
	for set := range 32 {
		c := &connection{}
		if set&hasHooks != 0 {
			c.webhook = &webhookPart{}
		}
		if set&hasLists != 0 {
			c.list = &listPart{}
		}
		if set&hasReads != 0 {
			c.read = &readPart{}
		}
		if set&hasWrites != 0 {
			c.write = &writePart{}
		}
		if set&hasProbes != 0 {
			c.probe = &probePart{}
		}
		v := c.abilities()
		_, hook := provider.As[provider.WebhookSource](v)
		_, list := provider.As[provider.Puller](v)
		_, read := provider.As[provider.Reader](v)
		_, write := provider.As[provider.Writer](v)
		_, probe := provider.As[provider.Prober](v)
		got := 0
		for bit, has := range map[int]bool{hasHooks: hook, hasLists: list, hasReads: read, hasWrites: write, hasProbes: probe} {
			if has {
				got |= bit
			}
		}
		if got != set {
			t.Errorf("parts %05b give abilities %05b", set, got)
		}
	}
}

func TestJSONIsReadAsTheStandardLibraryReadsIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"a":[1,-2,3.5,1e3,"x\u00e9\n\ud83d\ude00\ud800",true,false,null,{}]}`, ` [ ] `, `"\/"`, `0`, `-0.0`, `[[1],[2]]`,
		``, `{`, `[1,]`, `{"a"}`, `{"a":1,}`, `01`, `1.`, `1e`, `-`, `"\x"`, `"`, "\"\x01\"", `nul`, `[1 2]`, `{"a":1 "b":2}`, `1 2`, `+1`, `.5`, `"\u12"`} {
		var want any
		errWant := json.Unmarshal([]byte(text), &want)
		got, err := parseJSON([]byte(text))
		if (err == nil) != (errWant == nil) {
			t.Errorf("%q: %v, the library says %v", text, err, errWant)
			continue
		}
		if err == nil && !cmp.Equal(floats(got), want) {
			t.Errorf("%q: %v, the library reads %v", text, got, want)
		}
	}
	for text, want := range map[string]any{`9007199254740993`: int64(9007199254740993), `18446744073709551615`: uint64(math.MaxUint64),
		`123456789012345678901234567890`: "123456789012345678901234567890", `1.0`: 1.0} {
		if got, err := parseJSON([]byte(text)); err != nil || got != want {
			t.Errorf("%s is read as %T %v (%v)", text, got, got, err)
		}
	}
	for _, text := range []string{"\"\xff\"", `{"a":1,"a":1}`, strings.Repeat("[", 65) + strings.Repeat("]", 65), "[" + strings.Repeat("1,", maxNodes) + "1]", `1e999`} {
		if _, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("%.40q is accepted", text)
		}
	}
}

// floats turns whole numbers into what encoding/json gives.
func floats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = floats(v[k])
		}
	}
	return v
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00",2.5e3]}`, `[]`, `"x"`, `{"a":{"b":null}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseJSON(b)
		if err == nil && !json.Valid(b) {
			t.Fatalf("%q is no JSON but read as %v", b, v)
		}
	})
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"item.a", "body.?x.orValue('y')", "item.l.map(a, a * 2).size()", "parse_time(item.d, 'YYYY-MM-DD')", "headers['x']"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := compile(src, "x", 0, scopeItem, wantAny, nil)
		if err != nil {
			if domain.KindOf(err) != domain.KindInvalid {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		w := newWork(t.Context())
		w.vars = vars{item: map[string]any{"a": "x", "l": []any{int64(1)}, "d": "2027-06-05"}, body: map[string]any{}, headers: map[string]string{}}
		if _, err := w.eval(p); err != nil && domain.KindOf(err) != domain.KindInvalid {
			t.Fatalf("%q: %v", src, err)
		}
	})
}
