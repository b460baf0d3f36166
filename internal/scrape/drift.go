package scrape

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxSnapshot is the largest snapshot of a page, in bytes; what is behind it is cut off.
const MaxSnapshot = 128 << 10

// Drift says that a page is not what the recipe knows. Its kind is drift.
type Drift struct {
	Path     string // of the recipe's member, such as recipe.list.rows
	Selector string
	Page     int // of the list, from 1; 0 = a page of the log-in
	Why      string
	Lines    []int // of rows that lack something, at most 20
	Hint     string
	snapshot []byte
}

// Error names the place in the recipe and no value of the page.
func (d *Drift) Error() string {
	where := "the page of the log-in"
	if d.Page > 0 {
		where = fmt.Sprintf("page %d of the list", d.Page)
	}
	return fmt.Sprintf("%s changed: %s (%s) %s", where, d.Path, d.Selector, d.Why)
}

// Unwrap gives the error its kind.
func (d *Drift) Unwrap() error { return &domain.Error{Kind: domain.KindDrift, Text: "drift"} }

// Snapshot returns what happened in words, and the page with every value masked, for whoever mends the recipe.
func (d *Drift) Snapshot() (report string, page []byte) {
	report = d.Error()
	if d.Hint != "" {
		report += "; " + d.Hint
	}
	if len(d.Lines) > 0 {
		report += fmt.Sprintf("; lines %v", d.Lines)
	}
	return report, d.snapshot
}

// drift makes the error for a selector that does not fit.
func (p *Program) drift(doc *html.Node, page int, path string, s *selector, why string) *Drift {
	return &Drift{Path: path, Selector: s.text, Page: page, Why: why, Hint: hint(doc, s), snapshot: Redact(doc, MaxSnapshot)}
}

// hint says how far a selector of several steps still fits.
func hint(doc *html.Node, s *selector) string {
	steps := strings.Fields(strings.NewReplacer(">", " > ", "+", " + ", "~", " ~ ").Replace(s.text))
	if s.match == nil || strings.ContainsAny(s.text, ",[(") || len(steps) < 2 {
		return ""
	}
	var out []string
	for n := 1; n <= len(steps); n++ {
		if strings.Contains(">+~", steps[n-1]) {
			continue
		}
		part, err := compileSelector("", strings.Join(steps[:n], " "), true)
		if err != nil {
			return ""
		}
		out = append(out, fmt.Sprintf("%s matches %d", part.text, len(part.all(doc))))
	}
	return strings.Join(out, ", ")
}

// Attributes that are kept in a snapshot: as they are, or masked. Others are kept by name alone.
var (
	keptAttrs   = []string{"class", "type", "name", "rel", "role", "method", "colspan", "rowspan", "scope", "lang"}
	maskedAttrs = []string{"id", "href", "action", "for", "src"}
)

// Redact renders the structure of a page: elements, classes, names and lengths, with letters of every text and value as x,
// digits as 0. Scripts, styles and comments are left out. The result has at most limit bytes.
func Redact(doc *html.Node, limit int) []byte {
	var b bytes.Buffer
	redact(&b, doc, limit)
	if b.Len() > limit {
		b.Truncate(limit)
		b.WriteString("\n<!-- cut off -->")
	}
	return bytes.ToValidUTF8(b.Bytes(), nil)
}

var voids = []string{"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

func redact(b *bytes.Buffer, n *html.Node, limit int) {
	// The parser nests no deeper than 512 elements, so recursion is bounded.
	if b.Len() > limit {
		return
	}
	switch n.Type {
	case html.TextNode:
		b.WriteString(html.EscapeString(mask(n.Data)))
		return
	case html.ElementNode:
		if n.Data == "script" || n.Data == "style" || n.Data == "noscript" || n.Data == "template" {
			return
		}
		b.WriteString("<" + wordOfMarkup(n.Data))
		for _, a := range n.Attr {
			switch {
			case a.Key == lineAttr:
				continue
			case slices.Contains(keptAttrs, a.Key):
				fmt.Fprintf(b, ` %s="%s"`, a.Key, html.EscapeString(cut(hideDigits(a.Val), 200)))
			case slices.Contains(maskedAttrs, a.Key):
				fmt.Fprintf(b, ` %s="%s"`, a.Key, html.EscapeString(mask(a.Val)))
			default:
				fmt.Fprintf(b, ` %s=""`, wordOfMarkup(a.Key))
			}
		}
		b.WriteString(">")
	case html.ErrorNode, html.DocumentNode, html.CommentNode, html.DoctypeNode, html.RawNode:
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		redact(b, c, limit)
	}
	if n.Type == html.ElementNode && !slices.Contains(voids, n.Data) {
		b.WriteString("</" + wordOfMarkup(n.Data) + ">")
	}
}

// wordOfMarkup leaves the names of elements and attributes as they are. In markup that is not well made a text becomes one: an
// address in angle brackets an element, a word outside of its quotes an attribute. What may be one of those is masked.
func wordOfMarkup(name string) string {
	if atom.Lookup([]byte(name)) != 0 {
		return name
	}
	own := strings.ContainsRune(name, '-') && len(name) <= 100
	if own && !strings.ContainsFunc(name, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') }) {
		return name // data-id, or an element of the page's own
	}
	return strings.Repeat("x", max(1, min(len(name), 20)))
}

// mask keeps the length and the form of a text and nothing of what it says.
func mask(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsDigit(r):
			return '0'
		case unicode.IsSpace(r), strings.ContainsRune("/-.:,?&=#", r):
			return r
		}
		return 'x'
	}, s)
	return cut(s, 200)
}

// hideDigits masks what may be a number of somebody's in a class or name.
func hideDigits(s string) string {
	digits := 0
	for _, r := range s {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits < 4 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return '0'
		}
		return r
	}, s)
}
