package caldav

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	pageSize  = 200 // resources of one page
	chunkSize = 200 // resources of one multiget; portions are smaller where they are too large together
)

// member is a resource as a listing names it.
type member struct {
	path string // as an ExternalID
	etag string
	gone bool
}

// Pull reads one page; see the package comment.
func (c *connection) Pull(ctx context.Context, from string) (provider.Page, error) {
	page, err := c.pull(ctx, from)
	if err != nil {
		return provider.Page{}, domain.E(domain.KindOf(err), "pull calendar: %w", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, from string) (provider.Page, error) {
	at, err := c.chosen()
	if err != nil {
		return provider.Page{}, err
	}
	var cur cursor
	if from == "" {
		syncs, err := c.syncs(ctx, at)
		if err != nil {
			return provider.Page{}, err
		}
		cur = c.startCursor(modeETag)
		if syncs {
			cur.Mode = modeSync
		}
	} else if cur, err = c.parseCursor(from); err != nil {
		return provider.Page{}, err
	}
	if c.polls && !cur.Full && cur.After == "" && !cur.Truncated {
		what := strings.Join([]string{"caldav poll", strings.ToLower(c.settings.Username), at.String()}, "\n")
		if err := c.once(ctx, what, pollEvery); err != nil {
			wait := domain.RetryAfter(err)
			return provider.Page{}, domain.WithRetryAfter(domain.E(domain.KindOf(err), "the calendar was polled less than a minute ago: %w", err), wait+jitter(wait))
		}
	}
	if cur.Mode == modeETag {
		return c.pullETags(ctx, at, cur)
	}
	return c.pullSync(ctx, at, cur)
}

// syncs reports whether the calendar offers sync-collection. The set of reports is asked for first: for a sync token, or a
// change tag, some servers go through the whole calendar.
func (c *connection) syncs(ctx context.Context, at *url.URL) (bool, error) {
	p, err := c.collectionKind(ctx, at)
	if err != nil || p.syncs() {
		return err == nil, err
	}
	p, err = c.collectionProps(ctx, at)
	return err == nil && p.syncs(), err
}

func (c *connection) pullSync(ctx context.Context, at *url.URL, cur cursor) (provider.Page, error) {
	turn := func(done *cursor) { done.Base, done.Next, done.Truncated = cur.Next, "", false }
	if cur.After != "" {
		if l := keptListings.get(c.keyOf(at, cur), c.now()); l != nil {
			return c.page(ctx, at, cur, l, turn)
		}
	}
	l, err := c.syncReport(ctx, at, cur.Base)
	if err != nil && cur.Base == "" && unsupported(err) {
		return c.pullETags(ctx, at, c.startCursor(modeETag))
	}
	if err != nil {
		return provider.Page{}, err
	}
	if l.truncated && l.next == cur.Base {
		return provider.Page{}, domain.E(domain.KindUnavailable, "the server cut its answer short and gave no token to go on from")
	}
	// The token of the first answer is kept for the whole batch, so that what changes between two pages is told again.
	// A cut answer is only the same batch if its token is the same; else the batch begins anew.
	if cur.After != "" && (l.truncated || cur.Truncated) && (l.next != cur.Next || l.truncated != cur.Truncated) {
		cur.After = ""
	}
	if cur.After == "" {
		cur.Next, cur.Truncated = l.next, l.truncated
	}
	return c.page(ctx, at, cur, l, turn)
}

// errUnsupported marks the refusal of a report that the server does not have.
var errUnsupported = errors.New("the server does not offer sync-collection")

func unsupported(err error) bool {
	switch httpx.StatusOf(err) {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return errors.Is(err, errUnsupported)
}

// page hands out the members of a batch after the cursor's position, and moves the cursor on. turn makes the cursor of
// the next batch.
func (c *connection) page(ctx context.Context, at *url.URL, cur cursor, l *listing, turn func(*cursor)) (provider.Page, error) {
	members := l.after(cur.After, pageSize+1)
	next := cur
	more := len(members) > pageSize
	if more {
		members = members[:pageSize]
		next.After = members[pageSize-1].path
	}
	page, err := c.fetch(ctx, at, members, cur.Full)
	if err != nil {
		return provider.Page{}, err
	}
	if more {
		keptListings.keep(c.keyOf(at, cur), l, c.now())
	} else {
		keptListings.forget(c.keyOf(at, cur))
		more = cur.Truncated
		next.After, next.Full = "", cur.Full && cur.Truncated
		page.Complete = cur.Full && !cur.Truncated
		turn(&next)
	}
	page.Next, page.More = next.String(), more
	return page, nil
}

// syncReport asks for the members that changed after a token. The answer is read as it comes: it names every entry.
func (c *connection) syncReport(ctx context.Context, at *url.URL, token string) (*listing, error) {
	var l *listing
	ask := func() (*httpx.Response, error) {
		l = &listing{}
		body := `<sync-collection xmlns="DAV:"><sync-token>` + escapeXML(token) + `</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>`
		next, res, err := c.askEach(ctx, call{method: "REPORT", url: at, body: body}, "0", func(r msResponse) error {
			p, err := r.path()
			if err != nil {
				return err
			}
			if strings.TrimSuffix(p, "/") == strings.TrimSuffix(at.Path, "/") {
				l.truncated = l.truncated || statusCode(r.Status) == http.StatusInsufficientStorage
				return nil
			}
			m, use, err := memberOf(at, p, r)
			if err == nil && use {
				l.add(m)
			}
			return err
		})
		l.next = strings.TrimSpace(next)
		return res, err
	}
	res, err := ask()
	if err != nil && token != "" {
		err = c.lostToken(ctx, at, res, err, ask)
	}
	if err != nil {
		if precondition(res, davNS, "supported-report") {
			err = domain.E(domain.KindPermanent, "%w", errUnsupported)
		}
		return nil, err
	}
	if l.next == "" {
		return nil, domain.E(domain.KindUnavailable, "the server answered sync-collection without a token, so the answer proves nothing")
	}
	l.sort()
	return l, nil
}

// lostToken decides whether a refused report means that the token is unknown. Servers say so by the precondition
// valid-sync-token under some 4xx; one says nothing but 500, and is believed when it does so twice while the calendar
// is there. When the second try succeeds there is no error.
func (c *connection) lostToken(ctx context.Context, at *url.URL, res *httpx.Response, err error, again func() (*httpx.Response, error)) error {
	if res == nil {
		return err
	}
	if res.Status/100 == 4 && precondition(res, davNS, "valid-sync-token") {
		return domain.E(domain.KindGoneToken, "the server no longer knows the sync token")
	}
	if res.Status != http.StatusInternalServerError {
		return err
	}
	res, err = again()
	if err == nil || res == nil || res.Status != http.StatusInternalServerError {
		return err
	}
	if _, probe := c.collectionKind(ctx, at); probe != nil {
		return err
	}
	return domain.E(domain.KindGoneToken, "the server fails on the sync token while the calendar is there")
}

// memberOf reads one response of a listing; use is false for what is no resource.
func memberOf(at *url.URL, p string, r msResponse) (m member, use bool, err error) {
	if strings.HasSuffix(p, "/") {
		return m, false, nil // a collection inside the calendar
	}
	if !isMember(at, p) {
		return m, false, domain.E(domain.KindUnavailable, "the server lists a resource that is not in the calendar")
	}
	m.path = pathID(p)
	code := statusCode(r.Status)
	if code == http.StatusNotFound || code == http.StatusGone {
		m.gone = true
		return m, true, nil
	}
	found, ok := r.found()
	if code != 0 && code/100 != 2 || !ok {
		return m, false, domain.E(domain.KindUnavailable, "the server lists a resource with status %d", code)
	}
	if found.ResourceType.has(davNS, "collection") {
		return m, false, nil
	}
	if found.ETag != nil {
		m.etag = etag(*found.ETag)
	}
	return m, true, nil
}

// fetch reads the listed resources and turns them into a page.
func (c *connection) fetch(ctx context.Context, at *url.URL, members []member, full bool) (provider.Page, error) {
	var page provider.Page
	var wanted []member
	for _, m := range members {
		switch {
		case len(m.path) > domain.MaxExternalID:
			page.Problems = append(page.Problems, provider.Problem{ExternalID: m.path[:domain.MaxExternalID],
				Err: domain.Invalid("external_id", "the path has %d bytes, at most %d", len(m.path), domain.MaxExternalID)})
		case m.gone:
			page.Changes = append(page.Changes, domain.Change{Op: domain.OpRemove, ExternalID: m.path})
		default:
			wanted = append(wanted, m)
		}
	}
	window := c.window()
	for chunk := range slices.Chunk(wanted, chunkSize) {
		objects, err := c.objects(ctx, at, chunk)
		if err != nil {
			return provider.Page{}, err
		}
		for _, m := range chunk {
			o := objects[m.path]
			switch {
			case o.gone:
				page.Changes = append(page.Changes, domain.Change{Op: domain.OpRemove, ExternalID: m.path})
				continue
			case o.err != nil:
				page.Problems = append(page.Problems, provider.Problem{ExternalID: m.path, Err: o.err})
				continue
			}
			r, err := c.read(m.path, o.etag, o.data)
			if err != nil {
				page.Problems = append(page.Problems, provider.Problem{ExternalID: m.path, Err: err})
				continue
			}
			if r == nil {
				continue // a task or a journal entry
			}
			changes, problems := c.changes(r, window, full)
			page.Changes = append(page.Changes, changes...)
			page.Problems = append(page.Problems, problems...)
		}
	}
	return page, nil
}

// object is a resource as multiget returns it.
type object struct {
	etag string
	data []byte
	gone bool
	err  error
}

// objects reads resources, in smaller portions where they are too large together. One that is too large alone is
// reported as such.
func (c *connection) objects(ctx context.Context, at *url.URL, members []member) (map[string]object, error) {
	found, err := c.multiget(ctx, at, members)
	if domain.KindOf(err) != domain.KindTooLarge {
		return found, err
	}
	if len(members) == 1 {
		return map[string]object{members[0].path: {err: err}}, nil
	}
	half := len(members) / 2
	if found, err = c.objects(ctx, at, members[:half]); err != nil {
		return nil, err
	}
	rest, err := c.objects(ctx, at, members[half:])
	if err != nil {
		return nil, err
	}
	maps.Copy(found, rest)
	return found, nil
}

// multiget reads resources by path. Every one of them must be answered: one that is left out is not gone.
func (c *connection) multiget(ctx context.Context, at *url.URL, members []member) (map[string]object, error) {
	var body bytes.Buffer
	body.WriteString(`<C:calendar-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop>`)
	for _, m := range members {
		body.WriteString("<href>" + escapeXML(m.path) + "</href>")
	}
	body.WriteString(`</C:calendar-multiget>`)
	ms, _, err := c.ask(ctx, call{method: "REPORT", url: at, body: body.String()}, "0")
	if err != nil {
		return nil, err
	}
	objects := map[string]object{}
	for _, r := range ms.Responses {
		p, err := r.path()
		if err != nil {
			return nil, err
		}
		found, ok := r.found()
		code := statusCode(r.Status)
		o := object{}
		switch {
		case code == http.StatusNotFound || code == http.StatusGone:
			o.gone = true
		case ok && found.CalendarData != nil:
			o.data = []byte(*found.CalendarData)
			if found.ETag != nil {
				o.etag = etag(*found.ETag)
			}
		case code/100 == 4:
			o.err = domain.E(domain.KindPermanent, "the server does not show the resource (status %d)", code)
		default:
			// A passing fault must not be skipped: the next cursor would never come back to it.
			return nil, domain.E(domain.KindUnavailable, "the server answered for a resource without its data (status %d)", code)
		}
		objects[pathID(p)] = o
	}
	answered := 0
	for i, m := range members {
		o, ok := objects[m.path]
		if !ok {
			continue
		}
		answered++
		if o.etag == "" && !o.gone && o.err == nil {
			o.etag = members[i].etag
			objects[m.path] = o
		}
	}
	if answered != len(members) {
		return nil, domain.E(domain.KindUnavailable, "multiget returned %d of %d resources", answered, len(members))
	}
	return objects, nil
}
