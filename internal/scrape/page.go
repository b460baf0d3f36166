package scrape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/cascadia"
	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxRows is the most rows of one page.
const MaxRows = 1000

// maxValue is the longest value of a field, in bytes; what is behind it is cut off.
const maxValue = 8000

// Row is an entry of the list.
type Row struct {
	ID     string            // of its identity, at most 200 bytes
	Fields map[string]string // what was found; no member where nothing was
	Page   int               // from 1
	Line   int               // in the source of the page, from 1
}

// Fault is a value of one row that cannot be used. The row is left out.
type Fault struct {
	ID       string // of the row, "" when it is not known
	Field    string
	Selector string
	Page     int
	Line     int
	Why      string // in words, without the value
}

func (f Fault) Error() string {
	return fmt.Sprintf("page %d, line %d: field %s %s", f.Page, f.Line, f.Field, f.Why)
}

// parsed is a page that was read.
type parsed struct {
	doc    *html.Node
	rows   []Row
	faults []Fault
	unsure bool   // a row has no identity
	next   string // address of the next page as it is written, "" = none
	total  int    // -1 = not told
	empty  bool   // the page says that there are no rows
}

// lineAttr carries the line of an element from the source to the tree.
const lineAttr = "data-wedsync-line"

// parsePage makes a tree of a page whose elements know their lines.
func parsePage(body []byte, contentType string) (*html.Node, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, domain.E(domain.KindUnavailable, "the page is empty")
	}
	r, err := charset.NewReader(bytes.NewReader(body), contentType)
	if err != nil {
		return nil, domain.E(domain.KindUnavailable, "the page is in an encoding that is not known")
	}
	var utf bytes.Buffer
	if _, err := utf.ReadFrom(r); err != nil {
		return nil, domain.E(domain.KindUnavailable, "the page cannot be decoded")
	}
	doc, err := html.Parse(bytes.NewReader(numberLines(utf.Bytes())))
	if err != nil {
		return nil, domain.E(domain.KindUnavailable, "the page is no HTML")
	}
	return doc, nil
}

// numberLines gives every start tag its line as an attribute: the tree keeps no places.
func numberLines(src []byte) []byte {
	out := make([]byte, 0, len(src)+len(src)/4)
	z := html.NewTokenizer(bytes.NewReader(src))
	line := 1
	for {
		kind := z.Next()
		raw := z.Raw()
		// Behind the name, as it is written: TagName puts three bytes in place of a NUL.
		if at := bytes.IndexAny(raw, " \t\n\r\f/>"); at > 0 && (kind == html.StartTagToken || kind == html.SelfClosingTagToken) {
			out = append(append(out, raw[:at]...), ` `+lineAttr+`="`...)
			out = append(append(strconv.AppendInt(out, int64(line), 10), '"'), raw[at:]...)
		} else {
			out = append(out, raw...)
		}
		line += bytes.Count(raw, []byte("\n"))
		if kind == html.ErrorToken {
			return out
		}
	}
}

func attr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Namespace == "" && a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func lineOf(n *html.Node) int {
	for ; n != nil; n = n.Parent {
		if v, ok := attr(n, lineAttr); ok {
			line, _ := strconv.Atoi(v)
			return line
		}
	}
	return 1
}

func (s *selector) first(n *html.Node) *html.Node {
	if s == nil {
		return nil
	}
	return cascadia.Query(n, s.match)
}

func (s *selector) all(n *html.Node) []*html.Node {
	if s == nil {
		return nil
	}
	return cascadia.QueryAll(n, s.match)
}

// textOf is the text of an element as people see it, more or less.
func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if b.Len() > 2*maxValue {
			break
		}
		switch {
		case d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "script" && d.Parent.Data != "style"):
			b.WriteString(d.Data)
		case d.Type == html.ElementNode && slices.Contains([]string{"br", "p", "div", "li", "td", "th", "tr"}, d.Data):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// value finds what a field says in an element. missing means that the selector matches nothing, or the attribute is not there.
func (f *field) value(in *html.Node, zone *time.Location) (value, why string, missing bool) {
	at := in
	if f.at != nil {
		if at = f.at.first(in); at == nil {
			return f.Default, "is missing", true
		}
	}
	raw := ""
	if f.Attr != "" {
		var ok bool
		if raw, ok = attr(at, f.Attr); !ok {
			return f.Default, "is missing", true
		}
	} else {
		raw = textOf(at)
	}
	if value, why = f.read(raw, zone); why != "" {
		return "", why, false
	}
	if value == "" {
		return f.Default, "is empty", false
	}
	return cut(value, maxValue), "", false
}

// cut shortens text between characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most]
}

