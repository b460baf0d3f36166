package tave

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

const (
	secretKey  = "api_key"
	secretLead = "lead_secret"
)

// Limits of the settings.
const (
	maxSettingText = 200
	defaultSweep   = 24
	maxSweep       = 24 * 30
	defaultRate    = 2
	maxRate        = 20
	maxRateHere    = 10_000 // with a simulator on this machine
)

var settingsSchema = json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "api_url": {"type": "string", "maxLength": 200, "description": "For development: address of a simulator of the API on this machine, such as http://127.0.0.1:9000/api/v2."},
    "studio": {"type": "string", "maxLength": 200, "description": "Id of the studio, filled in when it is connected."},
    "timezone": {"type": "string", "maxLength": 64, "description": "IANA zone of the studio, filled in when it is connected. Left empty, the resource's zone counts."},
    "event_type": {"type": "string", "maxLength": 200, "description": "Name or id of the type of events that copies get; none if empty."},
    "jobs": {"type": "object", "maxProperties": 8, "description": "Categories whose bookings are written as jobs with an event, each with the name or id of its job type. All others are written as events.",
      "propertyNames": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
      "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 200}},
    "job_status": {"enum": ["write", "keep"], "default": "write", "description": "Whether a decision made here about an entry of the studio's own may move its job to another stage or close it. Stages may start automations there."},
    "lead_studio": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$", "description": "Studio id of the New Lead API. With it, tentative bookings of the categories in jobs are brought in as new leads, so that the studio is notified as usual."},
    "requests_per_second": {"type": "number", "exclusiveMinimum": 0, "maximum": 20, "default": 2, "description": "The most requests a second. The vendor publishes no limit; after a refusal fewer are sent."},
    "sweep_hours": {"type": "integer", "minimum": 1, "maximum": 720, "default": 24, "description": "How often everything is listed anew. Deletions in the studio are found by that only."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "description": "Category of entries about which no word decides. Left empty: vendor for those of a job, personal for others."},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title, the event type or the job type decides, in any case of letters. Without one, those types' own names do.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}}
  }
}`)

// settings is the provider's part of an integration.
type settings struct {
	APIURL          string                     `json:"api_url,omitempty"`
	Studio          string                     `json:"studio,omitempty"`
	Timezone        string                     `json:"timezone,omitempty"`
	EventType       string                     `json:"event_type,omitempty"`
	Jobs            map[domain.Category]string `json:"jobs,omitempty"`
	JobStatus       string                     `json:"job_status,omitempty"`
	LeadStudio      string                     `json:"lead_studio,omitempty"`
	Rate            *float64                   `json:"requests_per_second,omitempty"`
	SweepHours      *int                       `json:"sweep_hours,omitempty"`
	CategoryDefault domain.Category            `json:"category_default,omitempty"`
	CategoryRules   []provider.CategoryRule    `json:"category_rules,omitempty"`

	base *url.URL // without a slash at the end
}

const (
	apiHost     = "https://workspace.vsco.co"
	apiPath     = "/api/v2"
	keepJobs    = "keep"
	writeJobs   = "write"
	leadAPIPath = "/webservice/create-lead/"
)

func (s settings) rate() float64 {
	if s.Rate == nil {
		return defaultRate
	}
	return *s.Rate
}

func (s settings) sweep() int {
	if s.SweepHours == nil {
		return defaultSweep
	}
	return *s.SweepHours
}

// fingerprint changes with everything that changes what a listing says.
func (s settings) fingerprint(zone string) string {
	b, err := json.Marshal(struct {
		Base, Studio, Zone string
		Default            domain.Category
		Rules              []provider.CategoryRule
	}{s.base.String(), s.Studio, zone, s.CategoryDefault, s.CategoryRules})
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func validate(raw json.RawMessage, secrets map[string]string) error {
	s, err := parseSettings(raw)
	if err != nil {
		return err
	}
	return s.checkSecrets(secrets)
}

func (s settings) checkSecrets(secrets map[string]string) error {
	key := secrets[secretKey]
	if key == "" || len(key) > 1000 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return domain.Invalid("secrets."+secretKey, "must be the API key of the studio, 1 to 1000 visible characters")
	}
	lead := secrets[secretLead]
	if len(lead) > 1000 {
		return domain.Invalid("secrets."+secretLead, "at most 1000 bytes")
	}
	if s.LeadStudio != "" && lead == "" {
		return domain.Invalid("secrets."+secretLead, "is needed with settings.lead_studio")
	}
	return nil
}

func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	return s, s.check()
}

var leadStudioForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func (s *settings) check() error {
	for field, text := range map[string]string{"studio": s.Studio, "event_type": s.EventType} {
		if len(text) > maxSettingText {
			return domain.Invalid("settings."+field, "at most %d bytes, has %d", maxSettingText, len(text))
		}
	}
	if s.Timezone != "" {
		if _, err := calendartime.LoadZone(s.Timezone); err != nil || len(s.Timezone) > 64 {
			return domain.Invalid("settings.timezone", "must be an IANA zone name")
		}
	}
	for _, c := range slices.Sorted(maps.Keys(s.Jobs)) {
		if !c.Valid() {
			return domain.Invalid("settings.jobs", "each member must be one of %v", domain.Categories())
		}
		if n := len(s.Jobs[c]); n < 1 || n > maxSettingText {
			return domain.Invalid("settings.jobs."+string(c), "must have 1 to %d bytes", maxSettingText)
		}
	}
	switch s.JobStatus {
	case "", keepJobs, writeJobs:
	default:
		return domain.Invalid("settings.job_status", "must be write or keep")
	}
	if s.LeadStudio != "" && !leadStudioForm.MatchString(s.LeadStudio) {
		return domain.Invalid("settings.lead_studio", "must be 1 to 100 letters, digits, hyphens and underscores")
	}
	if s.LeadStudio != "" && len(s.Jobs) == 0 {
		return domain.Invalid("settings.lead_studio", "needs settings.jobs: leads are jobs")
	}
	if n := s.sweep(); n < 1 || n > maxSweep {
		return domain.Invalid("settings.sweep_hours", "must be 1 to %d, is %d", maxSweep, n)
	}
	if err := s.checkBase(); err != nil {
		return err
	}
	most := float64(maxRate)
	if s.APIURL != "" {
		most = maxRateHere
	}
	if r := s.rate(); !(r > 0 && r <= most) {
		return domain.Invalid("settings.requests_per_second", "must be more than 0 and at most %g", most)
	}
	return provider.CheckCategories(s.CategoryRules, s.CategoryDefault)
}

// checkBase sets the address of the API: the vendor's, or one on this machine. A key must never be sent wherever the settings
// of an integration like.
func (s *settings) checkBase() error {
	raw := apiHost + apiPath
	if s.APIURL != "" {
		raw = s.APIURL
	}
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(raw) > maxSettingText {
		return domain.Invalid("settings.api_url", "must be an address without user, query or fragment")
	}
	s.base = u
	if s.APIURL == "" {
		return nil
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	if local := err == nil && ip.IsLoopback() || host == "localhost"; !local || u.Scheme != "http" && u.Scheme != "https" {
		return domain.Invalid("settings.api_url", "may only name this machine; it is for development")
	}
	return nil
}

// unmatched is what no rule answers.
const unmatched domain.Category = "?"

// Words in the names of event types and job types that tell what they are for, where no rule of the settings does.
var (
	typeWords = []provider.CategoryRule{
		{Category: domain.CategoryEngagement, Contains: []string{"engagement"}},
		{Category: domain.CategoryWedding, Contains: []string{"wedding"}},
		{Category: domain.CategoryConsultation, Contains: []string{"consult"}},
	}
)

// category decides what an entry is for. job says that it belongs to one.
func (s settings) category(t eventType, jobType, title string, job bool) domain.Category {
	if got := provider.CategoryOf(s.CategoryRules, unmatched, title, t.Name, jobType); got != unmatched {
		return got
	}
	if got := provider.CategoryOf(typeWords, unmatched, t.Name); got != unmatched {
		return got
	}
	if t.Kind == "call" || t.Kind == "meeting" {
		return domain.CategoryConsultation
	}
	if got := provider.CategoryOf(typeWords, unmatched, jobType); got != unmatched {
		return got
	}
	switch {
	case s.CategoryDefault != "":
		return s.CategoryDefault
	case job:
		return domain.CategoryVendor
	}
	return domain.CategoryPersonal
}
