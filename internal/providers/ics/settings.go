package ics

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Limits of the settings.
const (
	maxURL        = 2000 // bytes
	defaultPast   = 30
	defaultFuture = 730
	maxDays       = 3650
)

var settingsSchema = json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
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

// settings is the provider's part of an integration. The address is among the secrets.
type settings struct {
	CategoryDefault domain.Category `json:"category_default,omitempty"`
	CategoryRules   []categoryRule  `json:"category_rules,omitempty"`
	PastDays        *int            `json:"window_past_days,omitempty"`
	FutureDays      *int            `json:"window_future_days,omitempty"`
}

type categoryRule = provider.CategoryRule

func or(value *int, fallback int) int {
	if value == nil {
		return fallback
	}
	return *value
}

func (s settings) past() int   { return or(s.PastDays, defaultPast) }
func (s settings) future() int { return or(s.FutureDays, defaultFuture) }

func (s settings) category(texts ...string) domain.Category {
	return provider.CategoryOf(s.CategoryRules, s.CategoryDefault, texts...)
}

// fingerprint changes with everything that changes what a listing says.
func (c *connection) fingerprint() string {
	b, err := json.Marshal(struct {
		At, Zone     string
		Default      domain.Category
		Rules        []categoryRule
		Past, Future int
		User         string `json:",omitempty"`
	}{c.at.String(), c.zone.String(), c.settings.category(), c.settings.CategoryRules, c.settings.past(), c.settings.future(), c.user})
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func validate(raw json.RawMessage, secrets map[string]string) error {
	if _, err := parseSettings(raw); err != nil {
		return err
	}
	if _, err := parseAddress(secrets["url"]); err != nil {
		return err
	}
	return checkLogin(secrets)
}

// maxLogin bounds user name and password, in bytes.
const maxLogin = 500

// checkLogin checks what a feed with HTTP Basic is asked with. RFC 7617 allows no colon in a user name.
func checkLogin(secrets map[string]string) error {
	user, password := secrets["user"], secrets["password"]
	switch {
	case len(user) > maxLogin || strings.Contains(user, ":"):
		return domain.Invalid("secrets.user", "at most %d bytes, without a colon", maxLogin)
	case len(password) > maxLogin:
		return domain.Invalid("secrets.password", "at most %d bytes", maxLogin)
	case user == "" && password != "":
		return domain.Invalid("secrets.user", "is needed with a password")
	}
	return nil
}

// parseAddress reads the address of the feed. Errors do not repeat it.
func parseAddress(raw string) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
	if raw == "" || len(raw) > maxURL {
		return nil, domain.Invalid("secrets.url", "is required, at most %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, domain.Invalid("secrets.url", "must be an https or webcal address")
	}
	switch strings.ToLower(u.Scheme) {
	case "webcal", "webcals":
		u.Scheme = "https"
	case "https", "http": // the client decides whether plain http may be used
	default:
		return nil, domain.Invalid("secrets.url", "must be an https or webcal address")
	}
	if u.User != nil {
		return nil, domain.Invalid("secrets.url", "must hold no user or password")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	return s, s.check()
}

func (s settings) check() error {
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return err
	}
	if n := s.past(); n < 0 || n > maxDays {
		return domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxDays, n)
	}
	if n := s.future(); n < 1 || n > maxDays {
		return domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxDays, n)
	}
	return nil
}
