package custom

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// Bounds of a listing.
const (
	maxPages    = 10_000 // pages of one listing
	maxToken    = 2_000  // bytes of a page or incremental token
	maxPageSize = 1_000  // entries asked for at once
)

// listPart is a compiled List.
type listPart struct {
	req                *request
	pageSize           int
	items, next, total *program
	token              *program
	lastToken          bool
	pager              *pager     // nil = next is a token that the templates send
	mark               *watermark // nil = no watermark
	gone               []int
	mapper             *mapper
}

func compileList(s Settings, local *time.Location) (*listPart, error) {
	const part = "settings.list"
	l := s.List
	out := &listPart{pageSize: l.PageSize}
	if out.pageSize == 0 {
		out.pageSize = 100
	}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	out.req, err = compileRequest(l.Request, part, scopeList, http.MethodGet)
	note(err)
	out.mapper, err = compileMapping(s.Mapping, l.Mapping, part+".mapping", local)
	note(err)
	if l.PageSize < 0 || l.PageSize > maxPageSize {
		note(domain.Invalid(part+".page_size", "must be 1 to %d", maxPageSize))
	}
	if l.Items == "" {
		note(domain.Invalid(part+".items", "required: an expression that gives the entries of the answer"))
	}
	for _, f := range []struct {
		name string
		src  Expr
		to   **program
		want want
	}{{"items", l.Items, &out.items, wantList}, {"next", l.Next, &out.next, wantText}, {"total", l.Total, &out.total, wantTotal}} {
		if f.src != "" {
			*f.to, err = compile(string(f.src), part+"."+f.name, 0, scopeAnswer, f.want, nil)
			note(err)
		}
	}
	note(out.compileIncremental(l.Incremental, part+".incremental"))
	out.pager, err = compilePaging(l, out, part)
	note(err)
	out.gone, err = checkStatuses(part+".gone_status", l.GoneStatus, http.StatusGone)
	note(err)
	return out, errors.Join(faults...)
}

func (p *listPart) compileIncremental(inc *Incremental, part string) error {
	switch {
	case inc == nil:
		return nil
	case inc.Watermark != "" && inc.Token != "":
		return domain.Invalid(part+".watermark", "token and watermark exclude each other")
	case inc.Watermark != "":
		var err error
		p.mark, err = compileWatermark(inc, part)
		return err
	}
	var faults []error
	for _, f := range []struct {
		name string
		set  bool
	}{{"overlap_seconds", inc.OverlapSeconds != 0}, {"format", inc.Format != ""}, {"order", inc.Order != ""}} {
		if f.set {
			faults = append(faults, domain.Invalid(part+"."+f.name, "has a meaning with watermark only"))
		}
	}
	if inc.FullEveryHours != 0 {
		p.mark = &watermark{fullEvery: time.Duration(inc.FullEveryHours) * time.Hour}
		faults = append(faults, checkFullEvery(inc, part))
	}
	var err error
	if p.token, err = compile(string(inc.Token), part+".token", 0, scopeAnswer, wantText, nil); err != nil {
		faults = append(faults, err)
	}
	switch inc.From {
	case "", "first":
	case "last":
		p.lastToken = true
	default:
		faults = append(faults, domain.Invalid(part+".from", "must be first or last"))
	}
	return errors.Join(faults...)
}

// cursor is a position in a listing. It is opaque to everybody else.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	Since       string `json:"s,omitempty"` // incremental token that this listing began with; "" = a full listing
	Page        string `json:"p,omitempty"` // token of the next page; "" = the first
	Mark        string `json:"m,omitempty"` // incremental token for the next listing, as far as known
	Pages       int    `json:"n,omitempty"` // pages read
	Seen        int    `json:"c,omitempty"` // entries read, those read twice counted once where that was noticed

	Last   string `json:"l,omitempty"` // digest of the last entry of the page before
	Total  int64  `json:"t,omitempty"` // total of the first page, plus one
	Uneven bool   `json:"u,omitempty"` // something moved while we read
	Lap    bool   `json:"o,omitempty"` // the page is asked for with the last entry of the one before
	Again  int    `json:"a,omitempty"` // pages in a row that held nothing new
	Check  string `json:"k,omitempty"` // a token met before, to notice a circle
	Began  int64  `json:"b,omitempty"` // when this listing began, Unix milliseconds, the system's clock where it tells
	Full   int64  `json:"w,omitempty"` // when the last full listing began, Unix seconds, our clock
}

