package custom

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Reading reads deliveries by rules and a mapping, for providers whose deliveries have a shape that the customer chose. It
// is the reading half of a webhook part: how a delivery is verified, and by what a repeat is known, is the provider's own
// affair. Safe for any number of goroutines.
type Reading struct{ part *webhookPart }

// NewReading compiles content types, schema, event type, rules, items and mapping of w; what else w holds is not looked at.
// Without a mapping it finds out the event type and asks the rules. path is where w stands in the settings of the provider,
// and begins the field of every fault. local is the zone of dates and of clocks on a wall.
func NewReading(w Webhook, path string, local *time.Location) (*Reading, error) {
	w.FetchBack = false // there is nothing to read from
	if w.Mapping == nil {
		part := &webhookPart{now: time.Now}
		if err := part.compileAround(&w, path); err != nil {
			return nil, readable(nil, []error{err})
		}
		part.intake.ContentTypes = slices.Clone(w.ContentTypes)
		return &Reading{part}, part.keepHeaders(path)
	}
	part, err := compileReading(nil, &w, path, local)
	if err != nil {
		return nil, readable(nil, []error{err})
	}
	return &Reading{part}, nil
}

// Decode reads a delivery, with the outcomes of provider.WebhookSource.
func (r *Reading) Decode(ctx context.Context, d provider.Webhook) (provider.Decoded, error) {
	ctx, cancel := context.WithTimeout(ctx, decodeTime)
	defer cancel()
	out, _, err := r.part.decode(newWork(ctx), d)
	return out, err
}

// Explain reads a delivery and tells how, with the same outcome as Decode.
func (r *Reading) Explain(ctx context.Context, d provider.Webhook) provider.Explanation {
	ctx, cancel := context.WithTimeout(ctx, decodeTime)
	defer cancel()
	return r.part.explain(ctx, d)
}

// Headers are those that the expressions read, in canonical form and sorted.
func (r *Reading) Headers() []string { return slices.Clone(r.part.intake.KeepHeaders) }

// Priority is for provider.Intake; nil when no rule sets one.
func (r *Reading) Priority() func(http.Header, []byte) (domain.Priority, bool) {
	if !setsPriority(r.part.rules) {
		return nil
	}
	return r.part.priorityOf
}

// Over returns m laid over base, field by field.
func (m Mapping) Over(base Mapping) Mapping {
	out, _ := merged(&base, &m, "")
	return out
}

// Fields returns the expressions by the names that settings use, without the empty ones.
func (m Mapping) Fields() map[string]string {
	out := map[string]string{}
	for f, v := range reflect.ValueOf(m).Fields() {
		if v.String() != "" {
			out[mappingName(f)] = v.String()
		}
	}
	return out
}

// MappingOf makes a mapping of expressions by name. An unknown name is domain.Invalid with it as the field below path.
func MappingOf(fields map[string]string, path string) (Mapping, error) {
	var out Mapping
	known := map[string]reflect.Value{}
	for f, v := range reflect.ValueOf(&out).Elem().Fields() {
		known[mappingName(f)] = v
	}
	for _, name := range sortedKeys(fields) {
		v, there := known[name]
		if !there {
			return Mapping{}, domain.Invalid(path+"."+safeName(name), "unknown field; known here: %s", strings.Join(sortedKeys(known), ", "))
		}
		v.SetString(fields[name])
	}
	return out, nil
}

// MappingFields are the names of the fields of a mapping, in the order in which people think of them.
func MappingFields() []string {
	return []string{"drop", "op", "external_id", "category", "status", "start", "end", "all_day", "zone", "title", "location", "notes", "contact",
		"private", "free", "remote_version", "revision", "uid", "origin"}
}

func mappingName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Repeats sets by what a repeat is known. Faults name fields below path, such as "settings".
func (d *Dedupe) Repeats(path string, out *provider.Intake) error {
	return (&Webhook{Dedupe: d}).dedupe(path, out)
}
