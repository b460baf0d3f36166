package tave

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	good := map[string]string{secretKey: "k"}
	for name, v := range map[string]struct {
		raw     string
		secrets map[string]string
		field   string // "" = accepted
	}{
		"nothing":           {`{}`, good, ""},
		"all":               {`{"api_url":"http://127.0.0.1:1/api/v2","studio":"s","timezone":"Europe/London","event_type":"Block","jobs":{"wedding":"Wedding"},"job_status":"keep","lead_studio":"st-1","requests_per_second":3,"sweep_hours":12,"category_default":"vendor"}`, map[string]string{secretKey: "k", secretLead: "l"}, ""},
		"no key":            {`{}`, nil, "secrets.api_key"},
		"key with a break":  {`{}`, map[string]string{secretKey: "a\nb"}, "secrets.api_key"},
		"address elsewhere": {`{"api_url":"https://evil.example/api/v2"}`, good, "settings.api_url"},
		"address with user": {`{"api_url":"http://a:b@127.0.0.1/"}`, good, "settings.api_url"},
		"no such zone":      {`{"timezone":"Mars/Olympus"}`, good, "settings.timezone"},
		"no such category":  {`{"jobs":{"party":"x"}}`, good, "settings.jobs"},
		"empty job type":    {`{"jobs":{"wedding":""}}`, good, "settings.jobs.wedding"},
		"job_status":        {`{"job_status":"maybe"}`, good, "settings.job_status"},
		"lead, no secret":   {`{"lead_studio":"a","jobs":{"hold":"x"}}`, good, "secrets.lead_secret"},
		"lead, no jobs":     {`{"lead_studio":"a"}`, good, "settings.lead_studio"},
		"lead with a path":  {`{"lead_studio":"../x","jobs":{"hold":"x"}}`, good, "settings.lead_studio"},
		"no rate":           {`{"requests_per_second":0}`, good, "settings.requests_per_second"},
		"too fast":          {`{"requests_per_second":21}`, good, "settings.requests_per_second"},
		"sweeps":            {`{"sweep_hours":0}`, good, "settings.sweep_hours"},
		"category rules":    {`{"category_rules":[{"category":"x","contains":["a"]}]}`, good, "settings.category_rules[0].category"},
	} {
		err := Registration.Validate(json.RawMessage(v.raw), v.secrets)
		if domain.FieldOf(err) != v.field || (err == nil) != (v.field == "") {
			t.Errorf("%s: %v, want field %q", name, err, v.field)
		}
	}
	s, err := parseSettings(json.RawMessage(`{}`))
	if err != nil || s.base.String() != "https://workspace.vsco.co/api/v2" {
		t.Errorf("the API is at %v, %v", s.base, err)
	}
}

func TestStudioIsRecognisedWhenItIsConnected(t *testing.T) {
	t.Parallel()
	b := setup(t, tavesim.Options{}, weddingsAsJobs, func(s *settings) { s.Timezone, s.EventType = "", "call" })
	raw := must[json.RawMessage](t)(b.conn.Onboard(t.Context()))
	s := must[settings](t)(parseSettings(raw))
	if s.Studio != b.sim.StudioID() || s.Timezone != "Europe/London" || s.EventType != b.sim.Named("event-type", "Call") ||
		s.Jobs[domain.CategoryWedding] != b.sim.Named("job-type", "Wedding") {
		t.Errorf("%s", raw)
	}
	s.Studio = "01h35ccwymj5ctckp8px1azhg6"
	_, err := b.connect(t, s, domain.DirectionImport, b.key).Onboard(t.Context())
	if domain.FieldOf(err) != "settings.studio" {
		t.Errorf("a key of another studio: %v", err)
	}
	s.Studio, s.Jobs = "", map[domain.Category]string{domain.CategoryHold: "Unheard of"}
	_, err = b.connect(t, s, domain.DirectionImport, b.key).Onboard(t.Context())
	if domain.FieldOf(err) != "settings.jobs.hold" || strings.Contains(err.Error(), "Unheard") {
		t.Errorf("an unknown job type: %v", err)
	}
}

func TestNamesOfTypesTellTheCategory(t *testing.T) {
	t.Parallel()
	call := eventType{Name: "Planning", Kind: "call"}
	for name, v := range map[string]struct {
		s     string
		event eventType
		job   string
		title string
		ofJob bool
		want  domain.Category
	}{
		"session of a wedding":       {`{}`, eventType{Name: "Session", Kind: "session"}, "Wedding 2027", "", true, domain.CategoryWedding},
		"engagement of a wedding":    {`{}`, eventType{Name: "Engagement shoot"}, "Wedding", "", true, domain.CategoryEngagement},
		"call about a wedding":       {`{}`, call, "Wedding", "", true, domain.CategoryConsultation},
		"portrait":                   {`{}`, eventType{Name: "Session"}, "Portrait", "", true, domain.CategoryVendor},
		"default":                    {`{"category_default":"hold"}`, eventType{}, "Portrait", "", true, domain.CategoryHold},
		"nothing known":              {`{}`, eventType{}, "", "Dentist", false, domain.CategoryPersonal},
		"a rule wins":                {`{"category_rules":[{"category":"travel","contains":["PLANNING"]}]}`, call, "Wedding", "", true, domain.CategoryTravel},
		"a title decides by no word": {`{}`, eventType{}, "", "Wedding of friends", false, domain.CategoryPersonal},
	} {
		s := must[settings](t)(parseSettings(json.RawMessage(v.s)))
		if got := s.category(v.event, v.job, v.title, v.ofJob); got != v.want {
			t.Errorf("%s: %s, want %s", name, got, v.want)
		}
	}
}
