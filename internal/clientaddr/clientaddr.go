package clientaddr

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// The headers in which proxies tell where a request came from.
const (
	XForwardedFor = "x-forwarded-for" // with X-Forwarded-Proto and X-Forwarded-Host
	Forwarded     = "forwarded"       // RFC 7239
)

// Bounds of what is read. A way of more proxies than maxHops ends at the last one that was read.
const (
	maxHeader = 4 << 10
	maxHops   = 16
	maxHost   = 261 // a name of 255 bytes and a port
	maxCert   = 16 << 10
)

// Options tell how the servers can be reached. The zero value trusts nobody.
type Options struct {
	// Trusted are the networks of the proxies, at most 256.
	Trusted []netip.Prefix
	// Header is the one that they set: XForwardedFor (the default) or Forwarded.
	Header string
	// PublicURL is how senders call the servers, such as https://sync.example.com; "" takes it from each request.
	PublicURL string
	// CertHeader is the header in which the proxies forward the certificate of a sender, and which they remove when a
	// sender sets it; "" = none. ParseCert reads its value.
	CertHeader string
	ParseCert  func(value string) (*x509.Certificate, error)
}

// Resolver reads requests. Make one with [New]; it may be used by many goroutines.
type Resolver struct {
	o      Options
	public string
}

// New checks o. Errors are of kind invalid and name the field.
func New(o Options) (*Resolver, error) {
	if len(o.Trusted) > 256 {
		return nil, domain.Invalid("trusted", "at most 256 networks, has %d", len(o.Trusted))
	}
	for i, p := range o.Trusted {
		if !p.IsValid() {
			return nil, domain.Invalid("trusted", "entry %d is no network", i+1)
		}
	}
	switch o.Header = strings.ToLower(o.Header); o.Header {
	case "":
		o.Header = XForwardedFor
	case XForwardedFor, Forwarded:
	default:
		return nil, domain.Invalid("header", "must be %s or %s, not %q", XForwardedFor, Forwarded, o.Header)
	}
	if o.PublicURL != "" {
		if u, err := url.Parse(o.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, domain.Invalid("public_url", "must be http:// or https:// with a host and no query")
		}
	}
	if (o.CertHeader == "") != (o.ParseCert == nil) {
		return nil, domain.Invalid("cert_header", "needs a reader of its value, and the reader a header")
	}
	o.CertHeader = http.CanonicalHeaderKey(o.CertHeader)
	return &Resolver{o: o, public: strings.TrimSuffix(o.PublicURL, "/")}, nil
}

// ParseTrusted reads networks such as 10.0.0.0/8 or 2001:db8::/32, and single addresses. Errors name the entry.
func ParseTrusted(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, text := range list {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return nil, domain.Invalid("trusted", "entry %d must be a network such as 10.0.0.0/8 or an address", i+1)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Sender is where a request came from.
type Sender struct {
	Addr netip.Addr // IPv4 in its short form; the zero Addr when even the connection has none
	// Scheme and Host are how the sender called, as far as it is known.
	Scheme, Host string
	Proxied      bool // a trusted proxy handed the request on
}

// Key names the sender for limits: an IPv4 address, or the /64 network of an IPv6 address, which is what one customer of
// a network has at least.
func (s Sender) Key() (key [16]byte) {
	a := s.Addr
	if a.Is4() {
		return a.As16()
	}
	if a.Is6() {
		key = a.As16()
		clear(key[8:])
	}
	return key
}

// Resolve finds the sender of a request.
func (r *Resolver) Resolve(req *http.Request) Sender {
	s := Sender{Scheme: "http", Host: req.Host}
	if req.TLS != nil {
		s.Scheme = "https"
	}
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return s
	}
	s.Addr = plain(peer.Addr())
	if s.Proxied = r.trusts(s.Addr); !s.Proxied {
		return s
	}
	if r.o.Header == Forwarded {
		r.forwarded(&s, req.Header["Forwarded"])
	} else {
		r.xForwarded(&s, req.Header)
	}
	return s
}

// URL is the address as the sender called it, with path and query as they came.
func (r *Resolver) URL(req *http.Request, s Sender) string {
	path := req.URL.RequestURI()
	if r.public != "" {
		return r.public + path
	}
	return s.Scheme + "://" + s.Host + path
}

// Certificate returns the certificate that a trusted proxy forwarded. It is nil without an error when there is none, or
// when nobody may say so.
func (r *Resolver) Certificate(req *http.Request, s Sender) (*x509.Certificate, error) {
	if r.o.ParseCert == nil || !s.Proxied {
		return nil, nil
	}
	values := req.Header[r.o.CertHeader]
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return nil, nil
	case len(values) > 1:
		return nil, domain.Invalid(r.o.CertHeader, "is there %d times", len(values))
	case len(values[0]) > maxCert:
		return nil, domain.Invalid(r.o.CertHeader, "has %d bytes; at most %d", len(values[0]), maxCert)
	}
	return r.o.ParseCert(values[0])
}

// plain is an address in the form in which it is compared.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (r *Resolver) trusts(a netip.Addr) bool {
	for _, p := range r.o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// xForwarded walks X-Forwarded-For. Of lists of schemes and hosts the entry counts that the outermost trusted proxy wrote.
func (r *Resolver) xForwarded(s *Sender, h http.Header) {
	hops := 1
	list := joined(h["X-Forwarded-For"])
	for rest := list; hops <= maxHops && rest != ""; hops++ {
		var last string
		last, rest = lastOf(rest)
		a, ok := nodeAddr(last)
		if !ok {
			break
		}
		s.Addr = a
		if !r.trusts(a) {
			break
		}
	}
	if p := strings.ToLower(written(h["X-Forwarded-Proto"], hops)); p == "http" || p == "https" {
		s.Scheme = p
	}
	if host := written(h["X-Forwarded-Host"], hops); validHost(host) {
		s.Host = host
	}
}

// written is the entry of a list that the proxy hops away wrote, or its first when it is shorter: then not every proxy
// adds to it.
func written(values []string, hops int) string {
	rest, last := joined(values), ""
	for range hops {
		if rest == "" {
			break
		}
		last, rest = lastOf(rest)
	}
	return last
}

// joined makes one list of the lines of a header, and nothing of one that is too long.
func joined(values []string) string {
	if len(values) == 1 && len(values[0]) <= maxHeader {
		return values[0]
	}
	n := 0
	for _, v := range values {
		if n += len(v) + 1; n > maxHeader {
			return ""
		}
	}
	return strings.Join(values, ",")
}

func lastOf(list string) (last, rest string) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return strings.Trim(list[i+1:], " \t"), list[:i]
	}
	return strings.Trim(list, " \t"), ""
}

// nodeAddr reads an address with or without a port.
func nodeAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		a, err := netip.ParseAddr(s[1 : len(s)-1])
		return plain(a), err == nil && a.Is6()
	}
	p, err := netip.ParseAddrPort(s)
	return plain(p.Addr()), err == nil
}

func validHost(h string) bool {
	if h == "" || len(h) > maxHost {
		return false
	}
	for _, c := range []byte(h) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~:[]", c) >= 0) {
			return false
		}
	}
	return true
}
