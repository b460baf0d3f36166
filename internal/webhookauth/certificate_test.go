package webhookauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: noon.Add(-time.Hour),
		NotAfter: noon.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return authority{signCert(template, template, &key.PublicKey, key), key}
}

func signCert(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

func (a authority) issue(change func(*x509.Certificate)) *x509.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	uri := &url.URL{Scheme: "spiffe", Host: "example", Path: "/hooks"}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "hooks", Organization: []string{"Example"}},
		DNSNames: []string{"hooks.example"}, URIs: []*url.URL{uri}, NotBefore: noon.Add(-time.Minute), NotAfter: noon.Add(time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	return signCert(template, a.cert, &key.PublicKey, a.key)
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

var ourCA = sync.OnceValue(func() authority { return newAuthority("Our CA") })

func TestAttacksOnClientCertificatesOfACA(t *testing.T) {
	t.Parallel()
	ca, other := ourCA(), newAuthority("Our CA")
	cfg := Config{Scheme: ClientCertificate, Certificate: &Certificate{CA: pemOf(ca.cert), Names: []string{"hooks.example", "spiffe://example/hooks"}, Subject: "CN=hooks,O=Example"}}
	v, err := New(cfg, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *x509.Certificate) Request { return Request{Header: http.Header{}, ClientCert: c} }
	run(t, v, []attack{
		{"genuine", with(ca.issue(nil)), ""},
		{"by one of its names", with(ca.issue(func(c *x509.Certificate) { c.DNSNames = nil })), ""},
		{"none handed on", Request{}, MissingCertificate},
		{"header of a stranger", Request{Header: http.Header{"X-Forwarded-Client-Cert": {"Cert=x"}}}, MissingCertificate},
		{"another CA of the same name", with(other.issue(nil)), CertificateNotTrusted},
		{"the CA itself", with(ca.cert), CertificateNotTrusted},
		{"another name", with(ca.issue(func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"evil.hooks.example"}, nil })), CertificateNotTrusted},
		{"wildcard", with(ca.issue(func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"*.example"}, nil })), CertificateNotTrusted},
		{"name in the subject only", with(ca.issue(func(c *x509.Certificate) { c.DNSNames, c.URIs = nil, nil })), CertificateNotTrusted},
		{"another subject", with(ca.issue(func(c *x509.Certificate) { c.Subject.CommonName = "hooks2" })), CertificateNotTrusted},
		{"subject with a comma inside", with(ca.issue(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "hooks,O=Example"} })), CertificateNotTrusted},
		{"of a server", with(ca.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), CertificateNotTrusted},
		{"expired", with(ca.issue(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) })), CertificateExpired},
		{"not yet valid", with(ca.issue(func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) })), CertificateExpired},
	})
	if _, err := New(cfg, Plain(Secret("sha256:"+strings.Repeat("ab", 32))), Options{}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("fingerprints beside a CA: %v", err)
	}
	leaf := ca.issue(nil)
	for name, bad := range map[string]Certificate{
		"no CA":        {Names: []string{"a"}},
		"no names":     {CA: pemOf(ca.cert)},
		"a leaf as CA": {CA: pemOf(leaf), Names: []string{"a"}},
		"text":         {CA: "hello", Names: []string{"a"}},
		"text behind":  {CA: pemOf(ca.cert) + "hello", Names: []string{"a"}},
		"wildcard":     {CA: pemOf(ca.cert), Names: []string{"*.example"}},
	} {
		if err := (Config{Scheme: ClientCertificate, Certificate: &bad}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "client_certificate.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinnedCertificatesPassByCertificateOrByKey(t *testing.T) {
	t.Parallel()
	ca := ourCA()
	one, two, three := ca.issue(nil), ca.issue(nil), ca.issue(nil)
	whole, key := sha256.Sum256(one.Raw), sha256.Sum256(two.RawSubjectPublicKeyInfo)
	var colons []string
	for _, b := range whole {
		colons = append(colons, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	v := mustNew(t, Config{Scheme: ClientCertificate}, "spki-sha256:"+hex.EncodeToString(key[:]), "sha256:"+strings.Join(colons, ":"))
	for i, cert := range []*x509.Certificate{two, one} {
		if got, err := v.Verify(t.Context(), Request{Header: http.Header{}, ClientCert: cert}, noon); err != nil || got.SecretIndex != i {
			t.Errorf("certificate %d: %+v, %v", i, got, err)
		}
		if _, err := v.Verify(t.Context(), Request{ClientCert: cert}, noon.Add(time.Hour)); code(t, err) != CertificateExpired {
			t.Errorf("certificate %d later: %v", i, err)
		}
	}
	if _, err := v.Verify(t.Context(), Request{ClientCert: three}, noon); code(t, err) != CertificateNotTrusted {
		t.Errorf("another certificate of the CA: %v", err)
	}
}

func TestForwardedCertificatesAreReadInEveryFormatAndNothingElseIs(t *testing.T) {
	t.Parallel()
	cert, second := ourCA().issue(nil), ourCA().issue(nil)
	text := pemOf(cert)
	escaped := url.PathEscape(text)
	b64 := base64.StdEncoding.EncodeToString(cert.Raw)
	for name, c := range map[string]struct {
		format CertFormat
		value  string
		ok     bool
	}{
		"nginx":                      {CertEscapedPEM, escaped, true},
		"everything escaped":         {CertEscapedPEM, url.QueryEscape(strings.ReplaceAll(text, " ", "\x01")), false},
		"not escaped":                {CertEscapedPEM, text, true},
		"two certificates":           {CertEscapedPEM, escaped + url.PathEscape(pemOf(second)), false},
		"text before":                {CertEscapedPEM, "x%0A" + escaped, false},
		"cut off":                    {CertEscapedPEM, escaped[:len(escaped)/2], false},
		"bad escape":                 {CertEscapedPEM, escaped + "%zz", false},
		"private key":                {CertEscapedPEM, url.PathEscape(strings.ReplaceAll(text, "CERTIFICATE", "PRIVATE KEY")), false},
		"empty":                      {CertEscapedPEM, "", false},
		"nginx without a cert":       {CertEscapedPEM, "-", false},
		"RFC 9440":                   {CertRFC9440, ":" + b64 + ":", true},
		"no colons":                  {CertRFC9440, b64, false},
		"one colon":                  {CertRFC9440, ":", false},
		"two members":                {CertRFC9440, ":" + b64 + ":, :" + b64 + ":", false},
		"parameters":                 {CertRFC9440, ":" + b64 + ":;a=1", false},
		"line break inside":          {CertRFC9440, ":" + b64[:8] + "\n" + b64[8:] + ":", false},
		"bytes behind":               {CertRFC9440, ":" + base64.StdEncoding.EncodeToString(append([]byte(cert.Raw), 0)) + ":", false},
		"Envoy":                      {CertXFCC, `By=spiffe://a;Hash=ab;Subject="CN=a,O=\"b;c\"";Cert="` + escaped + `";URI=spiffe://b`, true},
		"Envoy, member in any case":  {CertXFCC, `cert="` + escaped + `"`, true},
		"Envoy, not quoted":          {CertXFCC, "Cert=" + escaped, true},
		"Envoy, no certificate":      {CertXFCC, `By=x;Hash=ab`, false},
		"Envoy, certificate twice":   {CertXFCC, `Cert="` + escaped + `";Cert="` + escaped + `"`, false},
		"Envoy, claimed before":      {CertXFCC, `Cert="` + escaped + `",By=x;Cert="` + url.PathEscape(pemOf(second)) + `"`, false},
		"Envoy, certificate in text": {CertXFCC, `Subject="x;Cert=` + escaped + `"`, false},
		"Envoy, quote without end":   {CertXFCC, `Cert="` + escaped, false},
		"Envoy, text behind a quote": {CertXFCC, `Cert="` + escaped + `"x`, false},
		"Envoy, last separator":      {CertXFCC, `Cert="` + escaped + `";`, false},
		"Envoy, empty":               {CertXFCC, "", false},
		"unknown format":             {"x", escaped, false},
		"huge":                       {CertEscapedPEM, strings.Repeat("a", MaxClientCert+1), false},
	} {
		got, err := ParseClientCert(c.format, c.value)
		if c.ok && (err != nil || !got.Equal(cert)) || !c.ok && domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseClientCert(f *testing.F) {
	cert := ourCA().issue(nil)
	f.Add(string(CertEscapedPEM), url.PathEscape(pemOf(cert)))
	f.Add(string(CertRFC9440), ":"+base64.StdEncoding.EncodeToString(cert.Raw)+":")
	f.Add(string(CertXFCC), `By=a;Subject="CN=\"x\"";Cert="`+url.PathEscape(pemOf(cert))+`"`)
	f.Add(string(CertXFCC), `Cert="\`)
	f.Add(string(CertXFCC), `=;,`)
	f.Fuzz(func(t *testing.T, format, value string) {
		got, err := ParseClientCert(CertFormat(format), value)
		if (got == nil) == (err == nil) {
			t.Fatalf("%v, %v", got, err)
		}
		if err != nil && domain.KindOf(err) != domain.KindInvalid {
			t.Fatal(err)
		}
	})
}