// readPage reads rows out of a tree. The error is a Drift when the page is not what the recipe knows. later says that a page
// without rows is the end of a list by numbers.
func (p *Program) readPage(doc *html.Node, number int, zone *time.Location, later bool) (parsed, error) {
	out := parsed{doc: doc, total: -1, empty: p.none.first(doc) != nil}
	if p.zone != nil {
		zone = p.zone
	}
	if p.container != nil && p.container.first(doc) == nil {
		return out, p.drift(doc, number, "recipe.list.container", p.container, "matches nothing")
	}
	rows := p.rows.all(doc)
	if len(rows) > MaxRows {
		return out, domain.E(domain.KindTooLarge, "page %d has %d rows; at most %d", number, len(rows), MaxRows)
	}
	if len(rows) == 0 && !out.empty && !later {
		return out, p.drift(doc, number, "recipe.list.rows", p.rows, "matches nothing, and the page does not say that there are no rows")
	}
	lacking, named := map[string]int{}, map[string]Row{}
	for _, n := range rows {
		row, faults := p.readRow(n, number, zone)
		for _, f := range faults {
			if p.fields[f.Field].Required {
				lacking[f.Field]++
			}
		}
		if first, twice := named[row.ID]; twice && len(faults) == 0 && !maps.Equal(first.Fields, row.Fields) {
			// Of rows that the identity does not tell apart only one would be kept.
			faults = append(faults, Fault{ID: row.ID, Field: p.recipe.List.Identity[0], Page: number, Line: row.Line, Why: "names another row of this page too"})
		}
		if out.faults = append(out.faults, faults...); len(faults) == 0 {
			named[row.ID] = row
			out.rows = append(out.rows, row)
		} else if row.ID == "" {
			out.unsure = true
		}
	}
	for _, name := range p.names {
		// A few bad rows are faults of theirs; half of them are a page that changed.
		if n := lacking[name]; n > 0 && 2*n >= len(rows) && (n > 1 || len(rows) == 1) {
			f := p.fields[name]
			d := p.drift(doc, number, f.path, orRow(f.at), fmt.Sprintf("is missing or unreadable in %d of %d rows", n, len(rows)))
			for _, fault := range out.faults {
				if fault.Field == name && len(d.Lines) < 20 {
					d.Lines = append(d.Lines, fault.Line)
				}
			}
			return out, d
		}
	}
	if p.total != nil {
		value, why, _ := p.total.value(doc, zone)
		if why != "" && !out.empty && !(later && len(rows) == 0) {
			return out, p.drift(doc, number, p.total.path, orRow(p.total.at), why)
		}
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			out.total = n
		}
	}
	if link := p.next.first(doc); link != nil {
		href, ok := attr(link, "href")
		if !ok || href == "" {
			return out, p.drift(doc, number, "recipe.list.next", p.next, "matches an element without an address")
		}
		out.next = href
	}
	return out, nil
}

func orRow(s *selector) *selector {
	if s == nil {
		return &selector{text: "(the row itself)"}
	}
	return s
}

// readRow reads the fields of one row. The row has an id as soon as its identity could be read.
func (p *Program) readRow(n *html.Node, number int, zone *time.Location) (Row, []Fault) {
	row := Row{Fields: map[string]string{}, Page: number, Line: lineOf(n)}
	var faults []Fault
	for _, name := range p.names {
		f := p.fields[name]
		value, why, missing := f.value(n, zone)
		switch {
		case why != "" && (f.Required || !missing && why != "is empty"):
			at := ""
			if f.at != nil {
				at = f.at.text
			}
			faults = append(faults, Fault{Field: name, Selector: at, Page: number, Line: row.Line, Why: why})
		case value != "":
			row.Fields[name] = value
		}
	}
	var id []string
	for _, name := range p.recipe.List.Identity {
		if row.Fields[name] == "" {
			id = nil
			break
		}
		id = append(id, row.Fields[name])
	}
	row.ID = identity(id)
	for i := range faults {
		faults[i].ID = row.ID
	}
	return row, faults
}

// identity makes an id of the values that name a row: the value itself where it is one plain word, else a digest.
func identity(values []string) string {
	if len(values) == 0 {
		return ""
	}
	if v := values[0]; len(values) == 1 && len(v) <= 200 && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' || r == '@' }) {
		return v
	}
	sum := sha256.Sum256([]byte(strings.Join(values, "\n")))
	return "row-" + hex.EncodeToString(sum[:16])
}

// formOf finds the form of the log-in in a page and returns where it goes and its hidden inputs, with the given ones filled
// in.
func (p *Program) formOf(doc *html.Node, at *url.URL, values map[string]string) (*url.URL, url.Values, error) {
	form := p.form.first(doc)
	if form == nil {
		return nil, nil, p.drift(doc, 0, "recipe.login.form", p.form, "matches nothing")
	}
	if method, _ := attr(form, "method"); !strings.EqualFold(method, "post") {
		return nil, nil, domain.E(domain.KindPermanent, "the form of the log-in does not post; credentials are never put into an address")
	}
	out, names := url.Values{}, map[string]bool{}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" {
			continue
		}
		name, _ := attr(n, "name")
		names[name] = true
		if kind, _ := attr(n, "type"); strings.EqualFold(kind, "hidden") && name != "" && len(out) < 50 {
			value, _ := attr(n, "value")
			out.Add(name, value)
		}
	}
	for name, value := range values {
		if !names[name] {
			return nil, nil, p.drift(doc, 0, "recipe.login.fields."+name, p.form, "has no input of the name")
		}
		out.Set(name, value)
	}
	action, _ := attr(form, "action")
	target, err := at.Parse(strings.TrimSpace(action))
	if err != nil {
		return nil, nil, domain.E(domain.KindPermanent, "the form of the log-in leads nowhere")
	}
	return target, out, nil
}
