package custom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxSettings is the largest settings document in bytes.
const maxSettings = 64 << 10

// decodeSettings reads a settings document. Unknown fields and wrong types are refused with the path of the field;
// names are compared exactly, upper and lower case included.
func decodeSettings(doc json.RawMessage) (Settings, error) {
	var s Settings
	if len(doc) > maxSettings {
		return s, domain.Invalid("settings", "at most %d bytes, has %d", maxSettings, len(doc))
	}
	v, err := parseJSON(doc)
	if err != nil {
		var bad *jsonError
		if errors.As(err, &bad) {
			line, column := position(doc, bad.offset)
			return s, domain.Invalid("settings", "line %d, column %d: %s", line, column, bad.reason)
		}
		return s, domain.Invalid("settings", "%s", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return s, domain.Invalid("settings", "must be an object")
	}
	if faults := checkShape(v, reflect.TypeFor[Settings](), "settings"); len(faults) > 0 {
		return s, readable(doc, faults)
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return s, located(doc, domain.Invalid("settings."+wrong.Field, "must be %s", kindWord(wrong.Type)))
		}
		return s, domain.Invalid("settings", "%s", err)
	}
	return s, nil
}

// checkShape compares a parsed document with the type it is to fill, and tells everything that does not fit.
func checkShape(v any, t reflect.Type, path string) (faults []error) {
	if v == nil || t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	ok := true
	switch t.Kind() {
	case reflect.Pointer:
		return checkShape(v, t.Elem(), path)
	case reflect.Struct:
		var m map[string]any
		if m, ok = v.(map[string]any); !ok {
			break
		}
		fields := jsonFields(t)
		for _, name := range sortedKeys(m) {
			if ft, known := fields[name]; known {
				faults = append(faults, checkShape(m[name], ft, path+"."+name)...)
			} else {
				faults = append(faults, domain.Invalid(path+"."+safeName(name), "unknown field; known here: %s", strings.Join(sortedKeys(fields), ", ")))
			}
		}
	case reflect.Map:
		var m map[string]any
		if m, ok = v.(map[string]any); !ok {
			break
		}
		for _, name := range sortedKeys(m) {
			faults = append(faults, checkShape(m[name], t.Elem(), path+"."+safeName(name))...)
		}
	case reflect.Slice:
		var list []any
		if list, ok = v.([]any); !ok {
			break
		}
		for i, e := range list {
			faults = append(faults, checkShape(e, t.Elem(), path+"["+strconv.Itoa(i)+"]")...)
		}
	case reflect.String:
		_, ok = v.(string)
	case reflect.Int:
		_, ok = v.(int64)
	case reflect.Bool:
		_, ok = v.(bool)
	default:
		return nil
	}
	if !ok {
		faults = append(faults, domain.Invalid(path, "must be %s", kindWord(t)))
	}
	return faults
}

// jsonFields gives the JSON names of a struct, embedded structs included.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		if f.Anonymous {
			for name, ft := range jsonFields(f.Type) {
				fields[name] = ft
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return kindWord(t.Elem())
	case reflect.Slice:
		return "a list"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a text"
	}
}

// safeName keeps an unexpected member name from filling an error.
func safeName(name string) string {
	if len(name) > 60 {
		name = name[:60]
	}
	return strings.ToValidUTF8(name, "?")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// located adds to an error about a field the line of the settings document on which the field's value begins. A
// document of one line, as the database stores it, has nothing to add.
func located(doc []byte, err error) error {
	var e *domain.Error
	if !errors.As(err, &e) || e.Field == "" || !bytes.ContainsRune(bytes.TrimSpace(doc), '\n') {
		return err
	}
	line, ok := lineOf(doc, strings.TrimPrefix(e.Field, "settings."))
	if !ok {
		return err
	}
	found := *e
	found.Text += fmt.Sprintf(" (line %d of the settings)", line)
	return &found
}

// lineOf finds the line of a path such as webhook.mapping.start or write.create.body.days[0].
func lineOf(doc []byte, path string) (int, bool) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	steps := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	for len(steps) > 0 {
		open, err := dec.Token()
		if err != nil {
			return 0, false
		}
		switch open {
		case json.Delim('{'):
			n := findMember(dec, steps)
			if n == 0 {
				return 0, false
			}
			steps = steps[n:]
		case json.Delim('['):
			index, err := strconv.Atoi(steps[0])
			if err != nil {
				return 0, false
			}
			for range index {
				if !dec.More() || skipValue(dec) != nil {
					return 0, false
				}
			}
			if !dec.More() {
				return 0, false
			}
			steps = steps[1:]
		default:
			return 0, false
		}
	}
	at := int(dec.InputOffset())
	for at < len(doc) && strings.IndexByte(" \t\r\n:,", doc[at]) >= 0 {
		at++
	}
	line, _ := position(doc, at)
	return line, true
}

// findMember leaves the decoder before the value of the member that steps begin with, and tells how many steps its
// name takes: a header name may itself hold dots.
func findMember(dec *json.Decoder, steps []string) int {
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return 0
		}
		text, _ := name.(string)
		for n := 1; n <= len(steps); n++ {
			if text == strings.Join(steps[:n], ".") {
				return n
			}
		}
		if skipValue(dec) != nil {
			return 0
		}
	}
	return 0
}

func skipValue(dec *json.Decoder) error {
	var skipped json.RawMessage
	return dec.Decode(&skipped)
}

// position is the line and column, from 1, of a byte offset.
func position(doc []byte, offset int) (line, column int) {
	before := doc[:min(offset, len(doc))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
}
