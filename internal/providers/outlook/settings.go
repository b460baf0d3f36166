package outlook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Limits of the settings.
const (
	maxSettingText = 400
	defaultPast    = 30
	defaultFuture  = 730
	maxDays        = 1800 // a view of Graph spans at most five years
)

var settingsSchema = json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "calendar": {"type": "string", "maxLength": 400, "description": "Id or name of the calendar. Left empty, the account's default calendar is filled in when it is connected."},
    "tenant": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$", "default": "common", "description": "Who may sign in: common, organizations, consumers, or the id or domain of one tenant."},
    "cloud": {"enum": ["global", "us_gov", "us_dod", "china"], "default": "global", "description": "The Microsoft cloud that holds the account."},
    "graph_url": {"type": "string", "maxLength": 400, "description": "For development: address of a simulator of Graph on this machine."},
    "login_url": {"type": "string", "maxLength": 400, "description": "For development: address of a simulator of the login on this machine."},
    "mailbox": {"type": "string", "maxLength": 64, "description": "Fingerprint of the account, filled in when it is connected."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "default": "personal"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the categories of an event decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": 900, "default": 30},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": 900, "default": 730}
  }
}`)

// settings is the provider's part of an integration.
type settings struct {
	Calendar        string          `json:"calendar,omitempty"`
	Tenant          string          `json:"tenant,omitempty"`
	Cloud           string          `json:"cloud,omitempty"`
	GraphURL        string          `json:"graph_url,omitempty"`
	LoginURL        string          `json:"login_url,omitempty"`
	Mailbox         string          `json:"mailbox,omitempty"`
	CategoryDefault domain.Category `json:"category_default,omitempty"`
	CategoryRules   []categoryRule  `json:"category_rules,omitempty"`
	PastDays        *int            `json:"window_past_days,omitempty"`
	FutureDays      *int            `json:"window_future_days,omitempty"`

	graph, login *url.URL // without a slash at the end
}

type categoryRule = provider.CategoryRule

// clouds are the national clouds with their addresses of Graph and of the login.
var clouds = map[string][2]string{
	"":       {"https://graph.microsoft.com/v1.0", "https://login.microsoftonline.com"},
	"global": {"https://graph.microsoft.com/v1.0", "https://login.microsoftonline.com"},
	"us_gov": {"https://graph.microsoft.us/v1.0", "https://login.microsoftonline.us"},
	"us_dod": {"https://dod-graph.microsoft.us/v1.0", "https://login.microsoftonline.us"},
	"china":  {"https://microsoftgraph.chinacloudapi.cn/v1.0", "https://login.chinacloudapi.cn"},
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

func (s settings) category(texts ...string) domain.Category {
	return provider.CategoryOf(s.CategoryRules, s.CategoryDefault, texts...)
}

// fingerprint changes with everything that changes what a listing says.
func (s settings) fingerprint(zone string) string {
	b, err := json.Marshal(struct {
		Graph, Calendar, Zone string
		Default               domain.Category
		Rules                 []categoryRule
		Past, Future          int
	}{s.graph.String(), s.Calendar, zone, s.fallback(), s.CategoryRules, s.past(), s.future()})
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

var tenantForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$`)

func (s *settings) check() error {
	if len(s.Calendar) > maxSettingText {
		return domain.Invalid("settings.calendar", "at most %d bytes, has %d", maxSettingText, len(s.Calendar))
	}
	if s.Tenant != "" && !tenantForm.MatchString(s.Tenant) {
		return domain.Invalid("settings.tenant", "must be common, organizations, consumers, or the id or domain of a tenant")
	}
	if len(s.Mailbox) > 64 {
		return domain.Invalid("settings.mailbox", "at most 64 bytes, has %d", len(s.Mailbox))
	}
	at, ok := clouds[s.Cloud]
	if !ok {
		return domain.Invalid("settings.cloud", "must be global, us_gov, us_dod or china")
	}
	var err error
	if s.graph, err = endpoint("settings.graph_url", at[0], s.GraphURL); err != nil {
		return err
	}
	if s.login, err = endpoint("settings.login_url", at[1], s.LoginURL); err != nil {
		return err
	}
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return err
	}
	if n := s.past(); n < 0 || n > maxDays/2 {
		return domain.Invalid("settings.window_past_days", "must be 0 to %d, is %d", maxDays/2, n)
	}
	if n := s.future(); n < 1 || n > maxDays/2 {
		return domain.Invalid("settings.window_future_days", "must be 1 to %d, is %d", maxDays/2, n)
	}
	return nil
}

// endpoint is an address of Microsoft's, or the one given instead. That one must be on this machine: a token must never
// be sent wherever the settings of an integration like.
func endpoint(field, theirs, instead string) (*url.URL, error) {
	raw := theirs
	if instead != "" {
		raw = instead
	}
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(raw) > maxSettingText {
		return nil, domain.Invalid(field, "must be an address without user, query or fragment")
	}
	if instead == "" {
		return u, nil
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	if local := err == nil && ip.IsLoopback() || host == "localhost"; !local || u.Scheme != "http" && u.Scheme != "https" {
		return nil, domain.Invalid(field, "may only name this machine; it is for development")
	}
	return u, nil
}

// The scopes of Graph.
const (
	scopeOffline = "offline_access"
	scopeRead    = "Calendars.Read"
	scopeWrite   = "Calendars.ReadWrite"
)

// oauth describes the grant: to read, or to read and write, the calendars of the person who signs in.
func oauth(raw json.RawMessage, writes bool) (provider.OAuth, error) {
	s, err := parseSettings(raw)
	if err != nil {
		return provider.OAuth{}, err
	}
	tenant := s.Tenant
	if tenant == "" {
		tenant = "common"
	}
	scope := scopeRead
	if writes {
		scope = scopeWrite
	}
	resource := (&url.URL{Scheme: s.graph.Scheme, Host: s.graph.Host}).String() + "/"
	at := s.login.String() + "/" + tenant + "/oauth2/v2.0/"
	return provider.OAuth{
		AuthURL: at + "authorize", TokenURL: at + "token",
		Scopes: []string{scopeOffline, resource + scope},
		Params: map[string]string{"prompt": "select_account"},
	}, nil
}
