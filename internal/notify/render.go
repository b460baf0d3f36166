package notify

import (
	"bytes"
	"embed"
	"encoding/json"
	htmltemplate "html/template"
	"strings"
	"text/template"

	"github.com/wedsync/wedsync/internal/domain"
)

//go:embed templates
var files embed.FS

// Content is a message in the forms in which it is sent.
type Content struct {
	Subject string          `json:"subject"`
	Text    string          `json:"text"`
	HTML    string          `json:"html"`
	Slack   json.RawMessage `json:"slack"` // the body that is posted
}

var funcs = map[string]any{
	"title": func(s string) string {
		if s == "" {
			return ""
		}
		return strings.ToUpper(s[:1]) + s[1:]
	},
	"private": func(s string) string {
		if s == "" {
			return "a private booking"
		}
		return s
	},
	"sentence": func(s string) string { return strings.TrimSuffix(s, ".") },
	"clash":    clash,
	"trouble":  trouble,
	"mrkdwn":   mrkdwn.Replace,
	"ways":     ways,
}

// ways is what stands above the list of a message.
func ways(k domain.NotifyKind) string {
	switch k {
	case domain.NotifyPreflightFailed:
		return "What was found"
	case domain.NotifyWeddingOver:
		return "What is left to do"
	default:
		return "Ways out"
	}
}

// clash says what is wrong with a resource.
func clash(k domain.ConflictKind) string {
	switch k {
	case domain.ConflictSameDay:
		return "has two weddings on one day"
	case domain.ConflictCapacity:
		return "is booked beyond its capacity"
	case domain.ConflictOffHours:
		return "is booked outside working hours"
	case domain.ConflictOverlap, domain.ConflictBuffer:
	}
	return "is booked twice"
}

// trouble says what a rule found wrong with a connection.
func trouble(k domain.AlertKind) string {
	switch k {
	case domain.AlertErrorRate:
		return "fails too often"
	case domain.AlertResponseTime:
		return "answers too slowly"
	case domain.AlertDegradation:
		return "answers more slowly than usual"
	case domain.AlertSilence:
		return "tells of no changes"
	case domain.AlertConnection:
	}
	return "does not work as it should"
}

// mrkdwn keeps text from being read as Slack's markup: its documentation asks for these three.
var mrkdwn = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

var (
	texts = template.Must(template.New("").Funcs(funcs).Option("missingkey=error").ParseFS(files, "templates/*.txt"))
	pages = htmltemplate.Must(htmltemplate.New("").Funcs(funcs).ParseFS(files, "templates/*.html"))
)

// worded is a view with its two sentences, which every form shows.
type worded struct {
	View
	Headline, Body string
	Items          []worded
}

func word(v View) (w worded, err error) {
	w.View = v
	if len(v.Items) == 0 {
		if w.Headline, err = execute("headline", v); err != nil {
			return w, err
		}
		w.Body, err = execute("body", v)
		return w, err
	}
	for _, item := range v.Items {
		one, err := word(item)
		if err != nil {
			return w, err
		}
		w.Items = append(w.Items, one)
	}
	return w, nil
}

// Render puts a view into words. A fault is one of the templates.
func Render(v View) (Content, error) {
	var out Content
	w, err := word(v)
	if err != nil {
		return out, err
	}
	if out.Subject, err = execute("subject", w); err != nil {
		return out, err
	}
	out.Subject = strings.Join(strings.Fields(out.Subject), " ")
	if out.Text, err = execute("text", w); err != nil {
		return out, err
	}
	out.Text += "\n"
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, "mail.html", w); err != nil {
		return out, domain.E(domain.KindInternal, "render a mail of kind %s", v.Kind)
	}
	out.HTML = page.String()
	body, err := execute("slack", w)
	if err != nil {
		return out, err
	}
	out.Slack, err = slackBody(mrkdwn.Replace(out.Subject), body, v.Reference)
	return out, err
}

func execute(name string, data any) (string, error) {
	var b strings.Builder
	if err := texts.ExecuteTemplate(&b, name, data); err != nil {
		// The fault of a template may quote what it was given.
		return "", domain.E(domain.KindInternal, "render the %s of a notification", name)
	}
	return strings.TrimSpace(b.String()), nil
}

const maxSlackText = 3000 // characters of a section, by Slack's documentation

// slackBody is a message of sections, with the text that notifications of the client show. The reference at its end tells a
// repeat from another message.
func slackBody(summary, body, reference string) (json.RawMessage, error) {
	type text struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type block struct {
		Type     string `json:"type"`
		Text     *text  `json:"text,omitempty"`
		Elements []text `json:"elements,omitempty"`
	}
	if r := []rune(body); len(r) > maxSlackText {
		body = string(r[:maxSlackText-1]) + "…"
	}
	raw, err := json.Marshal(struct {
		Text   string  `json:"text"`
		Blocks []block `json:"blocks"`
	}{summary, []block{{Type: "section", Text: &text{"mrkdwn", strings.TrimSpace(body)}}, {Type: "context", Elements: []text{{"mrkdwn", "reference " + reference}}}}})
	if err != nil {
		return nil, domain.E(domain.KindInternal, "render a message for Slack")
	}
	return raw, nil
}
