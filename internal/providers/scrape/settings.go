package scrape

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	engine "github.com/wedsync/wedsync/internal/scrape"
)

// Limits of the settings.
const (
	defaultPast    = 30
	defaultFuture  = 730
	maxDays        = 3650
	defaultMinutes = 60
	maxMinutes     = 7 * 24 * 60
	maxSecret      = 500 // bytes
	day            = 24 * time.Hour
)

var settingsSchema = json.RawMessage(fmt.Sprintf(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["recipe"],
  "properties": {
    "recipe": %s,
    "minutes": {"type": "integer", "minimum": 1, "maximum": %d, "default": %d, "description": "How long an entry lasts that has a beginning and no end."},
    "category_default": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"], "default": "personal"},
    "category_rules": {"type": "array", "maxItems": 50, "description": "The first rule with a word that occurs in the title or the label of an entry decides, in any case of letters.", "items": {
      "type": "object", "additionalProperties": false, "required": ["category", "contains"],
      "properties": {
        "category": {"enum": ["wedding", "engagement", "vendor", "consultation", "travel", "hold", "maintenance", "personal"]},
        "contains": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 200}}}}},
    "window_past_days": {"type": "integer", "minimum": 0, "maximum": %d, "default": %d},
    "window_future_days": {"type": "integer", "minimum": 1, "maximum": %d, "default": %d}
  }
}`, Embedded(), maxMinutes, defaultMinutes, maxDays, defaultPast, maxDays, defaultFuture))

// Embedded is the schema of a recipe as a part of another schema: its references stay inside.
func Embedded() string {
	return strings.Replace(strings.TrimSpace(string(engine.Schema)), `"$schema": "https://json-schema.org/draft/2020-12/schema",`, `"$id": "recipe.schema.json",`, 1)
}

// settings is the provider's part of an integration.
type settings struct {
	Recipe          json.RawMessage         `json:"recipe"`
	Minutes         *int                    `json:"minutes,omitempty"`
	CategoryDefault domain.Category         `json:"category_default,omitempty"`
	CategoryRules   []provider.CategoryRule `json:"category_rules,omitempty"`
	PastDays        *int                    `json:"window_past_days,omitempty"`
	FutureDays      *int                    `json:"window_future_days,omitempty"`
}

func or(value *int, fallback int) int {
	if value == nil {
		return fallback
	}
	return *value
}

func (s settings) length() time.Duration {
	return time.Duration(or(s.Minutes, defaultMinutes)) * time.Minute
}

func validate(raw json.RawMessage, secrets map[string]string) error {
	_, program, err := parseSettings(raw)
	if err != nil {
		return err
	}
	return checkSecrets(program, secrets)
}

// checkSecrets checks what the log-in is filled in with. A recipe without one needs none.
func checkSecrets(p *engine.Program, secrets map[string]string) error {
	for _, name := range []string{secretUser, secretPassword} {
		value := secrets[name]
		if len(value) > maxSecret {
			return domain.Invalid("secrets."+name, "at most %d bytes", maxSecret)
		}
		used := false
		if l := p.Recipe().Login; l != nil {
			for _, template := range l.Fields {
				used = used || strings.Contains(template, "{secret."+name+"}")
			}
		}
		if used && value == "" {
			return domain.Invalid("secrets."+name, "is needed: the log-in of the recipe uses it")
		}
	}
	return nil
}

func parseSettings(raw json.RawMessage) (settings, *engine.Program, error) {
	var s settings
	if err := provider.DecodeSettings(raw, &s); err != nil {
		return s, nil, err
	}
	if len(s.Recipe) == 0 || s.Recipe[0] != '{' {
		return s, nil, domain.Invalid("settings.recipe", "must be a recipe; wedsync scrape json turns YAML into one")
	}
	r, err := engine.Parse(s.Recipe)
	if err != nil {
		return s, nil, below(err)
	}
	program, err := r.Compile()
	if err != nil {
		return s, nil, below(err)
	}
	if err := checkFields(program); err != nil {
		return s, nil, err
	}
	if err := provider.CheckCategories(s.CategoryRules, s.CategoryDefault); err != nil {
		return s, nil, err
	}
	for _, n := range []struct {
		field       string
		value       int
		least, most int
	}{{"minutes", or(s.Minutes, defaultMinutes), 1, maxMinutes}, {"window_past_days", or(s.PastDays, defaultPast), 0, maxDays}, {"window_future_days", or(s.FutureDays, defaultFuture), 1, maxDays}} {
		if n.value < n.least || n.value > n.most {
			return s, nil, domain.Invalid("settings."+n.field, "must be %d to %d, is %d", n.least, n.most, n.value)
		}
	}
	return s, program, nil
}

// below gives a fault of the recipe its place in the settings.
func below(err error) error {
	field := domain.FieldOf(err)
	_, text, found := strings.Cut(err.Error(), field+": ")
	if field == "" || !found {
		return err
	}
	return domain.Invalid("settings."+field, "%s", text)
}

// types that fields must have whose meaning is known.
var types = map[string]engine.Type{"start": engine.TypeDateTime, "end": engine.TypeDateTime, "date": engine.TypeDate, "end_date": engine.TypeDate,
	"start_time": engine.TypeTime, "end_time": engine.TypeTime, "title": engine.TypeText, "status": engine.TypeText}

func checkFields(p *engine.Program) error {
	for _, name := range p.Fields() {
		if want, known := types[name]; known && p.Type(name) != want {
			return domain.Invalid("settings.recipe.list.fields."+name+".type", "must be %s", want)
		}
	}
	if p.Type("title") == "" {
		return domain.Invalid("settings.recipe.list.fields", "must have the field title")
	}
	if (p.Type("start") == "") == (p.Type("date") == "") {
		return domain.Invalid("settings.recipe.list.fields", "must have either the field start or the field date")
	}
	return nil
}

// fingerprint changes with everything that changes what a listing says.
func (c *connection) fingerprint() string {
	b, err := json.Marshal(struct {
		Recipe, Zone string
		Settings     settings
	}{c.program.Fingerprint(), c.zone.String(), c.settings})
	if err != nil {
		panic("marshal settings of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// window is the time whose entries are told.
func (c *connection) window() domain.Span {
	today := c.now().UTC().Truncate(day)
	return domain.Span{Start: today.Add(-time.Duration(or(c.settings.PastDays, defaultPast)) * day), End: today.Add(time.Duration(or(c.settings.FutureDays, defaultFuture)) * day)}
}
