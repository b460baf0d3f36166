package honeybook

import (
	_ "embed" // for the schema
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

//go:embed settings.schema.json
var settingsSchema []byte

// Settings' values.
const (
	orderMDY = "mdy"
	orderDMY = "dmy"

	// keyHeader carries the key of a relay step where the settings say nothing else.
	keyHeader = "X-WedSync-Key"

	// defaultTrigger finds out which trigger a post is of.
	defaultTrigger = `text(body.?trigger) != '' ? text(body.?trigger) : text(headers[?'x-wedsync-trigger'])`
	// defaultMessage is where a relay step may put an id of its own for the run.
	defaultMessage = "/message_id"

	maxSettings = 64 << 10
)

// Leads a day.
const (
	defaultLeads = 20
	maxLeads     = 100
)

// schemes are those that a relay step at Zapier or Make can do: show a secret, or sign in a step with code.
var schemes = []webhookauth.Scheme{webhookauth.APIKey, webhookauth.Bearer, webhookauth.Basic, webhookauth.HMAC, webhookauth.HMACSHA256,
	webhookauth.StandardWebhooks, webhookauth.PathToken}

// settings is the provider's part of an integration. All of it may be left out.
type settings struct {
	Schema    string                     `json:"$schema,omitempty"`
	Verify    *webhookauth.Config        `json:"verify,omitempty"`
	Dedupe    *custom.Dedupe             `json:"dedupe,omitempty"`
	DateOrder string                     `json:"date_order,omitempty"`
	Trigger   custom.Expr                `json:"trigger,omitempty"`
	Rules     []custom.Rule              `json:"rules,omitempty"`
	Triggers  map[string]triggerSettings `json:"triggers,omitempty"`
	LeadForm  *leadForm                  `json:"lead_form,omitempty"`
}

// triggerSettings are those of one trigger.
type triggerSettings struct {
	Off     bool           `json:"off,omitempty"`
	Mapping custom.Mapping `json:"mapping,omitzero"` // laid over ours, field by field
}

// leadForm says which contact form leads are handed in by.
type leadForm struct {
	Enabled       bool   `json:"enabled,omitempty"`
	VendorID      string `json:"vendor_id,omitempty"`
	VendorName    string `json:"vendor_name,omitempty"`
	CompanyID     string `json:"company_id,omitempty"`
	ContactFormID string `json:"contact_form_id,omitempty"`
	PerDay        int    `json:"per_day,omitempty"`
	URL           string `json:"url,omitempty"` // a simulator on this machine
}

var (
	hex24  = regexp.MustCompile(`^[0-9a-f]{24}$`)
	formID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
)

func parse(raw json.RawMessage) (settings, error) {
	var s settings
	if len(raw) > maxSettings {
		return s, domain.Invalid("settings", "at most %d bytes, has %d", maxSettings, len(raw))
	}
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, err
	}
	if s.DateOrder != "" && s.DateOrder != orderMDY && s.DateOrder != orderDMY {
		return s, domain.Invalid("settings.date_order", "must be mdy or dmy: how 6/5/2027 is read")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Triggers)) {
		if !slices.ContainsFunc(triggers, func(t trigger) bool { return t.name == name }) {
			_, err := triggerOf("-")
			var e *domain.Error
			if errors.As(err, &e) {
				return s, domain.Invalid("settings.triggers", "has a trigger that HoneyBook does not offer; each %s", e.Text)
			}
		}
	}
	if c := s.verify(); !slices.Contains(schemes, c.Scheme) {
		var names []string
		for _, k := range schemes {
			names = append(names, string(k))
		}
		return s, domain.Invalid("settings.verify.scheme", "must be one of %s, which a relay step can do", strings.Join(names, ", "))
	}
	return s, s.LeadForm.check()
}