func (c cursor) encode() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readCursor refuses a cursor of other settings, since its token may mean something else under them.
func (c *connection) readCursor(s string) (cursor, error) {
	start := cursor{Version: 1, Fingerprint: c.fingerprint}
	if s == "" {
		return start, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return start, domain.E(domain.KindGoneToken, "the cursor is not one of ours")
	}
	var cur cursor
	if err := json.Unmarshal(b, &cur); err != nil || cur.Version != 1 || cur.Pages < 0 || cur.Seen < 0 || cur.Again < 0 {
		return start, domain.E(domain.KindGoneToken, "the cursor is not one of ours")
	}
	if cur.Fingerprint != c.fingerprint {
		return start, domain.E(domain.KindGoneToken, "the settings changed since the cursor was made")
	}
	return cur, nil
}

// lists is the ability to be listed.
type lists struct{ c *connection }

// Pull reads a page. A system without an incremental token is listed in full every time; such a listing counts as one
// that began at "".
func (l lists) Pull(ctx context.Context, s string) (provider.Page, error) {
	cur, err := l.c.readCursor(s)
	if err != nil {
		return provider.Page{}, err
	}
	part := l.c.list
	if cur.Pages >= maxPages {
		return provider.Page{}, domain.E(domain.KindPermanent, "list: more than %d pages", maxPages)
	}
	if err := part.due(&cur, l.c.now()); err != nil {
		return provider.Page{}, err
	}
	req, err := part.request(ctx, l.c, cur)
	if err != nil {
		return provider.Page{}, err
	}
	body, res, err := l.c.send(req)
	if err != nil {
		if domain.KindOf(err) == domain.KindGoneToken || slices.Contains(part.gone, httpx.StatusOf(err)) {
			kind := domain.KindGoneToken
			if cur.Page == "" && cur.Since == "" {
				kind = domain.KindPermanent // it was asked for no token
			}
			return provider.Page{}, domain.E(kind, "list: %w", err)
		}
		return provider.Page{}, notAnEntry("list", err)
	}
	if body == nil {
		return provider.Page{}, domain.E(domain.KindUnavailable, "list: the answer has no body")
	}
	w := newWork(ctx)
	w.left = listingCost
	w.vars = answerVarsOf(body, res.Header, l.c.now())
	if cur.Pages == 0 {
		cur.Began = serverTime(res.Header, l.c.now()).UnixMilli()
		if part.mark.steppedBack(cur, res.Header) {
			return provider.Page{}, domain.E(domain.KindGoneToken, "list: the system's clock was set back behind the watermark")
		}
	}
	page, next, err := part.read(w, &cur, answer{req: req, header: res.Header, base: l.c.base, hide: l.c.auth.hide})
	if err != nil {
		return provider.Page{}, at("settings.list", err)
	}
	err = l.finish(&page, cur, next, w)
	return page, err
}

