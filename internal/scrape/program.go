package scrape

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/andybalholm/cascadia"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Program is a recipe that was checked. It is safe for concurrent use.
type Program struct {
	recipe Recipe
	base   *url.URL
	zone   *time.Location // nil = the caller's
	date   string         // layout of {from} and {until}

	form, refused, out          *selector
	container, rows, none, next *selector
	total                       *field
	fields                      map[string]*field
	names                       []string // of the fields, sorted
}

// Advice says what the recipe could say to be safer, each line with the path of a member. A recipe without it is valid.
func (p *Program) Advice() (lines []string) {
	if p.none == nil {
		lines = append(lines, "recipe.list.empty: without it a list that has no entry is taken for a page that changed")
	}
	if strings.Contains(p.recipe.List.Path, "{page}") && p.container == nil && p.none == nil && p.total == nil {
		lines = append(lines, "recipe.list.container, empty or total: without one of them the page after the last may as well be a page of errors, so what is gone "+
			"from the list is never removed")
	}
	return lines
}

// selector is a compiled selector with its text.
type selector struct {
	text  string
	match cascadia.Matcher
}

// field is a compiled Field.
type field struct {
	Field
	path    string
	at      *selector // nil = the row itself
	layouts []string
	pattern *regexp.Regexp
	mapped  map[string]string // by lower-case value
}

// Compile checks a recipe. Errors are of kind invalid with the path of the member.
func (r Recipe) Compile() (*Program, error) {
	p := &Program{recipe: r, fields: map[string]*field{}}
	if r.Version != Version {
		return nil, domain.Invalid("recipe.version", "must be %d", Version)
	}
	if err := text("recipe.name", r.Name, 1, 100); err != nil {
		return nil, err
	}
	if err := p.checkBase(); err != nil {
		return nil, err
	}
	if err := p.checkLimits(); err != nil {
		return nil, err
	}
	var err error
	if r.Zone != "" {
		if p.zone, err = calendartime.LoadZone(r.Zone); err != nil || len(r.Zone) > 64 {
			return nil, domain.Invalid("recipe.zone", "must be an IANA zone name")
		}
	}
	if err := p.compileLogin(); err != nil {
		return nil, err
	}
	return p, p.compileList()
}

// Base is the origin of the pages, such as https://portal.example.com: what a customer's consent is about.
func (p *Program) Base() string { return p.base.Scheme + "://" + p.base.Host }

// Recipe returns what the program was compiled from.
func (p *Program) Recipe() Recipe { return p.recipe }

// Fields lists the names of the fields, sorted.
func (p *Program) Fields() []string { return slices.Clone(p.names) }

// Type is that of a field, "" when there is none of the name.
func (p *Program) Type(name string) Type {
	if f := p.fields[name]; f != nil {
		return f.Type
	}
	return ""
}

