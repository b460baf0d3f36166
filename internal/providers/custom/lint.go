package custom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Severity of a finding.
type Severity string

// The severities. A definition with errors is refused; warnings are for its author to weigh.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Finding is something to be said about a definition. Line and Column count from 1.
type Finding struct {
	Severity Severity `json:"severity"`
	Path     string   `json:"path,omitempty"` // such as list.paging.kind; "" = the whole
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Text     string   `json:"text"`
}

// String is the form that editors jump to, without the name of the file.
func (f Finding) String() string {
	s := fmt.Sprintf("%d:%d: %s: ", f.Line, f.Column, f.Severity)
	if f.Path != "" {
		s += f.Path + ": "
	}
	return s + f.Text
}

// Report is what Lint found.
type Report struct {
	Name     string          `json:"name,omitempty"`
	Findings []Finding       `json:"findings"` // in the order of the file
	Secrets  []string        `json:"secrets"`  // names of the secrets that an integration of it needs
	Samples  int             `json:"samples"`  // how many were run
	Settings json.RawMessage `json:"-"`        // of the integration; nil with errors
}

// OK reports whether there are no errors.
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == SeverityError })
}

// aside are the members of a definition that stand beside the settings, on the same level.
type aside struct {
	Name    string   `json:"name,omitempty"`
	About   string   `json:"about,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Bounds of a definition, beside those of settings.
const (
	maxName    = 120
	maxAbout   = 4000
	maxSamples = 100
	// maxFindings bounds what is told of one file. Whoever mends the first few hundred looks again.
	maxFindings = 300
)

// linter collects what is found in one document.
type linter struct {
	doc      *document
	findings []Finding
	secrets  []string
}

// Lint checks a definition file without asking anybody: every fault with its place, choices that are a risk, and its
// samples, each carried out against its own recorded answers on this machine.
func Lint(ctx context.Context, text []byte) Report {
	doc, err := readDocument(text)
	if err != nil {
		f := Finding{Severity: SeverityError, Line: 1, Column: 1, Text: err.Error()}
		if bad := (*syntaxError)(nil); errors.As(err, &bad) {
			f.Line, f.Column, f.Text = bad.line, bad.column, bad.text
		}
		return Report{Findings: []Finding{f}}
	}
	l := &linter{doc: doc}
	about, s, settings, whole := l.shape()
	var c *connection
	if whole != nil {
		c = l.compile(settings, s, whole)
	}
	report := Report{Name: about.Name}
	if c != nil && !l.failed() {
		l.warn(s)
		report.Samples = l.samples(ctx, c, about.Samples)
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	slices.Sort(l.secrets)
	report.Findings, report.Secrets = l.findings, slices.Compact(l.secrets)
	if report.OK() {
		report.Settings = settings
	}
	return report
}

func (l *linter) failed() bool { return !(Report{Findings: l.findings}).OK() }

func (l *linter) add(severity Severity, path, format string, args ...any) {
	if len(l.findings) >= maxFindings {
		return
	}
	line, column, text := l.doc.locate(path, fmt.Sprintf(format, args...))
	f := Finding{Severity: severity, Path: path, Line: line, Column: column, Text: text}
	if !slices.Contains(l.findings, f) {
		l.findings = append(l.findings, f)
	}
}

// fault adds an error of the compiler, and returns its path.
func (l *linter) fault(err error) string {
	path, text := "", err.Error()
	var e *domain.Error
	if errors.As(err, &e) {
		path, text = e.Field, strings.TrimPrefix(text, e.Field+": ")
	}
	if name, ok := strings.CutPrefix(path, "secrets."); ok {
		l.secrets = append(l.secrets, name)
		return ""
	}
	path = strings.TrimPrefix(strings.TrimPrefix(path, "settings"), ".")
	l.add(SeverityError, path, "%s", text)
	return path
}

// shape splits the document into settings and the rest, and takes out what has a wrong form, so that what is left can be
// looked at too. whole is nil where nothing is left; it holds the paths that were taken out.
func (l *linter) shape() (about aside, s Settings, settings json.RawMessage, whole map[string]bool) {
	top, ok := l.doc.value.(map[string]any)
	if !ok {
		l.add(SeverityError, "", "must be an object")
		return about, s, nil, nil
	}
	rest, beside := map[string]any{}, map[string]any{}
	known := jsonFields(reflect.TypeFor[aside]())
	for name, v := range top {
		if _, there := known[name]; there {
			beside[name] = v
		} else {
			rest[name] = v
		}
	}
	whole = map[string]bool{}
	hopeless := false
	take := func(v map[string]any, t reflect.Type) {
		faults := checkShape(v, t, "settings")
		if len(faults) > maxFindings {
			// Nothing is left to look at, and to take each out would cost the more the more there are.
			faults, hopeless = faults[:maxFindings], true
		}
		for _, err := range faults {
			path := l.fault(err)
			whole[path] = true
			without(v, path)
		}
	}
	take(rest, reflect.TypeFor[Settings]())
	take(beside, reflect.TypeFor[aside]())
	if hopeless {
		return about, s, nil, nil
	}
	settings, err := json.Marshal(rest)
	if err == nil {
		err = json.Unmarshal(settings, &s)
	}
	if err == nil {
		var b []byte
		if b, err = json.Marshal(beside); err == nil {
			err = json.Unmarshal(b, &about)
		}
	}
	if err != nil {
		l.fault(domain.Invalid("settings", "cannot be read: %s", err))
		return about, s, nil, nil
	}
	switch {
	case len(settings) > maxSettings:
		l.add(SeverityError, "", "the settings may have %d bytes without samples, have %d", maxSettings, len(settings))
		return about, s, nil, nil // what they hold is as unbounded as they are
	case len(about.Name) > maxName:
		l.add(SeverityError, "name", "at most %d bytes", maxName)
	case len(about.About) > maxAbout:
		l.add(SeverityError, "about", "at most %d bytes", maxAbout)
	case len(about.Samples) > maxSamples:
		l.add(SeverityError, "samples", "at most %d", maxSamples)
	}
	return about, s, settings, whole
}

// without removes what is at a path. Names may hold dots, so the longest name that fits counts.
func without(v map[string]any, path string) {
	for cut := len(path); cut > 0; cut = strings.LastIndexAny(path[:cut], ".[") {
		child, there := v[path[:cut]]
		if !there {
			continue
		}
		rest := strings.TrimPrefix(path[cut:], ".")
		inner, ok := child.(map[string]any)
		if rest == "" || !ok {
			delete(v, path[:cut]) // a list goes as a whole
			return
		}
		without(inner, rest)
		return
	}
}

// sampleSecrets stand for the secrets of requests.
var sampleSecrets = map[string]string{SecretAPIKey: "sample", SecretToken: "sample", SecretPassword: "sample", SecretClient: "sample"}

// compile looks for everything that Validate would refuse.
func (l *linter) compile(doc json.RawMessage, s Settings, gone map[string]bool) *connection {
	_, faults := compileParts(doc, s, nil, time.UTC)
	for _, err := range flatten(faults) {
		var e *domain.Error
		if errors.As(err, &e) && behind(gone, strings.TrimPrefix(strings.TrimPrefix(e.Field, "settings"), ".")) {
			continue // it follows from what was taken out
		}
		l.fault(err)
	}
	if s.Webhook != nil && s.Webhook.Verify.Challenge == "meta" {
		l.secrets = append(l.secrets, SecretVerifyToken)
	}
	c, _ := compileParts(doc, s, sampleSecrets, time.UTC) // the secrets of webhooks are missing still
	return c
}

// behind reports whether a path is one of those that were taken out, lies within one, or needs one.
func behind(gone map[string]bool, path string) bool {
	for g := range gone {
		if path == g || strings.HasPrefix(path, g+".") || strings.HasPrefix(path, g+"[") || path == "" && !strings.Contains(g, ".") {
			return true
		}
	}
	return false
}
