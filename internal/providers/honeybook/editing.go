package honeybook

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
)

// mappings lets people see and change the expressions of each trigger.
var mappings = &provider.Mappings{Kinds: kinds(), Fields: custom.MappingFields(), Read: readMapping, Change: changeMapping}

func kindNamed(kind string) (trigger, error) {
	i := slices.IndexFunc(triggers, func(t trigger) bool { return t.name == kind })
	if i < 0 {
		_, err := triggerOf(kind)
		if err == nil {
			err = domain.Invalid("trigger", "must be written as listed")
		}
		return trigger{}, err
	}
	return triggers[i], nil
}

func readMapping(raw json.RawMessage, kind string) (provider.Expressions, error) {
	t, err := kindNamed(kind)
	if err != nil {
		return provider.Expressions{}, err
	}
	s, err := parse(raw)
	if err != nil {
		return provider.Expressions{}, err
	}
	return provider.Expressions{InEffect: s.mapping(t).Fields(), Own: t.mapping(s.order()).Fields()}, nil
}

// changeMapping keeps what is not ours only, so that a later version of ours reaches fields that nobody changed.
func changeMapping(raw json.RawMessage, kind string, fields map[string]string) (json.RawMessage, error) {
	t, err := kindNamed(kind)
	if err != nil {
		return nil, err
	}
	s, err := parse(raw)
	if err != nil {
		return nil, err
	}
	theirs, own := map[string]string{}, t.mapping(s.order()).Fields()
	for name, src := range fields {
		if src != "" && src != own[name] {
			theirs[name] = src
		}
	}
	m, err := custom.MappingOf(theirs, "settings.triggers."+t.name+".mapping")
	if err != nil {
		return nil, err
	}
	s.Triggers = maps.Clone(s.Triggers)
	if s.Triggers == nil {
		s.Triggers = map[string]triggerSettings{}
	}
	next := triggerSettings{Off: s.Triggers[t.name].Off, Mapping: m}
	if s.Triggers[t.name] = next; next == (triggerSettings{}) {
		delete(s.Triggers, t.name)
	}
	return marshal(s)
}

// trial lays settings to be tried over the stored ones, member by member, and triggers one by one.
func trial(stored, given json.RawMessage) (json.RawMessage, error) {
	if len(given) > maxSettings {
		return nil, domain.Invalid("settings", "at most %d bytes, has %d", maxSettings, len(given))
	}
	var over struct {
		Triggers map[string]json.RawMessage `json:"triggers"`
	}
	var all, part map[string]json.RawMessage
	if json.Unmarshal(given, &part) != nil || part == nil || json.Unmarshal(given, &over) != nil {
		return nil, domain.Invalid("settings", "must be an object: all settings, or some of them; triggers by their names")
	}
	var had struct {
		Triggers map[string]json.RawMessage `json:"triggers"`
	}
	if err := json.Unmarshal(stored, &all); err != nil {
		return nil, domain.E(domain.KindInternal, "read the stored settings: %w", err)
	}
	if err := json.Unmarshal(stored, &had); err != nil {
		return nil, domain.E(domain.KindInternal, "read the stored triggers: %w", err)
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	maps.Copy(all, part)
	if over.Triggers != nil {
		merged := map[string]json.RawMessage{}
		maps.Copy(merged, had.Triggers)
		maps.Copy(merged, over.Triggers)
		b, err := marshal(merged)
		if err != nil {
			return nil, err
		}
		all["triggers"] = b
	}
	return marshal(all)
}

func marshal(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "write settings as JSON: %w", err)
	}
	return b, nil
}
