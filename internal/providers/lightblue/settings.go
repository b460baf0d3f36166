package lightblue

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/ics"
	"github.com/wedsync/wedsync/internal/providers/scrape"
)

// Names of the secrets.
const (
	secretKey          = "api_key"
	secretFeedURL      = "feed_url"
	secretFeedUser     = "feed_user"
	secretFeedPassword = "feed_password"

	secretPortalUser     = "portal_user"
	secretPortalPassword = "portal_password"
)

const (
	vendor       = "https://online.lightbluesoftware.com"
	maxKey       = 500 // bytes
	maxShootType = 100 // bytes
)

var settingsSchema = json.RawMessage(fmt.Sprintf(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "shoot_types": {"type": "object", "description": "The type of shoot of what is written, by category, in the words of the studio. Without one none is sent.",
      "propertyNames": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
      "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 100}},
    "recipe": %s,
    "minutes": {"type": "integer", "minimum": 1, "maximum": 10080, "default": 60, "description": "How long an entry of a portal lasts that has a beginning and no end."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "default": "personal"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the categories of an entry decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": 3650, "default": 30},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": 3650, "default": 730},
    "development": {"type": "object", "additionalProperties": false, "description": "An address on this machine in place of the vendor's, for development.", "properties": {
      "api": {"type": "string", "format": "uri", "maxLength": 400}}}
  }
}`, scrape.Embedded()))

// settings is the provider's part of an integration.
type settings struct {
	ShootTypes  map[domain.Category]string `json:"shoot_types,omitempty"`
	Development struct {
		API string `json:"api,omitempty"`
	} `json:"development,omitzero"`
	// Recipe reads pages of a portal in place of the feed.
	Recipe  json.RawMessage `json:"recipe,omitempty"`
	Minutes *int            `json:"minutes,omitempty"`
	feed
}

// feed is what package ics knows as its settings.
type feed struct {
	CategoryDefault domain.Category         `json:"category_default,omitempty"`
	CategoryRules   []provider.CategoryRule `json:"category_rules,omitempty"`
	PastDays        *int                    `json:"window_past_days,omitempty"`
	FutureDays      *int                    `json:"window_future_days,omitempty"`
}

func parseSettings(raw json.RawMessage) (settings, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	for _, c := range slices.Sorted(maps.Keys(s.ShootTypes)) {
		if !c.Valid() {
			return s, domain.Invalid("settings.shoot_types", "each member must be one of %v", domain.Categories())
		}
		if n := len(s.ShootTypes[c]); n < 1 || n > maxShootType {
			return s, domain.Invalid("settings.shoot_types."+string(c), "must have 1 to %d bytes", maxShootType)
		}
	}
	if at := s.Development.API; at != "" && !provider.OnThisMachine(at) {
		return s, domain.Invalid("settings.development.api", "must be an http or https address of this machine, at most %d bytes", provider.MaxURL)
	}
	return s, nil
}

func (s settings) base() string {
	if s.Development.API != "" {
		return strings.TrimSuffix(s.Development.API, "/")
	}
	return vendor
}

// validate checks what is given. Which secrets the direction needs is known when the connection is opened.
func validate(raw json.RawMessage, secrets map[string]string) error {
	s, err := parseSettings(raw)
	if err != nil {
		return err
	}
	if key, given := secrets[secretKey]; given {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	if len(s.Recipe) > 0 {
		if secrets[secretFeedURL] != "" {
			return domain.Invalid("settings.recipe", "cannot be had together with a feed: a connection reads one of them")
		}
		return ofPortal(scrape.Registration.Validate(s.asPortal(secrets)))
	}
	if s.Minutes != nil {
		return domain.Invalid("settings.minutes", "needs settings.recipe")
	}
	if secrets[secretFeedURL] != "" {
		return s.checkFeed(secrets)
	}
	// The window and the categories are checked by those who use them; an address of our own stands in for the missing one.
	return s.checkFeed(map[string]string{secretFeedURL: "https://localhost/"})
}

func checkKey(key string) error {
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return domain.Invalid("secrets."+secretKey, "must be the API key of Light Blue, 1 to %d visible characters", maxKey)
	}
	return nil
}

// asFeed returns settings and secrets as package ics wants them.
func (s settings) asFeed(secrets map[string]string) (json.RawMessage, map[string]string) {
	raw, err := json.Marshal(s.feed)
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	return raw, map[string]string{"url": secrets[secretFeedURL], "user": secrets[secretFeedUser], "password": secrets[secretFeedPassword]}
}

func (s settings) checkFeed(secrets map[string]string) error {
	return ofFeed(ics.Registration.Validate(s.asFeed(secrets)))
}

// ofFeed gives errors of package ics the names of our secrets.
func ofFeed(err error) error { return renamed(err, "secrets.feed_") }

func renamed(err error, prefix string) error {
	field := domain.FieldOf(err)
	if name, ok := strings.CutPrefix(field, "secrets."); ok {
		_, text, _ := strings.Cut(err.Error(), field+": ")
		return domain.Invalid(prefix+name, "%s", text)
	}
	return err
}

// asPortal returns settings and secrets as the provider of pages wants them.
func (s settings) asPortal(secrets map[string]string) (json.RawMessage, map[string]string) {
	raw, err := json.Marshal(struct {
		Recipe  json.RawMessage `json:"recipe"`
		Minutes *int            `json:"minutes,omitempty"`
		feed
	}{s.Recipe, s.Minutes, s.feed})
	if err != nil {
		panic("marshal settings that were JSON: " + err.Error())
	}
	return raw, map[string]string{"user": secrets[secretPortalUser], "password": secrets[secretPortalPassword]}
}

// ofPortal gives errors of the provider of pages the names of our secrets.
func ofPortal(err error) error { return renamed(err, "secrets.portal_") }

// source opens what the connection reads from.
func (s settings) source(c provider.Connection) (source, error) {
	switch {
	case len(s.Recipe) > 0:
		c.Integration.Settings, c.Secrets = s.asPortal(c.Secrets)
		c.Integration.Direction = domain.DirectionImport
		opened, err := scrape.Registration.Open(c)
		if err != nil {
			return nil, ofPortal(err)
		}
		return opened.(source), nil
	case c.Secrets[secretFeedURL] == "":
		return nil, domain.Invalid("secrets."+secretFeedURL, "is needed for reading Light Blue, or settings.recipe")
	}
	return s.openFeed(c)
}

func (s settings) openFeed(c provider.Connection) (source, error) {
	c.Integration.Settings, c.Secrets = s.asFeed(c.Secrets)
	c.Integration.Direction = domain.DirectionImport
	opened, err := ics.Registration.Open(c)
	if err != nil {
		return nil, ofFeed(err)
	}
	return opened.(source), nil
}
