package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// DefaultMaxBody is the largest response body in bytes, decompressed, when Options.MaxBody is 0.
	DefaultMaxBody = 10 << 20
	// DefaultMaxConnsPerHost applies when Options.MaxConnsPerHost is 0.
	DefaultMaxConnsPerHost = 8
	// DefaultUserAgent is sent when neither options nor request name one.
	DefaultUserAgent = "WedSync"
	// MaxRedirects is the most hops DoFollow may be asked to take.
	MaxRedirects = 10

	// DefaultMaxConns applies when Options.MaxConns is 0.
	DefaultMaxConns = 2048

	keepAlive          = 30 * time.Second
	idleTimeout        = 60 * time.Second
	maxIdleConns       = 512
	maxResponseHeaders = 128 << 10
)

// Timeouts are the limits of one exchange. Zero fields take the defaults.
type Timeouts struct {
	Dial   time.Duration // resolving and connecting; 5 s
	TLS    time.Duration // handshake; 5 s
	Header time.Duration // from the request written to the first response header; 20 s
	Body   time.Duration // without a byte of the body; 10 s
	Total  time.Duration // everything up to the last byte of the body; 30 s
}

// Options configures a Client. The zero value is usable.
type Options struct {
	Allow    AddressPolicy
	Timeouts Timeouts
	// MaxBody is the largest response body in bytes after decompression; 0 means DefaultMaxBody.
	MaxBody int64
	// UserAgent is sent with requests that have none.
	UserAgent string
	// PerHost limits requests to each host; the zero value sets no limit.
	PerHost Rate
	// MaxConnsPerHost bounds connections to one host; more requests wait. 0 means DefaultMaxConnsPerHost.
	MaxConnsPerHost int
	// MaxConns bounds connections to all hosts together, idle ones included; when all are in use more requests wait. 0 means
	// DefaultMaxConns.
	MaxConns int
	// RootCAs replaces the system's certificate authorities, for tests and private deployments.
	RootCAs *x509.CertPool
	// Now reads the clock that dates in Retry-After are held against where the answer has no Date; nil means time.Now.
	Now func() time.Time
}

// Rate is a token bucket.
type Rate struct {
	PerSecond float64 // refill; 0 means no limit
	Burst     int     // size; 0 means 1
}

// Client sends requests. Make one with [New] and share it: it keeps connections per host, for many goroutines.
type Client struct {
	http    *http.Client
	options Options
	hosts   *hosts
	conns   *conns
	gate    Gate // nil = none
}

// Gate decides about each exchange of a client. It is called by many goroutines.
type Gate interface {
	// Enter is called before a request is sent, and may wait, add headers, or refuse. An error is what the caller of Do gets,
	// and nothing is sent; its kind and its time to wait are kept. Otherwise leave is called once with the outcome:
	// err is that of Do, except for an error of the caller's own reading function.
	Enter(req *http.Request) (leave func(res *Response, err error), err error)
}

// Response is an answer, read whole.
type Response struct {
	Status int
	Header http.Header
	// Body is the whole decompressed body; nil when it could not be read whole, which is an error unless the status
	// already is one.
	Body []byte
	// URL is what was asked in the end, after redirects.
	URL *url.URL
	// RequestID is the id under which the other side logged the request, for talking to its support; "" if it gave
	// none. At most 128 visible ASCII characters.
	RequestID string
}

