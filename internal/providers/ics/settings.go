package ics

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Limits of the settings.
const (
	maxURL         = 2000 // bytes
	maxRules       = 50
	maxWords       = 50
	defaultPast    = 30
	defaultFuture  = 730
	maxDays        = 3650
	maxSettingText = 200
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

type categoryRule struct {
	Category domain.Category `json:"category"`
	Contains []string        `json:"contains"`
}

func or(value *int, fallback int) int {
	if value == nil {
		return fallback
	}
	return *value
}

func (s settings) past() int   { return or(s.PastDays, defaultPast) }
func (s settings) future() int { return or(s.FutureDays, defaultFuture) }

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
	if s.CategoryDefault == "" {
		return domain.CategoryPersonal
	}
	return s.CategoryDefault
}

// fingerprint changes with everything that changes what a listing says.
func (c *connection) fingerprint() string {
	b, err := json.Marshal(struct {
		At, Zone     string
		Default      domain.Category
		Rules        []categoryRule
		Past, Future int
	}{c.at.String(), c.zone.String(), c.settings.category(), c.settings.CategoryRules, c.settings.past(), c.settings.future()})
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
	_, err := parseAddress(secrets["url"])
	return err
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
	var s *settings
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return settings{}, domain.Invalid("settings."+kind.Field, "must not be a %s", kind.Value)
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return settings{}, domain.Invalid("settings", "has the unknown field %.60s", name)
		}
		return settings{}, domain.Invalid("settings", "must be a JSON object")
	}
	if _, err := d.Token(); err != io.EOF || s == nil {
		return settings{}, domain.Invalid("settings", "must be one JSON object")
	}
	return *s, s.check()
}

func (s settings) check() error {
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
	if n := s.past(); n < 0 || n > maxDays {
		return domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxDays, n)
	}
	if n := s.future(); n < 1 || n > maxDays {
		return domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxDays, n)
	}
	return nil
}
