package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"reflect"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// DecodeSettings reads settings strictly: one JSON object, no unknown field. Errors are domain.Invalid with the path of the
// field and hold no value.
func DecodeSettings(raw json.RawMessage, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return domain.Invalid("settings", "must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return domain.Invalid("settings."+kind.Field, "must not be a %s", kind.Value)
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return domain.Invalid("settings", "has the unknown field %.60s", name)
		}
		return domain.Invalid("settings", "must be a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return domain.Invalid("settings", "must be one JSON object")
	}
	return nil
}

// SameSettings reports whether two settings say the same, however they are written. Text that is no JSON is the same as itself only.
func SameSettings(a, b json.RawMessage) bool {
	var x, y any
	for _, one := range []struct {
		raw json.RawMessage
		out *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(one.raw))
		d.UseNumber() // ids may be longer than a float is exact
		if d.Decode(one.out) != nil {
			return bytes.Equal(a, b)
		}
	}
	return reflect.DeepEqual(x, y)
}

// CategoryRule gives entries a category by their words: calendars know none of ours. Settings of calendars hold a list of
// them as category_rules, beside category_default.
type CategoryRule struct {
	Category domain.Category `json:"category"`
	Contains []string        `json:"contains"` // in a title, category or label, in any case
}

// Bounds of category rules.
const (
	MaxCategoryRules = 50
	MaxCategoryWords = 50  // of one rule
	MaxCategoryWord  = 200 // bytes
)

// CategoryOf decides by the first rule with a word that occurs in one of the texts, else it is fallback, else personal.
func CategoryOf(rules []CategoryRule, fallback domain.Category, texts ...string) domain.Category {
	text := strings.ToLower(strings.Join(texts, "\n"))
	for _, r := range rules {
		for _, word := range r.Contains {
			if strings.Contains(text, strings.ToLower(word)) {
				return r.Category
			}
		}
	}
	if fallback == "" {
		return domain.CategoryPersonal
	}
	return fallback
}

// CheckCategories checks category_default and category_rules of settings. Errors are domain.Invalid with the path.
func CheckCategories(rules []CategoryRule, fallback domain.Category) error {
	if fallback != "" && !fallback.Valid() {
		return domain.Invalid("settings.category_default", "must be one of %v", domain.Categories())
	}
	if len(rules) > MaxCategoryRules {
		return domain.Invalid("settings.category_rules", "at most %d, has %d", MaxCategoryRules, len(rules))
	}
	for i, r := range rules {
		at := fmt.Sprintf("settings.category_rules[%d]", i)
		if !r.Category.Valid() {
			return domain.Invalid(at+".category", "must be one of %v", domain.Categories())
		}
		if len(r.Contains) < 1 || len(r.Contains) > MaxCategoryWords {
			return domain.Invalid(at+".contains", "must have 1 to %d words, has %d", MaxCategoryWords, len(r.Contains))
		}
		for _, w := range r.Contains {
			if w == "" || len(w) > MaxCategoryWord {
				return domain.Invalid(at+".contains", "each word must have 1 to %d bytes", MaxCategoryWord)
			}
		}
	}
	return nil
}

// MaxURL bounds addresses in settings, in bytes.
const MaxURL = 400

// OnThisMachine reports whether an address of settings leads to this machine: settings may put such a one in place of a
// system's own, for development, and no other, so that no setting can send credentials to somebody else.
func OnThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil || len(address) > MaxURL || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}