// read takes everything out of an answer that it holds, and counts it in the cursor.
func (p *listPart) read(w *work, cur *cursor, from answer) (page provider.Page, next string, err error) {
	items, err := w.list(p.items)
	if err != nil {
		return page, "", err
	}
	r := reader{w: w}
	if p.pager == nil || p.pager.named() {
		if next = r.text(p.next); r.err != nil {
			return page, "", r.err
		}
	}
	if mark := r.text(p.token); r.err != nil {
		return page, "", r.err
	} else if mark != "" && (cur.Mark == "" || p.lastToken) {
		cur.Mark = mark
	}
	var marks []string // digests of the entries
	var passed bool    // an entry of a page is older than where we go back to
	for _, item := range items {
		w.vars.item = item
		if p.pager != nil {
			marks = append(marks, p.digest(w))
			if len(marks) == 1 && cur.Lap && marks[0] == cur.Last {
				continue // the page before named it
			}
		}
		if p.mark != nil && p.mark.of != nil {
			older, err := p.mark.note(w, cur)
			if err != nil {
				page.Problems = append(page.Problems, provider.Problem{ExternalID: p.idOf(w), Err: err})
				continue
			}
			passed = passed || older
		}
		c, dropped, err := p.mapper.change(w)
		switch {
		case err == nil && !dropped:
			page.Changes = append(page.Changes, c)
		case err == nil:
		case domain.KindOf(err) == domain.KindInvalid && !errors.Is(err, errTooMuchWork):
			page.Problems = append(page.Problems, provider.Problem{ExternalID: p.idOf(w), Err: err})
		default:
			return page, "", err
		}
	}
	cur.Pages++
	if p.pager == nil {
		cur.Seen += len(items)
	} else if next, err = p.pager.after(w, cur, marks, next, from, p); err != nil {
		return page, "", err
	}
	if p.walks(*cur) && passed {
		next = ""
	}
	if len(next) > maxToken || len(cur.Mark) > maxToken {
		return page, "", domain.Invalid("next", "a token may have at most %d bytes", maxToken)
	}
	return page, next, nil
}

// totalOf is how many entries the answer says there are; told is false where it does not say.
func (p *listPart) totalOf(w *work) (total int64, told bool, err error) {
	r := reader{w: w}
	v := r.value(p.total)
	if v == nil || r.err != nil {
		return 0, false, r.err
	}
	if text, ok := v.(types.String); ok { // a header has no numbers
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n < 0 {
			return 0, false, domain.Invalid("total", "must be a whole number")
		}
		return n, true, nil
	}
	total = r.version(p.total)
	return total, true, r.err
}

// idOf names a problem where that is possible.
func (p *listPart) idOf(w *work) string {
	r := reader{w: w}
	if id := r.id(p.mapper.externalID); r.err == nil {
		return id
	}
	return ""
}

// finish decides where the listing goes on and whether it is whole. cur counts this page already.
func (l lists) finish(page *provider.Page, cur cursor, next string, w *work) error {
	if next != "" {
		if next == cur.Page {
			return domain.E(domain.KindPermanent, "list: a page names itself as the next one")
		}
		if next == cur.Check {
			return domain.E(domain.KindPermanent, "list: the pages lead in a circle")
		}
		if cur.Pages&(cur.Pages-1) == 0 { // at 1, 2, 4, 8 …: whatever circle there is, one check falls into it
			cur.Check = next
		}
		cur.Page = next
		page.Next, page.More = cur.encode(), true
		return nil
	}
	fresh := cursor{Version: 1, Fingerprint: l.c.fingerprint, Full: cur.Full}
	short := cur.Uneven
	if l.c.list.total != nil && !l.c.list.walks(cur) {
		want, told, err := l.c.list.totalOf(w)
		if err != nil {
			return at("settings.list", err)
		}
		short = short || told && want != int64(cur.Seen)
		if short && cur.Pages == 1 {
			return domain.E(domain.KindUnavailable, "list: the answer names %s entries and holds %d", strconv.FormatInt(want, 10), cur.Seen)
		}
	}
	switch {
	case short:
		// Entries moved between pages while we read, or one was left out. What was read is good; the listing proves
		// nothing, and the next one starts where this one did.
		fresh.Since = cur.Since
	default:
		page.Complete = cur.Since == ""
		fresh.Since = cur.Mark
		if l.c.list.mark != nil && l.c.list.mark.of != nil {
			fresh.Since = l.c.list.mark.next(cur)
		}
		if l.c.list.token != nil && cur.Mark == "" {
			fresh.Since = cur.Since
		}
	}
	page.Next = fresh.encode()
	return nil
}

// notAnEntry keeps a 404 about a whole resource from being read as the absence of an entry.
func notAnEntry(doing string, err error) error {
	if domain.KindOf(err) == domain.KindNotFound {
		return domain.E(domain.KindPermanent, "%s: %w", doing, err)
	}
	return domain.E(domain.KindOf(err), "%s: %w", doing, err)
}

// stamp is an instant as expressions see it.
func stamp(t time.Time) types.Timestamp { return types.Timestamp{Time: t.UTC()} }