// New checks the options and returns a client. Errors are of kind invalid and name the option.
func New(o Options) (*Client, error) {
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"Timeouts.Dial", &o.Timeouts.Dial, 5 * time.Second},
		{"Timeouts.TLS", &o.Timeouts.TLS, 5 * time.Second},
		{"Timeouts.Header", &o.Timeouts.Header, 20 * time.Second},
		{"Timeouts.Body", &o.Timeouts.Body, 10 * time.Second},
		{"Timeouts.Total", &o.Timeouts.Total, 30 * time.Second},
	} {
		if *d.value < 0 {
			return nil, domain.Invalid(d.name, "%s; want 0 or more", *d.value)
		}
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	switch {
	case o.Allow != PublicOnly && o.Allow != AllowPrivate:
		return nil, domain.Invalid("Allow", "unknown address policy %d", o.Allow)
	case o.MaxBody < 0:
		return nil, domain.Invalid("MaxBody", "%d bytes; want 0 or more", o.MaxBody)
	case o.MaxConnsPerHost < 0:
		return nil, domain.Invalid("MaxConnsPerHost", "%d; want 0 or more", o.MaxConnsPerHost)
	case o.MaxConns < 0:
		return nil, domain.Invalid("MaxConns", "%d; want 0 or more", o.MaxConns)
	case !(o.PerHost.PerSecond >= 0) || o.PerHost.Burst < 0:
		return nil, domain.Invalid("PerHost", "rate and burst must be 0 or more")
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxConnsPerHost == 0 {
		o.MaxConnsPerHost = DefaultMaxConnsPerHost
	}
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	open := newConns(o.MaxConns, o.Allow.dialer(o.Timeouts))
	transport := &http.Transport{
		Proxy:                  nil,
		DialContext:            open.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    o.Timeouts.TLS,
		ResponseHeaderTimeout:  o.Timeouts.Header,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeaders,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    o.MaxConnsPerHost,
		MaxConnsPerHost:        o.MaxConnsPerHost,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
	open.closeIdle = transport.CloseIdleConnections
	c := &Client{options: o, conns: open, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if o.PerHost.PerSecond > 0 {
		c.hosts = newHosts(rate.Limit(o.PerHost.PerSecond), max(o.PerHost.Burst, 1))
	}
	return c, nil
}

// Through returns a client that shares everything with c, connections too, and sends through a gate.
func (c *Client) Through(g Gate) *Client {
	gated := *c
	gated.gate = g
	return &gated
}

// Gated reports whether a client sends through a gate. What a provider does to spare its system is done there then.
func (c *Client) Gated() bool { return c.gate != nil }

// Connections tells about the connections of a client and of all that share them.
type Connections struct {
	Open  int    // idle ones included
	Limit int    // never more than this
	Made  uint64 // since the beginning
}

// Connections tells how many connections there are.
func (c *Client) Connections() Connections { return c.conns.stats() }

// Close closes idle connections. Requests under way finish.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends a request once and reads the answer. The request is not changed; its body is consumed. See the package
// comment for the errors. With a PerHost rate it first waits its turn, at most Timeouts.Total; a longer queue is
// refused at once as rate_limited with the time to wait.
func (c *Client) Do(req *http.Request) (*Response, error) { return c.do(req, 0, nil) }

// DoRead is [Client.Do] for an answer that may be long: the body of a success (2xx), at most limit bytes of it, is handed to
// read as it comes, and Response.Body is nil. An error of read is returned as it is, unless the body could not be read to
// where read came: then that is the error. Timeouts.Total bounds reading, too.
func (c *Client) DoRead(req *http.Request, limit int64, read func(io.Reader) error) (*Response, error) {
	return c.do(req, limit, read)
}

func (c *Client) do(req *http.Request, limit int64, read func(io.Reader) error) (*Response, error) {
	if err := CheckURL(req.URL, c.options.Allow); err != nil {
		closeBody(req)
		return nil, describe(req, err)
	}
	ctx, span := beginSpan(req)
	sent := req.Clone(ctx)
	if sent.Header == nil {
		sent.Header = http.Header{}
	}
	if _, named := sent.Header["User-Agent"]; !named {
		sent.Header.Set("User-Agent", c.options.UserAgent)
	}
	leave := func(*Response, error) {}
	if c.gate != nil {
		var err error
		if leave, err = c.gate.Enter(sent); err != nil {
			closeBody(req)
			span.End(err)
			return nil, describe(req, err)
		}
	}
	var own error // of read, which says nothing of the other side
	var take func(io.Reader)
	if read != nil {
		take = func(body io.Reader) { own = read(body) }
	}
	res, err := c.exchange(req, sent, limit, take)
	leave(res, err)
	endSpan(span, res, err)
	if err == nil {
		err = own
	}
	return res, err
}

// exchange sends once. take reads a long body of a success, nil = it is read whole.
func (c *Client) exchange(req, sent *http.Request, limit int64, take func(io.Reader)) (*Response, error) {
	if c.hosts != nil {
		if err := c.hosts.wait(req.Context(), req.URL.Host, c.options.Timeouts.Total); err != nil {
			closeBody(req)
			return nil, describe(req, err)
		}
	}
	whole, cancel := context.WithTimeoutCause(req.Context(), c.options.Timeouts.Total, phase{"the whole answer", c.options.Timeouts.Total})
	defer cancel()
	ctx, stop := context.WithCancelCause(whole)
	defer stop(nil)
	sent = sent.WithContext(ctx)
	res, err := c.http.Do(sent)
	if err != nil {
		return nil, describe(req, c.late(ctx, err))
	}
	defer res.Body.Close()
	out := &Response{Status: res.StatusCode, Header: res.Header, URL: req.URL, RequestID: requestID(res.Header)}
	paced := &pacedBody{from: res.Body, each: c.options.Timeouts.Body}
	paced.timer = time.AfterFunc(paced.each, func() { stop(phase{"the next byte of the body", paced.each}) })
	defer paced.timer.Stop()
	if take != nil && res.StatusCode/100 == 2 {
		body := &boundedBody{from: paced, left: limit, limit: limit}
		if take(body); body.fault != nil {
			return out, describe(req, withID(req, c.late(ctx, body.fault), out.RequestID))
		}
		return out, nil
	}
	body, readErr := c.readBody(res, paced)
	if readErr == nil {
		out.Body = body
	}
	if err := c.statusError(req, out); err != nil {
		return out, err
	}
	if readErr != nil {
		return out, describe(req, withID(req, c.late(ctx, readErr), out.RequestID))
	}
	return out, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was sent, so nothing can be lost
	}
}

func (c *Client) readBody(res *http.Response, from io.Reader) ([]byte, error) {
	tooLarge := domain.E(domain.KindTooLarge, "response body is larger than %d bytes", c.options.MaxBody)
	if res.ContentLength > c.options.MaxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(from, c.options.MaxBody+1))
	switch {
	case err != nil:
		return nil, &readError{err}
	case int64(len(body)) > c.options.MaxBody:
		return nil, tooLarge
	}
	return body, nil
}

// boundedBody is a body as it comes, up to a limit. It remembers what kept it from being read.
type boundedBody struct {
	from  io.Reader
	left  int64
	limit int64
	fault error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.fault != nil {
		return 0, b.fault
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		b.fault = domain.E(domain.KindTooLarge, "response body is larger than %d bytes", b.limit)
		return 0, b.fault
	}
	if err != nil && err != io.EOF {
		b.fault = &readError{err}
	}
	return n, err
}

// readError marks a fault after the headers: the answer began and was cut off.
type readError struct{ err error }

func (e *readError) Error() string { return "read body: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// DoFollow is [Client.Do], following up to max redirects (at most [MaxRedirects]) with method, headers and body kept,
// as CalDAV discovery needs; 303 is followed for GET and HEAD only. A target of the same scheme, host and port is
// followed; any other only if allow returns true for it, and then it receives the credentials too. A target that is
// not allowed gets nothing at all: the answer is the redirect's response with an error of kind permanent. So is one
// that leaves https or names a user.
//
// A request with a body must have GetBody, as http.NewRequest sets for the usual readers.
func (c *Client) DoFollow(req *http.Request, max int, allow func(*url.URL) bool) (*Response, error) {
	if max < 0 || max > MaxRedirects {
		closeBody(req)
		return nil, domain.Invalid("max", "%d redirects; want 0 to %d", max, MaxRedirects)
	}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		closeBody(req)
		return nil, domain.Invalid("body", "cannot be sent again after a redirect; set GetBody")
	}
	for hop := 0; ; hop++ {
		res, err := c.Do(req)
		if res == nil || !isRedirect(res.Status) {
			return res, err
		}
		next, why := redirectTarget(req, res, allow)
		if why == "" && hop == max {
			why = "more redirects than allowed"
		}
		if why != "" {
			return res, domain.E(domain.KindPermanent, "%w: %s", err, why)
		}
		again := req.Clone(req.Context())
		again.URL, again.Host = next, ""
		if req.GetBody != nil {
			if again.Body, err = req.GetBody(); err != nil {
				return res, domain.E(domain.KindInternal, "send body again after a redirect: %w", err)
			}
		}
		req = again
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectTarget returns where to go, or why not to.
func redirectTarget(req *http.Request, res *Response, allow func(*url.URL) bool) (*url.URL, string) {
	locations := res.Header["Location"]
	if len(locations) != 1 || locations[0] == "" {
		return nil, "no single Location header"
	}
	next, err := req.URL.Parse(locations[0])
	if err != nil {
		return nil, "malformed Location header"
	}
	next.Fragment, next.RawFragment = "", ""
	switch {
	case res.Status == http.StatusSeeOther && req.Method != http.MethodGet && req.Method != http.MethodHead:
		return nil, "303 asks for another method"
	case next.User != nil:
		return nil, "target names a user"
	case req.URL.Scheme == "https" && next.Scheme != "https":
		return nil, "target is not https"
	case sameOrigin(req.URL, next), allow != nil && allow(next):
		return next, ""
	}
	return nil, "target host is not allowed"
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// requestIDHeaders in order of preference, canonical.
var requestIDHeaders = []string{
	"X-Request-Id", "Request-Id", "X-Ms-Request-Id", "X-Amzn-Requestid", "X-Amz-Request-Id", "X-Apple-Request-Uuid",
	"X-Hubspot-Correlation-Id", "X-Correlation-Id", "X-Guploader-Uploadid", "X-Trace-Id", "Cf-Ray",
}

func requestID(h http.Header) string {
	for _, name := range requestIDHeaders {
		if id := h.Get(name); id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return id
		}
	}
	return ""
}

var errBusy = errors.New("the request rate set for this host is used up")
