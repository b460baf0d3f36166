package ical

import (
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Component is a part of a calendar between BEGIN and END.
type Component struct {
	Name     string // upper case
	Line     int    // of BEGIN, counted from 1
	Props    []Prop // in order
	Children []*Component
	broken   []Problem // lines that could not be read
}

// Prop is one content line.
type Prop struct {
	Name   string // upper case
	Params []Param
	Value  string // as written, still escaped
	Line   int    // the first one when it is folded, counted from 1
}

// Param is a parameter of a property. Quotes and the ^ encoding of RFC 6868 are undone.
type Param struct {
	Name   string // upper case
	Values []string
}

// Param returns the first value of a parameter, or "".
func (p Prop) Param(name string) string {
	for _, q := range p.Params {
		if q.Name == name && len(q.Values) > 0 {
			return q.Values[0]
		}
	}
	return ""
}

// Get returns the first property of a name in upper case, or nil.
func (c *Component) Get(name string) *Prop {
	for i := range c.Props {
		if c.Props[i].Name == name {
			return &c.Props[i]
		}
	}
	return nil
}

// All returns the properties of a name in upper case, in order.
func (c *Component) All(name string) []Prop {
	var out []Prop
	for _, p := range c.Props {
		if p.Name == name {
			out = append(out, p)
		}
	}
	return out
}

// Text returns the first TEXT property of a name, unescaped and cleaned, or "".
func (c *Component) Text(name string) string {
	if p := c.Get(name); p != nil {
		return Clean(Unescape(p.Value))
	}
	return ""
}

// Texts returns all TEXT properties of a name, such as CATEGORIES, each as a whole.
func (c *Component) Texts(name string) []string {
	var out []string
	for _, p := range c.All(name) {
		out = append(out, Clean(Unescape(p.Value)))
	}
	return out
}

const maxNesting = 8 // components inside components

// tree reads content lines into components. Lines outside of every component are no calendar and are passed over; so
// are empty ones, which some programs put everywhere.
func tree(text string, maxParts int) (roots []*Component, problems []Problem, cut bool, err error) {
	var open []*Component
	parts := 0
	for number, l := range lines(text) {
		if strings.TrimSpace(l) == "" {
			continue
		}
		p, err := ParseLine(l)
		p.Line = number
		if err != nil {
			if n := len(open); n > 0 {
				open[n-1].broken = append(open[n-1].broken, Problem{Line: number, Property: p.Name, Err: err})
			}
			continue
		}
		switch p.Name {
		case "BEGIN":
			if parts++; parts > maxParts || len(open) == maxNesting {
				return nil, nil, false, domain.Invalid("calendar-data", "at most %d components, nested at most %d deep", maxParts, maxNesting)
			}
			c := &Component{Name: strings.ToUpper(strings.TrimSpace(p.Value)), Line: number}
			if n := len(open); n > 0 {
				open[n-1].Children = append(open[n-1].Children, c)
			} else {
				roots = append(roots, c)
			}
			open = append(open, c)
		case "END":
			name := strings.ToUpper(strings.TrimSpace(p.Value))
			i := len(open) - 1
			for i >= 0 && open[i].Name != name {
				i--
			}
			if i < 0 {
				problems = append(problems, Problem{Line: number, Property: "END", Err: domain.Invalid("end", "ends a component that was not begun")})
				continue
			}
			for _, c := range open[i+1:] {
				c.broken = append(c.broken, Problem{Line: c.Line, Property: "BEGIN", Err: domain.Invalid("begin", "begins a component that has no END"), Lost: true})
			}
			open = open[:i]
		default:
			if n := len(open); n > 0 {
				open[n-1].Props = append(open[n-1].Props, p)
			}
		}
	}
	for _, c := range open {
		c.broken = append(c.broken, Problem{Line: c.Line, Property: "BEGIN", Err: domain.Invalid("begin", "begins a component that has no END: the calendar is cut off"), Lost: true})
	}
	return roots, problems, len(open) > 0, nil
}

// lines yields content lines with the number of their first physical line, folding undone.
func lines(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		number, first := 0, 0
		var parts []string
		for len(text) > 0 {
			l, rest, _ := strings.Cut(text, "\n")
			text, number = rest, number+1
			l = strings.TrimRight(l, "\r")
			if len(parts) > 0 && l != "" && (l[0] == ' ' || l[0] == '\t') {
				parts = append(parts, l[1:])
				continue
			}
			if len(parts) > 0 && !yield(first, strings.Join(parts, "")) {
				return
			}
			parts, first = append(parts[:0], l), number
		}
		if len(parts) > 0 {
			yield(first, strings.Join(parts, ""))
		}
	}
}

// ParseLine reads an unfolded content line. On an error the name is given where there is one.
func ParseLine(l string) (Prop, error) {
	n := 0
	for n < len(l) && (l[n] == '-' || l[n] == '_' || l[n] >= '0' && l[n] <= '9' || l[n] >= 'A' && l[n] <= 'Z' || l[n] >= 'a' && l[n] <= 'z') {
		n++
	}
	if n == 0 || n > 100 {
		return Prop{}, domain.Invalid("content line", "must begin with the name of a property, followed by : or ;")
	}
	p := Prop{Name: strings.ToUpper(l[:n])}
	rest := l[n:]
	for {
		if rest == "" {
			return p, domain.Invalid("content line", "must have a : before the value")
		}
		if rest[0] == ':' {
			p.Value = rest[1:]
			return p, nil
		}
		if rest[0] != ';' {
			return p, domain.Invalid("content line", "must have : or ; behind the name of the property")
		}
		var err error
		if rest, err = p.param(rest[1:]); err != nil {
			return p, err
		}
	}
}

// param reads one parameter and returns what follows it.
func (p *Prop) param(rest string) (string, error) {
	i := strings.IndexAny(rest, "=;:")
	if i < 0 || rest[i] != '=' {
		return "", domain.Invalid("content line", "must have parameters written NAME=VALUE")
	}
	q := Param{Name: strings.ToUpper(strings.TrimSpace(rest[:i]))}
	rest = rest[i+1:]
	for {
		value := ""
		if strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				return "", domain.Invalid("content line", "must close the quotes of a parameter")
			}
			value, rest = rest[1:1+end], rest[end+2:]
		}
		// What follows closing quotes is taken along, as a quoted part of a longer value.
		if i = strings.IndexAny(rest, ",;:"); i < 0 {
			return "", domain.Invalid("content line", "must have a : before the value")
		}
		q.Values = append(q.Values, decodeCaret(value+rest[:i]))
		if rest[i] != ',' {
			if !slices.ContainsFunc(p.Params, func(o Param) bool { return o.Name == q.Name }) {
				p.Params = append(p.Params, q)
			}
			return rest[i:], nil
		}
		rest = rest[i+1:]
	}
}

var carets = strings.NewReplacer("^n", "\n", "^'", `"`, "^^", "^")

func decodeCaret(s string) string {
	if !strings.Contains(s, "^") {
		return s
	}
	return carets.Replace(s)
}
