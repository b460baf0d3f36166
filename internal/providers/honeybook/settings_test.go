package honeybook

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

func TestWrongSettingsNameTheirField(t *testing.T) {
	t.Parallel()
	for settings, field := range map[string]string{
		`{"date_order":"ymd"}`:                                                               "settings.date_order",
		`{"triggers":{"meeting_cancelled":{}}}`:                                              "settings.triggers",
		`{"triggers":{"inquiry":{"mapping":{"start":"itm.x"}}}}`:                             "settings.triggers.inquiry.mapping.start",
		`{"triggers":{"inquiry":{"mapping":{"category":"'cake'"}}}}`:                         "settings.triggers.inquiry.mapping.category",
		`{"triggers":{"inquiry":{"mapping":{"colour":"'red'"}}}}`:                            "settings",
		`{"trigger":"body.("}`:                                                               "settings.trigger",
		`{"rules":[{"name":"x","when":"true"}]}`:                                             "settings.rules[0]",
		`{"verify":{"scheme":"stripe"}}`:                                                     "settings.verify.scheme",
		`{"verify":{"scheme":"hmac"}}`:                                                       "settings.verify.header",
		`{"dedupe":{"hash":true,"header":"X-Id"}}`:                                           "settings.dedupe",
		`{"lead_form":{"enabled":true}}`:                                                     "settings.lead_form.company_id",
		`{"lead_form":{"per_day":101}}`:                                                      "settings.lead_form.per_day",
		`{"lead_form":{"url":"https://honeybook.example"}}`:                                  "settings.lead_form.url",
		`{"lead_form":{"company_id":"xyz"}}`:                                                 "settings.lead_form.company_id",
		`{"triggers":{"inquiry":{"mapping":{"notes":"` + strings.Repeat("a", 5000) + `"}}}}`: "settings.triggers.inquiry.mapping.notes",
	} {
		err := validate(json.RawMessage(settings), secrets)
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%.80s: %v, want a fault of %s", settings, err, field)
		}
	}
	if err := validate(json.RawMessage(`{}`), nil); domain.FieldOf(err) != "secrets.webhook_secret" {
		t.Errorf("no secret: %v", err)
	}
	// Several faults are told at once.
	err := validate(json.RawMessage(`{"triggers":{"inquiry":{"mapping":{"start":"itm.x"}},"stage_changed":{"mapping":{"title":"itm.y"}}}}`), secrets)
	if many, ok := err.(interface{ Unwrap() []error }); !ok || len(many.Unwrap()) != 2 || !errors.As(err, new(*domain.Error)) {
		t.Errorf("two faults: %v", err)
	}
}

func TestEverySchemeOfARelayStepIsTaken(t *testing.T) {
	t.Parallel()
	for scheme, c := range map[webhookauth.Scheme]struct{ more, secret string }{
		webhookauth.APIKey: {`,"header":"X-Key"`, key}, webhookauth.Bearer: {"", key}, webhookauth.Basic: {"", "studio:a-long-password"},
		webhookauth.HMAC: {`,"header":"X-Signature"`, key}, webhookauth.HMACSHA256: {`,"header":"X-Signature"`, key},
		webhookauth.StandardWebhooks: {"", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, webhookauth.PathToken: {"", "q7Zr3vXk9LmT2nWb5yHc8D"},
	} {
		if err := validate(json.RawMessage(`{"verify":{"scheme":"`+string(scheme)+`"`+c.more+`}}`), map[string]string{custom.SecretWebhook: c.secret}); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	var schema struct {
		Properties map[string]struct {
			Properties map[string]struct{ Enum []webhookauth.Scheme }
		}
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(settingsSchema, &schema); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(schemes, schema.Properties["verify"].Properties["scheme"].Enum); diff != "" {
		t.Errorf("(-program +schema)\n%s", diff)
	}
	inSchema := slices.Sorted(maps.Keys(schema.Properties["triggers"].Properties))
	var names []string
	for _, tr := range triggers {
		names = append(names, tr.name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, inSchema); diff != "" {
		t.Errorf("(-program +schema)\n%s", diff)
	}
}

func TestEditedMappingKeepsOnlyWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	stored := json.RawMessage(`{"date_order":"dmy","triggers":{"inquiry":{"off":true,"mapping":{"title":"'x'"}}}}`)
	have, err := readMapping(stored, Inquiry)
	if err != nil || have.InEffect["title"] != "'x'" || have.Own["title"] == "'x'" || !strings.Contains(have.InEffect["start"], "'DMY'") {
		t.Fatalf("read %+v, %v", have, err)
	}
	fields := maps.Clone(have.InEffect)
	fields["title"], fields["location"] = "", "'here'"
	changed, err := changeMapping(stored, Inquiry, fields)
	if err != nil || string(changed) != `{"date_order":"dmy","triggers":{"inquiry":{"off":true,"mapping":{"location":"'here'"}}}}` {
		t.Errorf("changed to %s, %v", changed, err)
	}
	if changed, err = changeMapping(changed, ProjectBooked, map[string]string{}); err != nil || strings.Contains(string(changed), ProjectBooked) {
		t.Errorf("a mapping that is ours is stored: %s, %v", changed, err)
	}
	if _, err = changeMapping(stored, Inquiry, map[string]string{"colour": "'red'"}); domain.FieldOf(err) != "settings.triggers.inquiry.mapping.colour" {
		t.Errorf("unknown field: %v", err)
	}
	if _, err = readMapping(stored, "cake"); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("unknown trigger: %v", err)
	}
	for _, name := range mappings.Fields {
		if _, err := custom.MappingOf(map[string]string{name: "x"}, "m"); err != nil {
			t.Errorf("field %s: %v", name, err)
		}
	}
}

func TestTrialLiesOverTheStoredSettings(t *testing.T) {
	t.Parallel()
	stored := json.RawMessage(`{"date_order":"dmy","triggers":{"inquiry":{"off":true},"stage_changed":{"off":true}}}`)
	got, err := trial(stored, json.RawMessage(`{"triggers":{"inquiry":{}}}`))
	if err != nil || string(got) != `{"date_order":"dmy","triggers":{"inquiry":{},"stage_changed":{"off":true}}}` {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{`[]`, `null`, `{"triggers":[]}`, `{`} {
		if _, err := trial(stored, json.RawMessage(bad)); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
