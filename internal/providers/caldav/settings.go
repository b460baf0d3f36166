package caldav

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Limits of the settings.
const (
	maxURL         = 400 // bytes, so that the path of a resource still fits an ExternalID
	defaultPast    = 30
	defaultFuture  = 730
	maxPastDays    = 3650
	maxFutureDays  = 3650
	maxSettingText = 200
)

var settingsSchema = json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["username"],
  "anyOf": [{"required": ["url"]}, {"required": ["preset"]}],
  "properties": {
    "preset": {"enum": ["icloud"], "description": "A service whose address and manners are known. icloud: the user name is the Apple Account's mail address, and the password an app-specific one."},
    "url": {"type": "string", "format": "uri", "maxLength": 400, "description": "Address of the server or of the account; discovery begins here. https, unless private addresses are allowed for development. Not needed with a preset."},
    "username": {"type": "string", "minLength": 1, "maxLength": 200},
    "calendar": {"type": "string", "maxLength": 400, "description": "Address or path of the calendar. Left empty it is filled in when the account has exactly one that fits."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "default": "personal"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the categories of an entry decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": 3650, "default": 30},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": 3650, "default": 730}
  }
}`)

// settings is the provider's part of an integration.
type settings struct {
	Preset          preset          `json:"preset,omitempty"`
	URL             string          `json:"url,omitempty"`
	Username        string          `json:"username"`
	Calendar        string          `json:"calendar,omitempty"`
	CategoryDefault domain.Category `json:"category_default,omitempty"`
	CategoryRules   []categoryRule  `json:"category_rules,omitempty"`
	PastDays        *int            `json:"window_past_days,omitempty"`
	FutureDays      *int            `json:"window_future_days,omitempty"`

	server, collection *url.URL
}

type categoryRule = provider.CategoryRule

func (s settings) past() int {
	if s.PastDays == nil {
		return defaultPast
	}
	return *s.PastDays
}

func (s settings) future() int {
	if s.FutureDays == nil {
		return defaultFuture
	}
	return *s.FutureDays
}

func (s settings) fallback() domain.Category {
	if s.CategoryDefault == "" {
		return domain.CategoryPersonal
	}
	return s.CategoryDefault
}

func (s settings) category(texts ...string) domain.Category {
	return provider.CategoryOf(s.CategoryRules, s.CategoryDefault, texts...)
}

// fingerprint changes with everything that changes what a listing says. The rules of the time zones are among that: an
// instance of next year moves when a government changes its clocks.
func (s settings) fingerprint(local calendartime.NamedZone, zoneData string) string {
	b, err := json.Marshal(struct {
		At, User, Zone string
		ZoneData       string
		Default        domain.Category
		Rules          []categoryRule
		Past, Future   int
	}{s.collection.String(), s.Username, local.Name, zoneData, s.fallback(), s.CategoryRules, s.past(), s.future()})
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
	_, err = s.password(secrets)
	return err
}

func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	return s, s.check()
}

func (s *settings) check() error {
	address, err := s.address()
	if err != nil {
		return err
	}
	if s.server, err = parseURL("settings.url", address, nil); err != nil {
		return err
	}
	if err := s.checkPreset(); err != nil {
		return err
	}
	if s.Username == "" || len(s.Username) > maxSettingText || strings.ContainsAny(s.Username, ":\r\n") {
		return domain.Invalid("settings.username", "is required, at most %d bytes, without a colon or line break", maxSettingText)
	}
	if len(s.Calendar) > maxURL {
		return domain.Invalid("settings.calendar", "at most %d bytes, has %d", maxURL, len(s.Calendar))
	}
	if s.Calendar != "" {
		if s.collection, err = parseURL("settings.calendar", s.Calendar, s.server); err != nil {
			return err
		}
		if !sameDomain(s.server, s.collection) {
			return domain.Invalid("settings.calendar", "must be on the same domain as url")
		}
		if !strings.HasSuffix(s.collection.Path, "/") {
			s.collection.Path += "/"
			s.collection.RawPath = ""
		}
	}
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return err
	}
	if n := s.past(); n < 0 || n > maxPastDays {
		return domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxPastDays, n)
	}
	if n := s.future(); n < 1 || n > maxFutureDays {
		return domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxFutureDays, n)
	}
	return nil
}

func parseURL(field, raw string, base *url.URL) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err == nil && base != nil {
		u = base.ResolveReference(u)
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return nil, domain.Invalid(field, "must be an https address")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, domain.Invalid(field, "must hold no user, query or fragment")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// sameDomain reports whether credentials given for one address may go to another: never from https to http, and only
// to the same host or, for names, to a host under the same registrable domain.
func sameDomain(given, other *url.URL) bool {
	if other.Scheme != given.Scheme && other.Scheme != "https" {
		return false
	}
	if strings.EqualFold(given.Host, other.Host) && given.Scheme == other.Scheme {
		return true
	}
	a, b := strings.ToLower(given.Hostname()), strings.ToLower(other.Hostname())
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	da, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	db, err := publicsuffix.EffectiveTLDPlusOne(b)
	// A name under no known suffix ("localhost", "server.lan") belongs to nobody in particular.
	_, known := publicsuffix.PublicSuffix(a)
	return err == nil && da == db && known
}
