package clientaddr

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func resolver(t testing.TB, o Options) *Resolver {
	t.Helper()
	if o.Trusted == nil {
		var err error
		if o.Trusted, err = ParseTrusted([]string{"10.0.0.0/8", "2001:db8:aaaa::/48", " 192.0.2.1 "}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func from(peer string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/webhooks/x?a=1", nil)
	r.Host, r.RemoteAddr = "inner:8080", peer
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	return r
}

func TestTheWayIsBelievedAsFarAsTrustedProxiesWroteIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header    string
		req       *http.Request
		addr, url string
	}{
		"no proxy":                     {req: from("198.51.100.7:1"), addr: "198.51.100.7", url: "http://inner:8080"},
		"stranger invents a way":       {req: from("198.51.100.7:1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https"), addr: "198.51.100.7", url: "http://inner:8080"},
		"one proxy":                    {req: from("10.0.0.1:1", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: sync.example.com"), addr: "198.51.100.7", url: "https://sync.example.com"},
		"sender wrote the left part":   {req: from("10.0.0.1:1", "X-Forwarded-For: 10.9.9.9, 1.2.3.4, 198.51.100.7"), addr: "198.51.100.7", url: "http://inner:8080"},
		"two proxies":                  {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4, 198.51.100.7, 10.0.0.2", "X-Forwarded-Proto: gopher, https, http"), addr: "198.51.100.7", url: "https://inner:8080"},
		"several lines":                {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 198.51.100.7,10.0.0.2"), addr: "198.51.100.7", url: "http://inner:8080"},
		"all trusted":                  {req: from("10.0.0.1:1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2"), addr: "10.0.0.3", url: "http://inner:8080"},
		"with ports":                   {req: from("10.0.0.1:1", "X-Forwarded-For: 198.51.100.7:443, [2001:db8:aaaa::1]:99"), addr: "198.51.100.7", url: "http://inner:8080"},
		"unknown ends the way":         {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4, unknown"), addr: "10.0.0.1", url: "http://inner:8080"},
		"empty entry ends the way":     {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4,"), addr: "10.0.0.1", url: "http://inner:8080"},
		"mapped address is IPv4":       {req: from("[::ffff:10.0.0.1]:1", "X-Forwarded-For: ::ffff:198.51.100.7"), addr: "198.51.100.7", url: "http://inner:8080"},
		"single trusted address":       {req: from("192.0.2.1:1", "X-Forwarded-For: 2001:db8::5"), addr: "2001:db8::5", url: "http://inner:8080"},
		"too long a header":            {req: from("10.0.0.1:1", "X-Forwarded-For: "+strings.Repeat("1.2.3.4,", 1000)+"5.6.7.8"), addr: "10.0.0.1", url: "http://inner:8080"},
		"too many proxies":             {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4"+strings.Repeat(",10.0.0.2", 40)), addr: "10.0.0.2", url: "http://inner:8080"},
		"host that is none":            {req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: a/b"), addr: "1.2.3.4", url: "http://inner:8080"},
		"the other header is not read": {req: from("10.0.0.1:1", `Forwarded: for=1.2.3.4;proto=https`), addr: "10.0.0.1", url: "http://inner:8080"},
		"Forwarded":                    {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for=1.2.3.4, for="198.51.100.7:99";proto=https;host=sync.example.com;by=_x, For=10.0.0.2;proto=http`), addr: "198.51.100.7", url: "https://sync.example.com"},
		"Forwarded, IPv6":              {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for="[2001:db8:1:2:3::4]:47"`), addr: "2001:db8:1:2:3::4", url: "http://inner:8080"},
		"Forwarded, quoted comma":      {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for=198.51.100.7;ext="a, for=1.2.3.4"`), addr: "198.51.100.7", url: "http://inner:8080"},
		"Forwarded, hidden":            {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for=1.2.3.4, for=_hidden;proto=https`), addr: "10.0.0.1", url: "https://inner:8080"},
		"Forwarded, twice for":         {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for=1.2.3.4;for=5.6.7.8`), addr: "10.0.0.1", url: "http://inner:8080"},
		"Forwarded, open quote":        {header: Forwarded, req: from("10.0.0.1:1", `Forwarded: for="1.2.3.4`), addr: "10.0.0.1", url: "http://inner:8080"},
		"X-Forwarded not read":         {header: Forwarded, req: from("10.0.0.1:1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"), addr: "10.0.0.1", url: "http://inner:8080"},
	} {
		r := resolver(t, Options{Header: c.header})
		s := r.Resolve(c.req)
		if s.Addr != netip.MustParseAddr(c.addr) || r.URL(c.req, s) != c.url+"/v1/webhooks/x?a=1" {
			t.Errorf("%s: %s, %s; want %s, %s", name, s.Addr, r.URL(c.req, s), c.addr, c.url)
		}
	}
	if s := resolver(t, Options{}).Resolve(from("@")); s.Addr.IsValid() || s.Key() != [16]byte{} {
		t.Errorf("no address: %+v", s)
	}
	r := resolver(t, Options{PublicURL: "https://sync.example.com/hooks/"})
	if got := r.URL(from("1.2.3.4:1"), Sender{Scheme: "http", Host: "x"}); got != "https://sync.example.com/hooks/v1/webhooks/x?a=1" {
		t.Errorf("public address: %s", got)
	}
}

func TestLimitsCountNetworksOfIPv6AndAddressesOfIPv4(t *testing.T) {
	t.Parallel()
	key := func(s string) [16]byte { return Sender{Addr: plain(netip.MustParseAddr(s))}.Key() }
	if key("2001:db8:1:2::1") != key("2001:db8:1:2:ffff::9") || key("2001:db8:1:2::1") == key("2001:db8:1:3::1") {
		t.Error("want one key per /64")
	}
	if key("192.0.2.1") == key("192.0.2.2") || key("192.0.2.1") != key("::ffff:192.0.2.1") || key("fe80::1%eth0") != key("fe80::2") {
		t.Error("want one key per IPv4 address, however it is written")
	}
}

func TestACertificateIsTakenFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	want := &x509.Certificate{}
	r := resolver(t, Options{CertHeader: "x-client-cert", ParseCert: func(v string) (*x509.Certificate, error) {
		if v != "pem" {
			return nil, domain.Invalid("certificate", "is none")
		}
		return want, nil
	}})
	for name, c := range map[string]struct {
		req   *http.Request
		got   *x509.Certificate
		fault bool
	}{
		"from a proxy":   {from("10.0.0.1:1", "X-Client-Cert: pem"), want, false},
		"from a sender":  {from("1.2.3.4:1", "X-Client-Cert: pem"), nil, false},
		"none":           {from("10.0.0.1:1"), nil, false},
		"empty":          {from("10.0.0.1:1", "X-Client-Cert: "), nil, false},
		"two":            {from("10.0.0.1:1", "X-Client-Cert: pem", "X-Client-Cert: pem"), nil, true},
		"no certificate": {from("10.0.0.1:1", "X-Client-Cert: x"), nil, true},
		"too long":       {from("10.0.0.1:1", "X-Client-Cert: "+strings.Repeat("x", maxCert+1)), nil, true},
	} {
		got, err := r.Certificate(c.req, r.Resolve(c.req))
		if got != c.got || (err != nil) != c.fault {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"header": {Header: "via"}, "public_url": {PublicURL: "sync.example.com"}, "cert_header": {CertHeader: "X"}, "trusted": {Trusted: []netip.Prefix{{}}},
	} {
		if _, err := New(o); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"10.0.0.0/33", "proxy", "::ffff:10.0.0.0/104"} {
		if _, err := ParseTrusted([]string{"::1", bad}); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), "entry 2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "1.2.3.4, 10.0.0.2", `for=1.2.3.4;proto=https, for="[2001:db8::1]:4"`, `for="a\"b",`, ",,;;", "[::1%25en0]:99", "unknown"} {
		f.Add(s, s)
	}
	x, fw := resolver(f, Options{}), resolver(f, Options{Header: Forwarded})
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, r := range []*Resolver{x, fw} {
			req := from("10.0.0.1:1")
			for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host"} {
				req.Header[name] = []string{a, b}
			}
			s := r.Resolve(req)
			if !s.Addr.IsValid() || s.Addr.Is4In6() || s.Addr.Zone() != "" || s.Scheme != "http" && s.Scheme != "https" || s.Host != "inner:8080" && !validHost(s.Host) {
				t.Fatalf("%+v of %q, %q", s, a, b)
			}
			// Whatever a stranger says about its way changes nothing.
			req.RemoteAddr = "198.51.100.7:1"
			if s := r.Resolve(req); s.Addr != netip.MustParseAddr("198.51.100.7") || s.Host != "inner:8080" || s.Proxied {
				t.Fatalf("a stranger became %+v by %q, %q", s, a, b)
			}
		}
	})
}
