package scrape

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
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
	// Once keeps the pause over all processes, as provider.Connection.Once does; nil = this process is alone.
	Once func(ctx context.Context, what string, every time.Duration) error
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
	Unsure   bool // a row without identity was left out, or the end of the list is not proved: absence proves nothing
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
			if len(k.parsed.rows)+len(k.parsed.faults) == 0 {
				// Without one of these it may as well be a page that only says that the server is busy.
				out.Unsure = out.Unsure || n > 1 && p.container == nil && !k.parsed.empty && total < 0
				break
			}
			if n > 1 && fresh == 0 && len(k.parsed.faults) == 0 {
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
	// A format may hold blanks, which a query must not; what else it may hold is good in a path and in a query.
	date := func(t time.Time) string { return strings.ReplaceAll(t.In(zone).Format(s.p.date), " ", "%20") }
	at, err := s.p.base.Parse(fill(l.Path, map[string]string{"from": date(w.From), "until": date(w.Until),
		"page": strconv.Itoa(l.first() + n - 1)}))
	if err != nil {
		return nil, domain.E(domain.KindPermanent, "the address of page %d cannot be used", n)
	}
	return at, nil
}
