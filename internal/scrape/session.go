package scrape

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

const (
	maxRedirects = 5
	// robotsFor is how long a robots.txt is used; RFC 9309 says a day at the most.
	robotsFor = 12 * time.Hour
	// mostDelay bounds the Crawl-delay that is obeyed; a server that wants more is not read.
	mostDelay = 60 * time.Second
)

// Options are what a session needs.
type Options struct {
	HTTP    *httpx.Client
	Secrets map[string]string // user and password
	Zone    *time.Location    // of dates, where the recipe names none; nil = UTC
	Now     func() time.Time  // nil = time.Now
	// Sleep waits between requests; nil waits by the real clock. Jitter returns 0 to 1; nil = random.
	Sleep  func(ctx context.Context, d time.Duration) error
	Jitter func() float64
}

// Session reads by a program with one set of credentials. It keeps cookies and pages in memory. Its runs come one after the
// other; it is safe for concurrent use.
type Session struct {
	p *Program
	o Options

	turn     chan struct{} // what follows belongs to who holds it
	jar      *cookiejar.Jar
	in       bool // logged in, as far as we know
	robots   *rules
	robotsAt time.Time
	pages    map[string]*known
	logins   int
	requests int
}

// known is a page as it was read the last time.
type known struct {
	hash           [32]byte
	etag, modified string
	parsed         parsed
}

// Session makes a session. It asks nobody anything.
func (p *Program) Session(o Options) *Session {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	s := &Session{p: p, o: o, turn: make(chan struct{}, 1), pages: map[string]*known{}}
	s.forget()
	return s
}

// Window is the time whose rows are wanted; only paths with {from} and {until} know of it.
type Window struct{ From, Until time.Time }

// Result is a whole list.
type Result struct {
	Rows     []Row
	Faults   []Fault
	Unsure   bool // a row without identity was left out, so that absence proves nothing
	Empty    bool // the page says that there are no rows
	Pages    int
	Requests int
	Same     int // pages that were the same as the last time
}

