package schedulers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	defaultPast   = 30
	defaultFuture = 400
	maxWindowDays = 1000
	maxAccount    = 300
	day           = 24 * time.Hour
)

// settings is the providers' part of an integration.
type settings struct {
	Account         string                  `json:"account,omitempty"`
	CategoryDefault domain.Category         `json:"category_default,omitempty"`
	CategoryRules   []provider.CategoryRule `json:"category_rules,omitempty"`
	PastDays        *int                    `json:"window_past_days,omitempty"`
	FutureDays      *int                    `json:"window_future_days,omitempty"`
	API             string                  `json:"api,omitempty"`
	Development     struct {
		API string `json:"api,omitempty"`
	} `json:"development,omitzero"`
}

func (k kind) schema() json.RawMessage {
	const categories = `["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]`
	own := ""
	if k.selfHosted {
		own = `
    "api": {"type": "string", "format": "uri", "maxLength": 400, "description": "Address of the API of an installation of your own, with https and its version, such as https://cal.example.com/api/v2."},`
	}
	return json.RawMessage(fmt.Sprintf(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "account": {"type": "string", "maxLength": %d, "description": "The account at the scheduler. Filled in when it is connected."},
    "category_default": {"enum": %s, "default": "consultation"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the kind of an appointment decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": %s},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": %d, "default": %d},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": %d, "default": %d},%s
    "development": {"type": "object", "additionalProperties": false, "description": "An address on this machine in place of the scheduler's, for development.", "properties": {
      "api": {"type": "string", "format": "uri", "maxLength": 400}}}
  }
}`, maxAccount, categories, categories, maxWindowDays, defaultPast, maxWindowDays, defaultFuture, own))
}

func (k kind) validate(raw json.RawMessage, secrets map[string]string) error {
	if _, err := k.parse(raw); err != nil {
		return err
	}
	for _, s := range k.secrets {
		value, given := secrets[s.Name]
		if given && (value == "" || len(value) > maxSecret || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' })) {
			return domain.Invalid("secrets."+s.Name, "must have 1 to %d visible ASCII characters", maxSecret)
		}
	}
	return nil
}

const maxSecret = 2000

func (k kind) parse(raw json.RawMessage) (settings, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	if len(s.Account) > maxAccount {
		return s, domain.Invalid("settings.account", "at most %d bytes", maxAccount)
	}
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return s, err
	}
	if n := s.past(); n < 0 || n > maxWindowDays {
		return s, domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxWindowDays, n)
	}
	if n := s.future(); n < 1 || n > maxWindowDays {
		return s, domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxWindowDays, n)
	}
	if s.API != "" {
		u, err := url.Parse(s.API)
		if !k.selfHosted || err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(s.API) > provider.MaxURL {
			return s, domain.Invalid("settings.api", "must be an https address without user, query and fragment, at most %d bytes, and only %s may have one", provider.MaxURL, CalComTitle)
		}
	}
	if d := s.Development.API; d != "" && !provider.OnThisMachine(d) {
		return s, domain.Invalid("settings.development.api", "must be an http or https address of this machine, at most %d bytes", provider.MaxURL)
	}
	return s, nil
}

// CalComTitle names the one scheduler that people run themselves.
const CalComTitle = "Cal.com"

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

func (s settings) category(texts ...string) domain.Category {
	fallback := s.CategoryDefault
	if fallback == "" {
		fallback = domain.CategoryConsultation
	}
	return provider.CategoryOf(s.CategoryRules, fallback, texts...)
}

func (s settings) base(k kind) string {
	for _, own := range []string{s.Development.API, s.API} {
		if own != "" {
			return strings.TrimSuffix(own, "/")
		}
	}
	return k.base
}

// fingerprint changes with everything that changes what is listed or what is made of it.
func (c *connection) fingerprint() string {
	b, err := json.Marshal(struct {
		Kind, Zone string
		Settings   settings
	}{c.kind.name, c.local.String(), c.settings})
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// window is the time in which appointments are listed.
func (c *connection) window() domain.Span {
	today := c.now().UTC().Truncate(day)
	return domain.Span{Start: today.Add(-time.Duration(c.settings.past()) * day), End: today.Add(time.Duration(c.settings.future()) * day)}
}
