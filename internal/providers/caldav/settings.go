package caldav

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Limits of the settings.
const (
	maxURL         = 400 // bytes, so that the path of a resource still fits an ExternalID
	maxRules       = 50
	maxWords       = 50
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

type categoryRule struct {
	Category domain.Category `json:"category"`
	Contains []string        `json:"contains"`
}

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

// category decides by the first rule with a word that occurs in one of the texts.
func (s settings) category(texts ...string) domain.Category {
	text := strings.ToLower(strings.Join(texts, "\n"))
	for _, r := range s.CategoryRules {
		for _, word := range r.Contains {
			if strings.Contains(text, strings.ToLower(word)) {
				return r.Category
			}
		}
	}
	return s.fallback()
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
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return s, domain.Invalid("settings."+kind.Field, "must not be a %s", kind.Value)
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return s, domain.Invalid("settings", "has the unknown field %.60s", name)
		}
		return s, domain.Invalid("settings", "must be a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return s, domain.Invalid("settings", "must be one JSON object")
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
	if s.CategoryDefault != "" && !s.CategoryDefault.Valid() {
		return domain.Invalid("settings.category_default", "must be one of %v", domain.Categories())
	}
	if len(s.CategoryRules) > maxRules {
		return domain.Invalid("settings.category_rules", "at most %d, has %d", maxRules, len(s.CategoryRules))
	}
	for i, r := range s.CategoryRules {
		at := fmt.Sprintf("settings.category_rules[%d]", i)
		if !r.Category.Valid() {
			return domain.Invalid(at+".category", "must be one of %v", domain.Categories())
		}
		if len(r.Contains) < 1 || len(r.Contains) > maxWords {
			return domain.Invalid(at+".contains", "must have 1 to %d words, has %d", maxWords, len(r.Contains))
		}
		for _, w := range r.Contains {
			if w == "" || len(w) > maxSettingText {
				return domain.Invalid(at+".contains", "each word must have 1 to %d bytes", maxSettingText)
			}
		}
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
