package webhookauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// ClientCertificate is mutual TLS: a trusted proxy ends the connection and hands the sender's certificate on. See
// [ParseClientCert]. Without a CA each credential is a fingerprint, "sha256:" and hex of the certificate or
// "spki-sha256:" and hex of its public key; with one there are no credentials.
const ClientCertificate Scheme = "client-certificate"

// Certificate says which certificates a CA vouches for.
type Certificate struct {
	// CA is the PEM of one or more certificates, of which one must have signed the sender's.
	CA string `json:"ca"`
	// Names are alternative names, of which the certificate must have one: a DNS name, URI, e-mail or IP address,
	// compared whole. No wildcards.
	Names []string `json:"names,omitempty"`
	// Subject is the whole subject as RFC 2253 writes it, such as "CN=hooks,O=Example". Names or Subject is required,
	// since a CA vouches for others too; with both, both must fit.
	Subject string `json:"subject,omitempty"`
}

const (
	maxCA    = 64 << 10
	maxCAs   = 16
	maxNames = 32
	maxName  = 512
)

var certificateSpec = spec{about: "mutual TLS, with the certificate handed on by a trusted proxy", secret: "fingerprints (sha256:... or spki-sha256:...), or none with client_certificate.ca",
	fields: []string{"client_certificate"}, check: checkCertificate, key: certificateKey, build: buildCertificate, headerless: true,
	secretless: func(c Config) bool { return c.Certificate != nil },
	generate: func(Config) (string, error) {
		return "", domain.Invalid("generate", "a fingerprint comes from the sender's certificate")
	}}

func checkCertificate(c *Config) error {
	if err := c.unused(); err != nil {
		return err
	}
	if c.Header != "" || c.Prefix != "" {
		return domain.Invalid("header", "which header carries the certificate is a setting of the server; leave header and prefix empty")
	}
	if c.Certificate == nil {
		return nil
	}
	if _, err := parseCA(c.Certificate.CA); err != nil {
		return err
	}
	if len(c.Certificate.Names) == 0 && c.Certificate.Subject == "" {
		return domain.Invalid("client_certificate.names", "missing; want names or a subject, since the CA vouches for others too")
	}
	if len(c.Certificate.Names) > maxNames || len(c.Certificate.Subject) > maxName {
		return domain.Invalid("client_certificate.names", "want at most %d names and a subject of at most %d bytes", maxNames, maxName)
	}
	for _, n := range c.Certificate.Names {
		if n == "" || len(n) > maxName || strings.ContainsAny(n, "* \t\r\n") {
			return domain.Invalid("client_certificate.names", "want 1 to %d characters each, without blanks and wildcards", maxName)
		}
	}
	return nil
}

func parseCA(text string) ([]*x509.Certificate, error) {
	const field = "client_certificate.ca"
	if len(text) > maxCA {
		return nil, domain.Invalid(field, "%d bytes; want at most %d", len(text), maxCA)
	}
	var out []*x509.Certificate
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(out) == maxCAs {
			return nil, domain.Invalid(field, "want at most %d certificates in PEM and nothing else", maxCAs)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, domain.Invalid(field, "certificate %d cannot be read", len(out)+1)
		}
		if !cert.IsCA {
			return nil, domain.Invalid(field, "certificate %d is not that of a CA; give a sender's own as a fingerprint", len(out)+1)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, domain.Invalid(field, "missing; want PEM")
	}
	return out, nil
}

// certificateKey turns a fingerprint into a letter for its kind and the 32 bytes.
func certificateKey(secret Secret) ([]byte, error) {
	kind, rest, _ := strings.Cut(string(secret), ":")
	sum, err := hex.DecodeString(strings.ReplaceAll(rest, ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("want sha256: or spki-sha256: and 64 hexadecimal digits")
	}
	switch kind {
	case "sha256":
		return append([]byte{'c'}, sum...), nil
	case "spki-sha256":
		return append([]byte{'s'}, sum...), nil
	}
	return nil, errors.New("want sha256: or spki-sha256: before the hexadecimal digits")
}

type certificate struct {
	id     string
	prints [][]byte
	roots  *x509.CertPool
	want   Certificate
}

func buildCertificate(c Config, keys [][]byte, _ Options) (engine, error) {
	e := &certificate{id: c.IDHeader, prints: keys}
	if c.Certificate == nil {
		return e, nil
	}
	if len(keys) > 0 {
		return nil, domain.Invalid("secrets", "%d; want none beside a CA", len(keys))
	}
	cas, err := parseCA(c.Certificate.CA)
	if err != nil {
		return nil, err
	}
	e.want = Certificate{Names: slices.Clone(c.Certificate.Names), Subject: c.Certificate.Subject}
	e.roots = x509.NewCertPool()
	for _, ca := range cas {
		e.roots.AddCert(ca)
	}
	return e, nil
}

func (e *certificate) verify(_ context.Context, req Request, now time.Time) (Result, *Reason) {
	cert := req.ClientCert
	if cert == nil {
		return Result{}, refuse(MissingCertificate, "no certificate of the sender was handed on; check the proxy and the settings about it")
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return Result{}, refuse(CertificateExpired, "the certificate is not valid at this time")
	}
	var result Result
	if e.roots == nil {
		whole, key := sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		found := len(e.prints)
		for i := len(e.prints) - 1; i >= 0; i-- {
			sum := whole[:]
			if e.prints[i][0] == 's' {
				sum = key[:]
			}
			found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(e.prints[i][1:], sum), i, found)
		}
		if found == len(e.prints) {
			return Result{}, refuse(CertificateNotTrusted, "the certificate has none of the %d fingerprints", len(e.prints))
		}
		result.SecretIndex = found
	} else {
		_, err := cert.Verify(x509.VerifyOptions{Roots: e.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			return Result{}, refuse(CertificateNotTrusted, "the certificate is not one for clients that the configured CA signed")
		}
		if e.want.Subject != "" && cert.Subject.String() != e.want.Subject {
			return Result{}, refuse(CertificateNotTrusted, "the CA signed the certificate, but for another subject")
		}
		if len(e.want.Names) > 0 && !slices.ContainsFunc(e.want.Names, func(n string) bool { return hasName(cert, n) }) {
			return Result{}, refuse(CertificateNotTrusted, "the CA signed the certificate, but for none of the %d names", len(e.want.Names))
		}
	}
	return withID(req.Header, e.id, result)
}

func hasName(cert *x509.Certificate, name string) bool {
	for _, n := range cert.DNSNames {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	for _, u := range cert.URIs {
		if u.String() == name {
			return true
		}
	}
	for _, ip := range cert.IPAddresses {
		if ip.String() == name {
			return true
		}
	}
	return slices.Contains(cert.EmailAddresses, name)
}

func (*certificate) sign(http.Header, string, time.Time, []byte) error {
	return noSign(ClientCertificate)
}