func (f *leadForm) check() error {
	const at = "settings.lead_form."
	if f == nil {
		return nil
	}
	if f.PerDay < 0 || f.PerDay > maxLeads {
		return domain.Invalid(at+"per_day", "must be 1 to %d, or 0 for %d", maxLeads, defaultLeads)
	}
	if f.URL != "" && !provider.OnThisMachine(f.URL) {
		return domain.Invalid(at+"url", "must be an http or https address of this machine, at most %d bytes", provider.MaxURL)
	}
	if len(f.VendorName) > provider.MaxLeadText {
		return domain.Invalid(at+"vendor_name", "at most %d bytes, has %d", provider.MaxLeadText, len(f.VendorName))
	}
	for _, id := range []struct {
		name, value, want string
		fits              *regexp.Regexp
	}{{"company_id", f.CompanyID, "24 hexadecimal digits", hex24}, {"vendor_id", f.VendorID, "1 to 64 letters and digits", formID},
		{"contact_form_id", f.ContactFormID, "1 to 64 letters and digits", formID}} {
		if id.value == "" && !f.Enabled {
			continue
		}
		if !id.fits.MatchString(id.value) {
			return domain.Invalid(at+id.name, "must be %s, as in the hidden field of the form", id.want)
		}
	}
	return nil
}

func (s settings) verify() webhookauth.Config {
	if s.Verify == nil {
		return webhookauth.Config{Scheme: webhookauth.APIKey, Header: keyHeader}
	}
	return *s.Verify
}

func (s settings) order() string {
	if s.DateOrder == "" {
		return orderMDY
	}
	return s.DateOrder
}

// mapping is ours with the customer's over it.
func (s settings) mapping(t trigger) custom.Mapping {
	return s.Triggers[t.name].Mapping.Over(t.mapping(s.order()))
}

var contentTypes = []string{"application/json", "application/x-www-form-urlencoded"}

// compiled is what a connection reads by.
type compiled struct {
	settings settings
	intake   provider.Intake
	router   *custom.Reading            // finds the trigger and asks the rules
	readings map[string]*custom.Reading // by trigger
}

func compile(raw json.RawMessage, secrets map[string]string, local *time.Location) (*compiled, error) {
	s, err := parse(raw)
	if err != nil {
		return nil, err
	}
	out := &compiled{settings: s, readings: map[string]*custom.Reading{}}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	around := custom.Webhook{ContentTypes: contentTypes, EventType: s.Trigger, Rules: s.Rules}
	if around.EventType == "" {
		around.EventType = defaultTrigger
	}
	if out.router, err = custom.NewReading(around, "settings", local); err != nil {
		note(renamed(err, "settings.event_type", "settings.trigger"))
	}
	for _, t := range triggers {
		m := s.mapping(t)
		out.readings[t.name], err = custom.NewReading(custom.Webhook{ContentTypes: contentTypes, Mapping: &m}, "settings.triggers."+t.name, local)
		note(err)
	}
	out.intake.Auth = s.verify()
	out.intake.Credentials, err = custom.Verification(out.intake.Auth, secrets, "settings")
	note(err)
	if s.Dedupe == nil {
		out.intake.DedupePath = defaultMessage
	} else {
		note(s.Dedupe.Repeats("settings", &out.intake))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	out.intake.ContentTypes, out.intake.Priority = slices.Clone(contentTypes), out.router.Priority()
	keep := out.router.Headers()
	for _, r := range out.readings {
		keep = append(keep, r.Headers()...)
	}
	slices.Sort(keep)
	if out.intake.KeepHeaders = slices.Compact(keep); len(out.intake.KeepHeaders) > maxHeaders {
		return nil, domain.Invalid("settings.triggers", "the expressions read %d headers, at most %d are kept", len(out.intake.KeepHeaders), maxHeaders)
	}
	return out, nil
}

// maxHeaders is how many headers the inbox keeps.
const maxHeaders = 10

// renamed puts the fault of a part at the name that our settings have for it.
func renamed(err error, was, is string) error {
	var e *domain.Error
	if !errors.As(err, &e) || e.Field != was {
		return err
	}
	named := *e
	named.Field = is
	return &named
}

func validate(raw json.RawMessage, secrets map[string]string) error {
	_, err := compile(raw, secrets, time.UTC)
	return err
}
