package custom

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/wedsync/wedsync/internal/domain"
)

// The kinds of paging.
const (
	pagingPage   = "page"
	pagingOffset = "offset"
	pagingCursor = "cursor"
	pagingNext   = "next_link"
	pagingHeader = "link_header"
	pagingHAL    = "hal"
)

var pagingKinds = []string{pagingPage, pagingOffset, pagingCursor, pagingNext, pagingHeader, pagingHAL}

// maxAgain is how many pages in a row may hold nothing new: a system that ignores its parameter answers so for ever.
const maxAgain = 3

// pager is a compiled Paging.
type pager struct {
	kind             string
	param, sizeParam string // "" = not sent
	first            int
	overlap          bool
	pages, more      *program
}

func compilePaging(l *List, p *listPart, part string) (*pager, error) {
	g := l.Paging
	if g == nil {
		return nil, nil
	}
	part += ".paging"
	out := &pager{kind: g.Kind, param: g.Param, sizeParam: g.SizeParam, first: 1, overlap: g.Kind == pagingOffset && !g.NoOverlap}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	only := func(name string, set bool, kinds ...string) {
		if set && !slices.Contains(kinds, g.Kind) {
			note(domain.Invalid(part+"."+name, "has no meaning with kind %s", g.Kind))
		}
	}
	if !slices.Contains(pagingKinds, g.Kind) {
		return nil, domain.Invalid(part+".kind", "must be one of %s", strings.Join(pagingKinds, ", "))
	}
	only("param", g.Param != "", pagingPage, pagingOffset, pagingCursor)
	only("first", g.First != nil, pagingPage)
	only("pages", g.Pages != "", pagingPage)
	only("no_overlap", g.NoOverlap, pagingOffset)
	only("more", g.More != "", pagingPage, pagingOffset, pagingCursor)
	if g.First != nil {
		if out.first = *g.First; out.first < 0 || out.first > 1 {
			note(domain.Invalid(part+".first", "must be 0 or 1"))
		}
	}
	for _, f := range []struct{ name, value string }{{"param", g.Param}, {"size_param", g.SizeParam}} {
		if len(f.value) > 60 || strings.ContainsFunc(f.value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			note(domain.Invalid(part+"."+f.name, "must have at most 60 bytes and no spaces"))
		}
	}
	if out.param == "" && (out.numbered() || out.kind == pagingCursor) && !usesVariable(p.req, "page") {
		out.param = out.kind
	}
	if out.numbered() && l.PageSize == 1 && out.overlap {
		note(domain.Invalid("settings.list.page_size", "must be at least 2 with paging by offset"))
	}
	switch {
	case out.named() && out.kind != pagingHAL && l.Next == "":
		note(domain.Invalid("settings.list.next", "required with paging %s", g.Kind))
	case !out.named() && l.Next != "":
		note(domain.Invalid("settings.list.next", "has no meaning with paging %s", g.Kind))
	}
	for _, f := range []struct {
		name string
		src  Expr
		to   **program
		want want
	}{{"pages", g.Pages, &out.pages, wantVersion}, {"more", g.More, &out.more, wantBool}} {
		if f.src != "" {
			var err error
			*f.to, err = compile(string(f.src), part+"."+f.name, 0, scopeAnswer, f.want, nil)
			note(err)
		}
	}
	if out.kind == pagingHAL && l.Next == "" {
		var err error
		p.next, err = compile("body.?_links.?next.?href", "settings.list.next", 0, scopeAnswer, wantText, nil)
		note(err)
	}
	return out, errors.Join(faults...)
}

// numbered reports whether we count where the next page is.
func (g *pager) numbered() bool { return g.kind == pagingPage || g.kind == pagingOffset }

// named reports whether an expression names the next page.
func (g *pager) named() bool {
	return g.kind == pagingCursor || g.kind == pagingNext || g.kind == pagingHAL
}

// linked reports whether the next page is an address.
func (g *pager) linked() bool {
	return g.kind == pagingNext || g.kind == pagingHAL || g.kind == pagingHeader
}

// usesVariable reports whether a template of a request reads a variable.
func usesVariable(r *request, name string) bool {
	if r == nil {
		return false
	}
	in := func(t *template) bool {
		return t != nil && slices.ContainsFunc(t.parts, func(p part) bool {
			found := false
			if p.prg != nil && p.prg.ast != nil {
				ast.PostOrderVisit(p.prg.ast.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
					found = found || e.Kind() == ast.IdentKind && e.AsIdent() == name
				}))
			}
			return found
		})
	}
	var inside func(node any) bool
	inside = func(node any) bool {
		switch n := node.(type) {
		case *template:
			return in(n)
		case map[string]any:
			for _, child := range n {
				if inside(child) {
					return true
				}
			}
		case []any:
			return slices.ContainsFunc(n, inside)
		}
		return false
	}
	for _, group := range []map[string]*template{r.query, r.headers} {
		for _, t := range group {
			if in(t) {
				return true
			}
		}
	}
	return in(r.path) || r.body != nil && inside(r.body.root)
}

