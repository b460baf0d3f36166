package scrape

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wedsync/wedsync/internal/domain"
)

// Schema is the JSON Schema (2020-12) of a recipe.
//
//go:embed recipe.schema.json
var Schema json.RawMessage

// Bounds of a recipe.
const (
	Version         = 1
	MaxRecipe       = 64 << 10 // bytes
	MaxFields       = 30
	MaxSelector     = 300 // bytes
	MaxText         = 400 // bytes of any other text
	MaxFormats      = 10
	MaxMapped       = 50
	MaxPages        = 50
	DefaultPages    = 10
	DefaultInterval = 2.0     // seconds
	LeastInterval   = 1.0     // seconds, but for a server on this machine
	MostInterval    = 60.0    // seconds
	DefaultBytes    = 2 << 20 // of a page
	MostBytes       = 5 << 20
	// longestRun bounds how long the pauses of one run may add up to: a run is one step of work.
	longestRun = 100 * time.Second
	// around are the requests of a run beside its pages: robots.txt, the form, the log-in and what it leads to.
	around = 5
)

// Recipe says how a list is read. See recipe.schema.json for every member.
type Recipe struct {
	Version   int       `json:"version"`
	Name      string    `json:"name"`
	Base      string    `json:"base"`           // origin, such as https://portal.example.com
	Zone      string    `json:"zone,omitempty"` // of the dates; "" = the caller's
	Login     *Login    `json:"login,omitempty"`
	LoggedOut LoggedOut `json:"logged_out,omitzero"`
	List      List      `json:"list"`
	Limits    Limits    `json:"limits,omitzero"`
}

// Login says how a session begins.
type Login struct {
	Path string `json:"path"`
	// Form selects the form, whose hidden inputs are sent along.
	Form string `json:"form"`
	// Fields are the inputs to fill in, by name. {secret.user} and {secret.password} stand for the credentials.
	Fields map[string]string `json:"fields"`
	// Refused selects what shows that the credentials were refused; "" = only the form's coming back does.
	Refused string `json:"refused,omitempty"`
}

// LoggedOut tells a page that asks for a log-in from the one that was asked for.
type LoggedOut struct {
	Selector string `json:"selector,omitempty"`
	Path     string `json:"path,omitempty"` // where the server sends those who are logged out
}

// List says where the rows are.
type List struct {
	// Path with {from}, {until} (dates in DateFormat) and {page}.
	Path       string `json:"path"`
	DateFormat string `json:"date_format,omitempty"` // of {from} and {until}; "" = YYYY-MM-DD
	Container  string `json:"container,omitempty"`   // must match on every page
	Rows       string `json:"rows"`
	Empty      string `json:"empty,omitempty"` // shows that there are really no rows
	Total      *Field `json:"total,omitempty"` // how many entries the whole list has
	Next       string `json:"next,omitempty"`  // link to the next page
	// FirstPage is the number of the first page where Path has {page}; pages are asked for until one has no news.
	FirstPage *int             `json:"first_page,omitempty"` // nil = 1
	Identity  []string         `json:"identity"`             // fields that name a row
	Fields    map[string]Field `json:"fields"`
}

// Field says where a value is in a row and what it means.
type Field struct {
	Selector string            `json:"selector,omitempty"` // inside the row; "" = the row itself
	Attr     string            `json:"attr,omitempty"`     // "" = the text
	Type     Type              `json:"type,omitempty"`     // "" = text
	Formats  []string          `json:"formats,omitempty"`  // of dates and times; the first that fits
	Pattern  string            `json:"pattern,omitempty"`  // RE2; the value is its first group, or all of it
	Map      map[string]string `json:"map,omitempty"`      // whole values, in any case of letters
	Required bool              `json:"required,omitempty"`
	Default  string            `json:"default,omitempty"` // where nothing was found
}

// Type is what a value is.
type Type string

// The types. Values come out as plain text, dates as 2027-06-05, times as 14:00, datetimes as RFC 3339 in UTC and numbers
// without separators.
const (
	TypeText     Type = "text"
	TypeDate     Type = "date"
	TypeTime     Type = "time"
	TypeDateTime Type = "datetime"
	TypeNumber   Type = "number"
)

// Limits keep a run polite. Zero fields take the defaults.
type Limits struct {
	Pages    int     `json:"pages,omitempty"`
	Interval float64 `json:"interval,omitempty"` // seconds between two requests, at the least
	Bytes    int     `json:"page_bytes,omitempty"`
}

func (l List) first() int {
	if l.FirstPage == nil {
		return 1
	}
	return *l.FirstPage
}

func (l Limits) pages() int {
	if l.Pages == 0 {
		return DefaultPages
	}
	return l.Pages
}

func (l Limits) interval() time.Duration {
	if l.Interval == 0 {
		return time.Duration(DefaultInterval * float64(time.Second))
	}
	return time.Duration(l.Interval * float64(time.Second))
}

func (l Limits) bytes() int {
	if l.Bytes == 0 {
		return DefaultBytes
	}
	return l.Bytes
}

// Parse reads a recipe, JSON where it begins with a brace and YAML otherwise. Errors are of kind invalid with the path of
// the member, or the line where the text itself is broken.
func Parse(text []byte) (Recipe, error) {
	var r Recipe
	if len(text) > MaxRecipe {
		return r, domain.Invalid("recipe", "has more than %d bytes", MaxRecipe)
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if !bytes.HasPrefix(text, []byte("{")) {
		var err error
		if text, err = fromYAML(text); err != nil {
			return r, err
		}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		var kind *json.UnmarshalTypeError
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &kind):
			return r, domain.Invalid(join("recipe", kind.Field), "must not be a %s", kind.Value)
		case errors.As(err, &syntax):
			return r, domain.Invalid("recipe", "is broken in line %d: %s", 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")), syntax.Error())
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return r, domain.Invalid("recipe", "has the unknown member %.60s", name)
		}
		return r, domain.Invalid("recipe", "must be an object")
	}
	if _, err := d.Token(); err != io.EOF {
		return r, domain.Invalid("recipe", "must be one object")
	}
	_, err := r.Compile()
	return r, err
}

func join(path, member string) string {
	if member == "" {
		return path
	}
	return path + "." + member
}

// fromYAML turns one YAML document into JSON.
func fromYAML(text []byte) ([]byte, error) {
	var v any
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&v); err != nil {
		// The library's text names the line, and may quote the recipe, which holds no secrets.
		return nil, domain.Invalid("recipe", "is no YAML: %.200s", strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: "))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, domain.Invalid("recipe", "must be one document")
	}
	plain, err := plainKeys(v, 0)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(plain)
	if err != nil || len(out) > 4*MaxRecipe {
		return nil, domain.Invalid("recipe", "holds values that a recipe cannot have")
	}
	return out, nil
}

// plainKeys turns the maps of YAML into maps of JSON, and the dates that YAML sees into texts.
func plainKeys(v any, depth int) (any, error) {
	if depth > 20 {
		return nil, domain.Invalid("recipe", "is nested too deeply")
	}
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			plain, err := plainKeys(inner, depth+1)
			if err != nil {
				return nil, err
			}
			v[k] = plain
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			plain, err := plainKeys(inner, depth+1)
			if err != nil {
				return nil, err
			}
			out[fmt.Sprint(k)] = plain
		}
		return out, nil
	case []any:
		for i, inner := range v {
			plain, err := plainKeys(inner, depth+1)
			if err != nil {
				return nil, err
			}
			v[i] = plain
		}
	case time.Time:
		return v.Format(time.RFC3339), nil
	}
	return v, nil
}
