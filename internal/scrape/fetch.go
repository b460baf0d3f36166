package scrape

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

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

// wait keeps the pause since the last request to the host: since its end in this process, since its beginning in others.
func (s *Session) wait(ctx context.Context, since time.Time) error {
	least := s.p.recipe.Limits.interval()
	if s.robots != nil {
		least = max(least, s.robots.delay)
	}
	left := pauseOf(least, s.o.Jitter())
	if since.IsZero() {
		left = 0
	} else if gone := s.o.Now().Sub(since); gone > 0 {
		left -= gone
	}
	for {
		if left > 0 {
			if err := s.o.Sleep(ctx, left); err != nil {
				return domain.E(domain.KindUnavailable, "wait between two requests: %w", err)
			}
		}
		if s.o.Once == nil {
			return nil
		}
		err := s.o.Once(ctx, "scrape\n"+strings.ToLower(s.p.base.Host), least)
		if err == nil || domain.KindOf(err) != domain.KindRateLimited {
			return err
		}
		left = max(domain.RetryAfter(err), leastNap)
	}
}

// leastNap is the shortest wait for a turn that another process has.
const leastNap = 50 * time.Millisecond

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