// request makes the request for the page at which a cursor stands.
func (p *listPart) request(ctx context.Context, c *connection, cur cursor) (*http.Request, error) {
	page, since := cur.Page, cur.Since
	if p.mark != nil && p.mark.of != nil {
		since = p.mark.since(cur)
	}
	if g := p.pager; g != nil && g.numbered() && page == "" {
		page = "0"
		if g.kind == pagingPage {
			page = strconv.Itoa(g.first)
		}
	}
	w := newWork(ctx)
	w.vars.named = map[string]any{"page": page, "since": since, "page_size": int64(p.pageSize)}
	req, err := p.req.build(ctx, c.base, w)
	if err != nil || p.pager == nil {
		return req, err
	}
	if p.pager.linked() && cur.Page != "" {
		link, err := url.ParseRequestURI(cur.Page)
		if err != nil {
			return nil, domain.E(domain.KindGoneToken, "the cursor is not one of ours")
		}
		req.URL.Path, req.URL.RawPath, req.URL.RawQuery = link.Path, link.RawPath, link.RawQuery
		return req, nil
	}
	q := req.URL.Query()
	if p.pager.param != "" && page != "" && !q.Has(p.pager.param) {
		q.Set(p.pager.param, page)
	}
	if p.pager.sizeParam != "" && !q.Has(p.pager.sizeParam) {
		q.Set(p.pager.sizeParam, strconv.Itoa(p.pageSize))
	}
	req.URL.RawQuery = q.Encode()
	return req, nil
}

// answer is where a page came from.
type answer struct {
	req    *http.Request
	header http.Header
	base   *url.URL
	hide   string // query parameter that holds a credential
}

// digest tells one entry from another: by its id, or by all that it says where it has none.
func (p *listPart) digest(w *work) string {
	text := "i" + p.idOf(w)
	if text == "i" {
		b, err := json.Marshal(w.vars.item)
		if err != nil {
			return ""
		}
		text = "e" + string(b)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

// after judges a page beside the one before it, and tells where the next one is. A page that holds entries of the one
// before, or a total that changed, means that the list moved while we read: the listing then proves nothing.
func (g *pager) after(w *work, cur *cursor, marks []string, next string, from answer, p *listPart) (string, error) {
	again := slices.Index(marks, cur.Last) + 1 // entries that the page before ended with
	if cur.Last == "" {
		again = 0
	}
	moved := again > 0
	lapped := cur.Lap && cur.Last != ""
	if lapped {
		moved = again != 1
	}
	fresh := len(marks) - again
	cur.Seen += fresh
	if len(marks) > 0 {
		cur.Last = marks[len(marks)-1]
	}
	total := int64(-1)
	if p.total != nil {
		n, told, err := p.totalOf(w)
		if err != nil {
			return "", err
		}
		if total = n; !told {
			total = -1
		} else if cur.Total == 0 {
			cur.Total = total + 1
		}
	}
	walks := p.walks(*cur)
	switch {
	case walks: // what changes meanwhile comes to the front, and is met again the next time
		cur.Uneven = cur.Uneven || total >= 0 && total+1 < cur.Total || lapped && again == 0
	default:
		cur.Uneven = cur.Uneven || moved || total >= 0 && total+1 != cur.Total
	}
	if fresh == 0 && len(marks) > 0 && !(lapped && len(marks) == 1) {
		if cur.Again++; cur.Again >= maxAgain {
			return "", domain.E(domain.KindPermanent, "%d pages in a row repeat the one before: the system may not know the parameter of its pages", cur.Again)
		}
	} else {
		cur.Again = 0
	}
	if g.more != nil {
		r := reader{w: w}
		if more := r.bool(g.more); r.err != nil || !more {
			return "", r.err
		}
	}
	switch g.kind {
	case pagingPage, pagingOffset:
		return g.count(w, cur, len(marks), lapped && fresh == 0, total)
	case pagingCursor:
		return next, nil
	case pagingHeader:
		next = nextLink(from.header.Values("Link"))
	}
	if next == "" {
		return "", nil
	}
	return from.follow(next)
}

// count finds the number of the next page, or "" where the listing ends: by what the system says, else by a page that
// holds nothing. A page that is merely shorter than was asked for proves nothing: systems have bounds of their own.
func (g *pager) count(w *work, cur *cursor, entries int, ended bool, total int64) (string, error) {
	at := g.first
	if g.kind == pagingOffset {
		at = 0
	}
	if cur.Page != "" {
		var err error
		if at, err = strconv.Atoi(cur.Page); err != nil || at < 0 {
			return "", domain.E(domain.KindGoneToken, "the cursor is not one of ours")
		}
	}
	switch {
	case g.more != nil: // it said that there is more
	case g.pages != nil:
		r := reader{w: w}
		pages := r.version(g.pages)
		if r.err != nil || int64(at-g.first+1) >= pages {
			return "", r.err
		}
	case total >= 0 && int64(cur.Seen) >= total, entries == 0, ended:
		return "", nil
	}
	if g.kind == pagingPage {
		return strconv.Itoa(at + 1), nil
	}
	// A system that gives one entry a page has no room for another.
	at += entries
	if cur.Lap = g.overlap && entries > 1; cur.Lap {
		at--
	}
	return strconv.Itoa(at), nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" || u.Scheme != "https" {
		return p
	}
	return "443"
}

// follow makes a link into what a cursor keeps: path and query. Our credentials go with the request, so the link must
// stay on the host that the settings name.
func (a answer) follow(link string) (string, error) {
	u, err := a.req.URL.Parse(link)
	switch {
	case err != nil || strings.ContainsAny(link, "{}"):
		return "", domain.E(domain.KindPermanent, "list: the link to the next page is no address")
	case u.Scheme != "https" && u.Scheme != "http" || u.User != nil:
		return "", domain.E(domain.KindPermanent, "list: the link to the next page is no plain https address")
	case !strings.EqualFold(u.Hostname(), a.base.Hostname()) || portOf(u) != portOf(a.base) && u.Port() != "":
		return "", domain.E(domain.KindPermanent, "list: the link to the next page leads to another host than base_url")
	}
	if a.hide != "" {
		q := u.Query()
		q.Del(a.hide)
		u.RawQuery = q.Encode()
	}
	u.Fragment, u.RawFragment = "", ""
	return u.RequestURI(), nil
}