// Fingerprint changes with everything in the recipe.
func (p *Program) Fingerprint() string {
	b, err := json.Marshal(p.recipe)
	if err != nil {
		panic("marshal a recipe of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func text(path, value string, least, most int) error {
	if n := len(value); n < least || n > most {
		return domain.Invalid(path, "must have %d to %d bytes, has %d", least, most, n)
	}
	return nil
}

func (p *Program) checkBase() error {
	u, err := url.Parse(p.recipe.Base)
	wrong := domain.Invalid("recipe.base", "must be https and a host, without path, query and user, at most %d bytes", MaxText)
	if err != nil || len(p.recipe.Base) > MaxText || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return wrong
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !here(u)) {
		return wrong
	}
	u.Path = ""
	u.Host = strings.ToLower(u.Host)
	p.base = u
	return nil
}

// here reports whether an address is of this machine, where simulators are.
func here(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

func (p *Program) checkLimits() error {
	l := p.recipe.Limits
	if l.Pages < 0 || l.pages() > MaxPages {
		return domain.Invalid("recipe.limits.pages", "must be 1 to %d, is %d", MaxPages, l.Pages)
	}
	least := LeastInterval
	if here(p.base) {
		least = 0.001
	}
	if l.Interval != 0 && !(l.Interval >= least && l.Interval <= MostInterval) {
		return domain.Invalid("recipe.limits.interval", "must be %g to %g seconds, is %g", least, MostInterval, l.Interval)
	}
	if l.Bytes < 0 || l.bytes() > MostBytes || l.bytes() < 1024 {
		return domain.Invalid("recipe.limits.page_bytes", "must be 1024 to %d, is %d", MostBytes, l.Bytes)
	}
	if most := pauseOf(l.interval(), 1) * time.Duration(l.pages()+around); most > longestRun {
		return domain.Invalid("recipe.limits", "%d pages with pauses of %s may take %s; at most %s", l.pages(), l.interval(), most, longestRun)
	}
	return nil
}

// compileSelector compiles a group of CSS selectors.
func compileSelector(path, text string, required bool) (*selector, error) {
	if text == "" && !required {
		return nil, nil
	}
	if n := len(text); n < 1 || n > MaxSelector {
		return nil, domain.Invalid(path, "must have 1 to %d bytes, has %d", MaxSelector, n)
	}
	group, err := cascadia.ParseGroup(text)
	if err != nil {
		return nil, domain.Invalid(path, "is no CSS selector: %.120s", err.Error())
	}
	for _, one := range group {
		if one.PseudoElement() != "" {
			return nil, domain.Invalid(path, "must not name a pseudo-element")
		}
	}
	return &selector{text, group}, nil
}

// checkPath checks a path of the pages with its variables.
func checkPath(path, value string, known ...string) error {
	if n := len(value); n < 1 || n > MaxText {
		return domain.Invalid(path, "must have 1 to %d bytes, has %d", MaxText, n)
	}
	rest := value
	for _, name := range known {
		rest = strings.ReplaceAll(rest, "{"+name+"}", "1")
	}
	u, err := url.Parse(rest)
	switch {
	case strings.ContainsAny(rest, "{}"):
		return domain.Invalid(path, "holds a variable that is not known here; there are: %s", strings.Join(known, ", "))
	case err != nil || !strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "//") || u.Host != "" || u.Fragment != "":
		return domain.Invalid(path, "must be a path that begins with one slash")
	}
	return nil
}

func (p *Program) compileLogin() (err error) {
	o := p.recipe.LoggedOut
	if p.out, err = compileSelector("recipe.logged_out.selector", o.Selector, false); err != nil {
		return err
	}
	if o.Path != "" {
		if err := checkPath("recipe.logged_out.path", o.Path); err != nil {
			return err
		}
	}
	l := p.recipe.Login
	if l == nil {
		return nil
	}
	if o.Selector == "" && o.Path == "" {
		return domain.Invalid("recipe.logged_out", "is needed with a login: it tells when a session ended")
	}
	if err := checkPath("recipe.login.path", l.Path); err != nil {
		return err
	}
	if p.form, err = compileSelector("recipe.login.form", l.Form, true); err != nil {
		return err
	}
	if p.refused, err = compileSelector("recipe.login.refused", l.Refused, false); err != nil {
		return err
	}
	if len(l.Fields) < 1 || len(l.Fields) > 10 {
		return domain.Invalid("recipe.login.fields", "must have 1 to 10 inputs, has %d", len(l.Fields))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		if err := text("recipe.login.fields", name, 1, 100); err != nil {
			return err
		}
		rest := fill(l.Fields[name], map[string]string{"secret.user": "", "secret.password": ""})
		if len(l.Fields[name]) > MaxText || strings.ContainsAny(rest, "{}") {
			return domain.Invalid("recipe.login.fields."+name, "may hold {secret.user} and {secret.password}, at most %d bytes", MaxText)
		}
	}
	return nil
}

// fill replaces variables by their values.
func fill(text string, values map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, "{"+name+"}", values[name])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

var fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

func (p *Program) compileList() (err error) {
	l := p.recipe.List
	if err := checkPath("recipe.list.path", l.Path, "from", "until", "page"); err != nil {
		return err
	}
	if p.date, err = layout("recipe.list.date_format", or(l.DateFormat, "YYYY-MM-DD")); err != nil {
		return err
	}
	for _, s := range []struct {
		path, text string
		into       **selector
		required   bool
	}{
		{"recipe.list.container", l.Container, &p.container, false},
		{"recipe.list.rows", l.Rows, &p.rows, true},
		{"recipe.list.empty", l.Empty, &p.none, false},
		{"recipe.list.next", l.Next, &p.next, false},
	} {
		if *s.into, err = compileSelector(s.path, s.text, s.required); err != nil {
			return err
		}
	}
	numbered := strings.Contains(l.Path, "{page}")
	switch {
	case numbered && l.Next != "":
		return domain.Invalid("recipe.list.next", "cannot be had together with {page} in the path")
	case l.first() < 0 || l.first() > 1000:
		return domain.Invalid("recipe.list.first_page", "must be 0 to 1000, is %d", l.first())
	case l.FirstPage != nil && !numbered:
		return domain.Invalid("recipe.list.first_page", "needs {page} in the path")
	}
	if l.Total != nil {
		total := *l.Total
		if total.Type == "" {
			total.Type = TypeNumber
		}
		if total.Type != TypeNumber {
			return domain.Invalid("recipe.list.total.type", "must be number")
		}
		if p.total, err = compileField("recipe.list.total", total); err != nil {
			return err
		}
	}
	if len(l.Fields) < 1 || len(l.Fields) > MaxFields {
		return domain.Invalid("recipe.list.fields", "must have 1 to %d fields, has %d", MaxFields, len(l.Fields))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		if !fieldName.MatchString(name) {
			return domain.Invalid("recipe.list.fields", "each name must be of a to z, 0 to 9 and _, begin with a letter and have at most 40 characters")
		}
		if p.fields[name], err = compileField("recipe.list.fields."+name, l.Fields[name]); err != nil {
			return err
		}
		p.names = append(p.names, name)
	}
	if len(l.Identity) < 1 || len(l.Identity) > 5 {
		return domain.Invalid("recipe.list.identity", "must name 1 to 5 fields, has %d", len(l.Identity))
	}
	for i, name := range l.Identity {
		f := p.fields[name]
		if f == nil || slices.Contains(l.Identity[:i], name) {
			return domain.Invalid(fmt.Sprintf("recipe.list.identity[%d]", i), "must be the name of a field, each once")
		}
		if !f.Required {
			return domain.Invalid("recipe.list.fields."+name+".required", "must be true: the field names the row")
		}
	}
	return nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func compileField(path string, f Field) (*field, error) {
	out := &field{Field: f, path: path}
	var err error
	if out.at, err = compileSelector(path+".selector", f.Selector, false); err != nil {
		return nil, err
	}
	for member, value := range map[string]string{"attr": f.Attr, "default": f.Default} {
		if err := text(path+"."+member, value, 0, MaxText); err != nil {
			return nil, err
		}
	}
	if f.Type == "" {
		out.Type = TypeText
	}
	switch out.Type {
	case TypeText, TypeNumber:
		if len(f.Formats) > 0 {
			return nil, domain.Invalid(path+".formats", "is for dates and times only")
		}
	case TypeDate, TypeTime, TypeDateTime:
		if n := len(f.Formats); n < 1 || n > MaxFormats {
			return nil, domain.Invalid(path+".formats", "must have 1 to %d formats, has %d", MaxFormats, n)
		}
		for i, format := range f.Formats {
			l, err := layout(fmt.Sprintf("%s.formats[%d]", path, i), format)
			if err != nil {
				return nil, err
			}
			out.layouts = append(out.layouts, l)
		}
	default:
		return nil, domain.Invalid(path+".type", "must be text, date, time, datetime or number")
	}
	if f.Pattern != "" {
		if err := text(path+".pattern", f.Pattern, 1, MaxText); err != nil {
			return nil, err
		}
		if out.pattern, err = regexp.Compile(f.Pattern); err != nil {
			return nil, domain.Invalid(path+".pattern", "is no RE2 expression")
		}
	}
	if len(f.Map) > MaxMapped {
		return nil, domain.Invalid(path+".map", "at most %d values, has %d", MaxMapped, len(f.Map))
	}
	if len(f.Map) > 0 {
		out.mapped = map[string]string{}
		for from, to := range f.Map {
			if err := text(path+".map", from+to, 1, MaxText); err != nil {
				return nil, err
			}
			out.mapped[strings.ToLower(strings.TrimSpace(from))] = to
		}
	}
	if f.Required && f.Default != "" {
		return nil, domain.Invalid(path+".default", "cannot be had by a required field")
	}
	return out, nil
}