// Run reads the list. Errors are told in the package comment.
func (s *Session) Run(ctx context.Context, w Window) (Result, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return Result{}, domain.E(domain.KindUnavailable, "wait for another run: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	s.logins, s.requests = 0, 0
	r, err := s.run(ctx, w)
	r.Requests = s.requests
	if err != nil {
		return Result{Requests: s.requests}, err
	}
	return r, nil
}

func (s *Session) run(ctx context.Context, w Window) (Result, error) {
	var out Result
	if err := s.ensureRobots(ctx); err != nil {
		return out, err
	}
	p, l := s.p, s.p.recipe.List
	seen, asked := map[string]bool{}, map[string]*known{}
	total := -1
	numbered := strings.Contains(l.Path, "{page}")
	next, err := s.address(w, 1)
	if err != nil {
		return out, err
	}
	for n := 1; ; n++ {
		if n > p.recipe.Limits.pages() {
			return out, domain.E(domain.KindTooLarge, "the list has more than %d pages", p.recipe.Limits.pages())
		}
		address := next.String()
		if asked[address] != nil {
			return out, domain.E(domain.KindDrift, "page %d of the list leads back to one that was read", n-1)
		}
		k, same, err := s.page(ctx, next, n, numbered && n > 1)
		if err != nil {
			return out, err
		}
		asked[address] = k
		out.Pages = n
		if same {
			out.Same++
		}
		fresh := 0
		for _, row := range k.parsed.rows {
			if seen[row.ID] {
				continue // pages shift while they are read
			}
			seen[row.ID] = true
			fresh++
			row.Page = n
			out.Rows = append(out.Rows, row)
		}
		for _, f := range k.parsed.faults {
			f.Page = n
			out.Faults = append(out.Faults, f)
		}
		out.Unsure = out.Unsure || k.parsed.unsure
		out.Empty = out.Empty || k.parsed.empty
		if k.parsed.total >= 0 {
			total = k.parsed.total
		}
		if numbered {
			// A server that answers every number behind the last with the last page ends the list, too.
			if len(k.parsed.rows)+len(k.parsed.faults) == 0 || n > 1 && fresh == 0 && len(k.parsed.faults) == 0 {
				break
			}
			if next, err = s.address(w, n+1); err != nil {
				return out, err
			}
			continue
		}
		if k.parsed.next == "" {
			break
		}
		if next, err = next.Parse(k.parsed.next); err != nil {
			return out, domain.E(domain.KindDrift, "page %d of the list leads nowhere", n)
		}
		next.Fragment = ""
	}
	if listed := len(seen) + countFaulty(out.Faults); total >= 0 && !out.Unsure && listed != total {
		return out, domain.E(domain.KindDrift, "the list says that it has %d entries and shows %d", total, listed)
	}
	s.pages = asked // what was not asked for is let go
	return out, nil
}

// countFaulty counts rows with faults, each once.
func countFaulty(faults []Fault) int {
	rows := map[[2]string]bool{}
	for _, f := range faults {
		rows[[2]string{f.ID, strconv.Itoa(f.Page) + ":" + strconv.Itoa(f.Line)}] = true
	}
	ids := map[string]bool{}
	n := 0
	for r := range rows {
		if r[0] == "" {
			n++
		} else if !ids[r[0]] {
			ids[r[0]] = true
			n++
		}
	}
	return n
}

// page asks for a page of the list, logging in where that is needed.
func (s *Session) page(ctx context.Context, at *url.URL, number int, later bool) (k *known, same bool, err error) {
	if s.p.recipe.Login != nil && !s.in {
		if err := s.logIn(ctx); err != nil {
			return nil, false, err
		}
	}
	for try := 0; ; try++ {
		last := s.pages[at.String()]
		a, err := s.fetch(ctx, http.MethodGet, at, nil, last)
		if err != nil && (s.p.recipe.Login == nil || a == nil || a.status != http.StatusUnauthorized) {
			return nil, false, err
		}
		if err == nil && a.status == http.StatusNotModified {
			return last, true, nil
		}
		out := err != nil
		var doc *html.Node
		hash := [32]byte{}
		if !out {
			hash = sha256.Sum256(a.body)
			if last != nil && last.hash == hash {
				return last, true, nil
			}
			if doc, err = parsePage(a.body, a.contentType); err != nil {
				return nil, false, err
			}
			out = s.loggedOut(doc, a.at)
		}
		if out {
			s.in = false
			if s.p.recipe.Login == nil || try > 0 {
				return nil, false, domain.E(domain.KindUnauthenticated, "page %d of the list asks for a log-in", number)
			}
			s.forget()
			if err := s.logIn(ctx); err != nil {
				return nil, false, err
			}
			continue
		}
		read, err := s.p.readPage(doc, number, s.o.Zone, later)
		if err != nil {
			return nil, false, err
		}
		read.doc = nil // memory
		return &known{hash: hash, etag: a.etag, modified: a.modified, parsed: read}, false, nil
	}
}

// forget ends the session as far as we know it.
func (s *Session) forget() {
	s.jar, _ = cookiejar.New(nil) // it has no errors
	s.in = false
}

func (s *Session) loggedOut(doc *html.Node, at *url.URL) bool {
	o := s.p.recipe.LoggedOut
	return s.p.out.first(doc) != nil || o.Path != "" && at.Path == strings.SplitN(o.Path, "?", 2)[0]
}

// mostLogins bounds the log-ins of one run: a portal that forgets every session would be asked again and again.
const mostLogins = 2

// logIn fills in the form and looks whether it let us in.
func (s *Session) logIn(ctx context.Context) error {
	if s.logins++; s.logins > mostLogins {
		return domain.E(domain.KindUnauthenticated, "the portal ends every session at once")
	}
	l := s.p.recipe.Login
	at, err := s.p.base.Parse(l.Path)
	if err != nil {
		return domain.E(domain.KindPermanent, "the address of the log-in cannot be used")
	}
	a, err := s.fetch(ctx, http.MethodGet, at, nil, nil)
	if err != nil {
		return err
	}
	doc, err := parsePage(a.body, a.contentType)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for name, template := range l.Fields {
		values[name] = fill(template, map[string]string{"secret.user": s.o.Secrets["user"], "secret.password": s.o.Secrets["password"]})
	}
	target, form, err := s.p.formOf(doc, a.at, values)
	if err != nil {
		return err
	}
	if a, err = s.fetch(ctx, http.MethodPost, target, form, nil); err != nil {
		return err
	}
	if doc, err = parsePage(a.body, a.contentType); err != nil {
		return err
	}
	if s.p.refused.first(doc) != nil || s.loggedOut(doc, a.at) {
		return domain.E(domain.KindUnauthenticated, "the portal does not accept the credentials")
	}
	s.in = true
	return nil
}

// answer is a page as it came.
type answer struct {
	at             *url.URL
	status         int
	body           []byte
	contentType    string
	etag, modified string
	location       string
}

// fetch asks for a page and follows redirects inside the origin. A 401 is returned beside its error.
func (s *Session) fetch(ctx context.Context, method string, at *url.URL, form url.Values, last *known) (*answer, error) {
	for hop := 0; ; hop++ {
		if !strings.EqualFold(at.Scheme, s.p.base.Scheme) || !strings.EqualFold(at.Host, s.p.base.Host) || at.User != nil {
			return nil, domain.E(domain.KindPermanent, "an address leads to another origin than %s", s.p.Base())
		}
		if s.robots != nil && !s.robots.allows(at.RequestURI()) {
			return nil, domain.E(domain.KindForbidden, "robots.txt of %s does not allow a page of the recipe", s.p.Base())
		}
		a, err := s.send(ctx, method, at, form, last)
		if err != nil {
			return a, err
		}
		if a.location == "" {
			return a, checkPage(a)
		}
		if hop == maxRedirects {
			return nil, domain.E(domain.KindPermanent, "more than %d redirects", maxRedirects)
		}
		if at, err = at.Parse(a.location); err != nil {
			return nil, domain.E(domain.KindPermanent, "a redirect leads nowhere")
		}
		at.Fragment = ""
		method, form, last = http.MethodGet, nil, nil
	}
}

// checkPage refuses answers that are no pages.
func checkPage(a *answer) error {
	if a.status == http.StatusNotModified {
		return nil
	}
	if len(strings.TrimSpace(string(a.body[:min(len(a.body), 512)]))) == 0 {
		return domain.E(domain.KindUnavailable, "the server answered with nothing instead of a page")
	}
	if a.contentType == "" {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(a.contentType); err == nil && kind != "text/html" && kind != "application/xhtml+xml" && kind != "text/plain" {
		return domain.E(domain.KindDrift, "the server answered with something that is no page")
	}
	return nil
}

// send makes one request in its turn.
func (s *Session) send(ctx context.Context, method string, at *url.URL, form url.Values, last *known) (*answer, error) {
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, domain.E(domain.KindPermanent, "an address cannot be used")
	}
	req.Header.Set("Accept", "text/html, application/xhtml+xml;q=0.9")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if last != nil && last.etag != "" {
		req.Header.Set("If-None-Match", last.etag)
	}
	if last != nil && last.modified != "" {
		req.Header.Set("If-Modified-Since", last.modified)
	}
	for _, c := range s.jar.Cookies(at) {
		req.AddCookie(c)
	}
	since, leave, err := enter(ctx, s.p.base.Host)
	if err != nil {
		return nil, err
	}
	defer func() { leave(s.o.Now()) }()
	if err := s.wait(ctx, since); err != nil {
		return nil, err
	}
	s.requests++
	a := &answer{at: at}
	res, err := s.o.HTTP.DoRead(req, int64(s.p.recipe.Limits.bytes()), func(r io.Reader) (err error) {
		a.body, err = io.ReadAll(r)
		return err
	})
	if res == nil {
		return nil, err
	}
	a.status, a.contentType = res.Status, res.Header.Get("Content-Type")
	a.etag, a.modified = cut(res.Header.Get("ETag"), 200), cut(res.Header.Get("Last-Modified"), 200)
	s.jar.SetCookies(at, (&http.Response{Header: res.Header}).Cookies())
	switch res.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		a.location = res.Header.Get("Location")
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if method == http.MethodGet { // a form with credentials is not sent twice
			a.location = res.Header.Get("Location")
		}
	case http.StatusUnauthorized:
		return a, err
	case http.StatusNotModified:
		if last == nil {
			return nil, domain.E(domain.KindUnavailable, "the server says that a page is the same that was never read")
		}
		return a, nil
	}
	if a.location != "" {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// wait keeps the pause since the last request to the host.
func (s *Session) wait(ctx context.Context, since time.Time) error {
	least := s.p.recipe.Limits.interval()
	if s.robots != nil {
		least = max(least, s.robots.delay)
	}
	left := pauseOf(least, s.o.Jitter())
	if since.IsZero() {
		return nil
	}
	if gone := s.o.Now().Sub(since); gone > 0 {
		left -= gone
	}
	if left <= 0 {
		return nil
	}
	if err := s.o.Sleep(ctx, left); err != nil {
		return domain.E(domain.KindUnavailable, "wait between two requests: %w", err)
	}
	return nil
}

// ensureRobots reads robots.txt when the last reading is too old.
func (s *Session) ensureRobots(ctx context.Context) error {
	now := s.o.Now()
	if s.robots != nil && now.Sub(s.robotsAt) < robotsFor && !now.Before(s.robotsAt) {
		return nil
	}
	s.robots = nil
	at := *s.p.base
	at.Path = "/robots.txt"
	a, err := s.send(ctx, http.MethodGet, &at, nil, nil)
	for hop := 0; err == nil && a.location != ""; hop++ {
		next, bad := a.at.Parse(a.location)
		if bad != nil || hop == maxRedirects || next.Scheme != s.p.base.Scheme || !strings.EqualFold(next.Host, s.p.base.Host) {
			return domain.E(domain.KindUnavailable, "robots.txt of %s leads elsewhere, and nothing is read without it", s.p.Base())
		}
		a, err = s.send(ctx, http.MethodGet, next, nil, nil)
	}
	var found rules
	switch status := httpx.StatusOf(err); {
	case err == nil:
		found = parseRobots(a.body)
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
		// There is none (RFC 9309, 2.3.1.3).
	default:
		return domain.E(kindOr(err, domain.KindUnavailable), "read robots.txt, without which nothing is read: %w", err)
	}
	if found.delay > mostDelay {
		return domain.E(domain.KindForbidden, "robots.txt of %s asks for a pause of more than %s between requests", s.p.Base(), mostDelay)
	}
	// A pause that is asked for may make the run too long.
	if run := found.delay * time.Duration(s.p.recipe.Limits.pages()+around); run > 2*longestRun {
		return domain.E(domain.KindForbidden, "robots.txt of %s asks for pauses that are too long for %d pages; allow fewer", s.p.Base(), s.p.recipe.Limits.pages())
	}
	s.robots, s.robotsAt = &found, now
	return nil
}

// kindOr is the kind of an error where a later try may help, and another one where the text of the other side decided.
func kindOr(err error, fallback domain.ErrorKind) domain.ErrorKind {
	if k := domain.KindOf(err); domain.Retryable(err) || errors.As(err, new(*domain.Error)) && k == domain.KindTooLarge {
		return k
	}
	return fallback
}

// Check logs in where that is needed and reads the first page of the list, no more.
func (s *Session) Check(ctx context.Context, w Window) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return domain.E(domain.KindUnavailable, "wait for another run: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	s.logins, s.requests = 0, 0
	if err := s.ensureRobots(ctx); err != nil {
		return err
	}
	at, err := s.address(w, 1)
	if err != nil {
		return err
	}
	_, _, err = s.page(ctx, at, 1, false)
	return err
}

// address is that of a page of the list, by its number from 1.
func (s *Session) address(w Window, n int) (*url.URL, error) {
	l, zone := s.p.recipe.List, s.o.Zone
	if s.p.zone != nil {
		zone = s.p.zone
	}
	at, err := s.p.base.Parse(fill(l.Path, map[string]string{"from": w.From.In(zone).Format(s.p.date), "until": w.Until.In(zone).Format(s.p.date),
		"page": strconv.Itoa(l.first() + n - 1)}))
	if err != nil {
		return nil, domain.E(domain.KindPermanent, "the address of page %d cannot be used", n)
	}
	return at, nil
}
