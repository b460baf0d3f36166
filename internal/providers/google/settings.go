package google

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Limits of the settings.
const (
	maxCalendar   = 256
	defaultPast   = 30
	defaultFuture = 730
	maxWindowDays = 3650
)

var settingsSchema = json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "calendar": {"type": "string", "maxLength": 256, "description": "Id of the calendar, from its settings page at Google; primary for the account's own. Left empty it is filled in when the account has exactly one that fits."},
    "access": {"enum": ["owner", "writer", "reader", "freeBusyReader"], "description": "What the account may do in the calendar. Filled in when the calendar is looked up."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "default": "personal"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the colour of an entry decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": 3650, "default": 30},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": 3650, "default": 730},
    "focus_time_free": {"type": "boolean", "default": false, "description": "Focus time does not block."},
    "development": {"type": "object", "additionalProperties": false, "description": "Addresses on this machine in place of Google's, for development.", "properties": {
      "api": {"type": "string", "format": "uri", "maxLength": 400},
      "auth": {"type": "string", "format": "uri", "maxLength": 400},
      "token": {"type": "string", "format": "uri", "maxLength": 400},
      "revoke": {"type": "string", "format": "uri", "maxLength": 400}}}
  }
}`)

// settings is the provider's part of an integration.
type settings struct {
	Calendar        string          `json:"calendar,omitempty"`
	Access          string          `json:"access,omitempty"`
	CategoryDefault domain.Category `json:"category_default,omitempty"`
	CategoryRules   []categoryRule  `json:"category_rules,omitempty"`
	PastDays        *int            `json:"window_past_days,omitempty"`
	FutureDays      *int            `json:"window_future_days,omitempty"`
	FocusTimeFree   bool            `json:"focus_time_free,omitempty"`
	Development     development     `json:"development,omitzero"`
}

type categoryRule = provider.CategoryRule

// development are addresses in place of Google's. They must be on this machine, so that no setting can send a token of
// an account to somebody else.
type development struct {
	API    string `json:"api,omitempty"`
	Auth   string `json:"auth,omitempty"`
	Token  string `json:"token,omitempty"`
	Revoke string `json:"revoke,omitempty"`
}

// What an account may do in a calendar, in Google's words.
const (
	accessBusy   = "freeBusyReader"
	accessReader = "reader"
	accessWriter = "writer"
	accessOwner  = "owner"
)

func (s settings) busyOnly() bool { return s.Access == accessBusy }

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
	return provider.CategoryOf(s.CategoryRules, s.CategoryDefault, texts...)
}

// fingerprint changes with everything that changes the query or what is made of its answer.
func (c *connection) fingerprint() string {
	b, err := json.Marshal(struct {
		Settings settings
		Zone     string
		Query    string
	}{c.settings, c.local.String(), "singleEvents maxAttendees=1 " + eventFields})
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func validate(raw json.RawMessage, _ map[string]string) error {
	_, err := parseSettings(raw)
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
	if len(s.Calendar) > maxCalendar || strings.ContainsFunc(s.Calendar, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return domain.Invalid("settings.calendar", "at most %d bytes without spaces", maxCalendar)
	}
	switch s.Access {
	case "", accessBusy, accessReader, accessWriter, accessOwner:
	default:
		return domain.Invalid("settings.access", "must be owner, writer, reader or freeBusyReader")
	}
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return err
	}
	if n := s.past(); n < 0 || n > maxWindowDays {
		return domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxWindowDays, n)
	}
	if n := s.future(); n < 1 || n > maxWindowDays {
		return domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxWindowDays, n)
	}
	for _, d := range []struct{ name, address string }{
		{"api", s.Development.API}, {"auth", s.Development.Auth}, {"token", s.Development.Token}, {"revoke", s.Development.Revoke},
	} {
		if d.address != "" && !provider.OnThisMachine(d.address) {
			return domain.Invalid("settings.development."+d.name, "must be an http or https address of this machine, at most %d bytes", provider.MaxURL)
		}
	}
	return nil
}

// Google's scopes.
const (
	scope             = "https://www.googleapis.com/auth/"
	scopeEvents       = scope + "calendar.events"
	scopeEventsRead   = scope + "calendar.events.readonly"
	scopeFreeBusy     = scope + "calendar.freebusy"
	scopeCalendarList = scope + "calendar.calendarlist.readonly"
)

// oauth asks for the least that does the work: the calendar list to look the calendar up, and events as far as the
// direction and the known access need them.
func oauth(raw json.RawMessage, writes bool) (provider.OAuth, error) {
	s, err := parseSettings(raw)
	if err != nil {
		return provider.OAuth{}, err
	}
	o := provider.OAuth{
		AuthURL:   "https://accounts.google.com/o/oauth2/v2/auth",
		TokenURL:  "https://oauth2.googleapis.com/token",
		RevokeURL: "https://oauth2.googleapis.com/revoke",
		// Without a new consent Google gives a refresh token the first time only.
		Params: map[string]string{"access_type": "offline", "prompt": "consent"},
	}
	switch {
	case writes:
		o.Scopes = []string{scopeCalendarList, scopeEvents}
	case s.busyOnly():
		o.Scopes = []string{scopeCalendarList, scopeFreeBusy}
	case s.Access == "":
		o.Scopes = []string{scopeCalendarList, scopeEventsRead, scopeFreeBusy}
	default:
		o.Scopes = []string{scopeCalendarList, scopeEventsRead}
	}
	for _, d := range []struct {
		to   *string
		from string
	}{{&o.AuthURL, s.Development.Auth}, {&o.TokenURL, s.Development.Token}, {&o.RevokeURL, s.Development.Revoke}} {
		if d.from != "" {
			*d.to = d.from
		}
	}
	return o, nil
}
