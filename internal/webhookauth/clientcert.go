package webhookauth

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// CertFormat is how a proxy writes the sender's certificate into a header.
type CertFormat string

const (
	// CertXFCC is Envoy's x-forwarded-client-cert with its member Cert. The header must have one element: set the
	// proxy to replace what it receives (SANITIZE_SET), since elements before the last were claimed by somebody else.
	CertXFCC CertFormat = "xfcc"
	// CertEscapedPEM is PEM with percent-encoding, as nginx makes it in $ssl_client_escaped_cert.
	CertEscapedPEM CertFormat = "escaped-pem"
	// CertRFC9440 is the Client-Cert header: DER in base64 between colons.
	CertRFC9440 CertFormat = "rfc9440"
)

// MaxClientCert is the longest header with a certificate, in bytes.
const MaxClientCert = 16 << 10

// ParseClientCert reads the certificate that a trusted proxy handed on. It does not judge the certificate, and the
// caller must make sure that the header comes from such a proxy and not from the sender. Errors are of kind invalid, about
// the field "client_certificate", and hold nothing of the value.
func ParseClientCert(format CertFormat, value string) (*x509.Certificate, error) {
	if len(value) > MaxClientCert {
		return nil, domain.Invalid("client_certificate", "%d bytes; want at most %d", len(value), MaxClientCert)
	}
	switch format {
	case CertXFCC:
		text, err := xfccCert(value)
		if err != nil {
			return nil, err
		}
		return escapedPEM(text)
	case CertEscapedPEM:
		return escapedPEM(value)
	case CertRFC9440:
		inner, ok := strings.CutPrefix(value, ":")
		if inner, ok = cutSuffix(inner, ok, ":"); !ok {
			return nil, badCert("want base64 between two colons")
		}
		der, err := base64.StdEncoding.Strict().DecodeString(inner)
		if err != nil || strings.ContainsAny(inner, "\r\n") {
			return nil, badCert("want base64 between two colons")
		}
		return parseDER(der)
	}
	return nil, domain.Invalid("client_certificate", "unknown format; want %s, %s or %s", CertXFCC, CertEscapedPEM, CertRFC9440)
}

func cutSuffix(s string, ok bool, suffix string) (string, bool) {
	rest, found := strings.CutSuffix(s, suffix)
	return rest, ok && found
}

func badCert(text string) error { return domain.Invalid("client_certificate", "%s", text) }

func parseDER(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, badCert("holds no certificate that can be read")
	}
	return cert, nil
}

func escapedPEM(value string) (*x509.Certificate, error) {
	// Not a query: a plus sign stands for itself, as base64 has it.
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, badCert("is not percent-encoded as it should be")
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0:
		return nil, badCert("is not a certificate in PEM")
	case len(bytes.TrimSpace(rest)) > 0 || !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN"):
		return nil, badCert("holds more than one certificate")
	}
	return parseDER(block.Bytes)
}

// xfccCert returns the member Cert of the only element: pairs of key and value parted by semicolons, where a value may
// be quoted and then holds backslash escapes.
func xfccCert(s string) (string, error) {
	cert, found := "", false
	for s != "" {
		key, rest, ok := strings.Cut(s, "=")
		if !ok || key == "" || strings.ContainsAny(key, " \",;\\") {
			return "", badCert("want pairs of key and value parted by semicolons")
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			if value, rest, ok = quoted(rest[1:]); !ok {
				return "", badCert("a quoted value has no end")
			}
		} else if end := strings.IndexAny(rest, ",;"); end >= 0 {
			value, rest = rest[:end], rest[end:]
		} else {
			value, rest = rest, ""
		}
		if strings.EqualFold(key, "Cert") {
			if found {
				return "", badCert("has the member Cert twice")
			}
			cert, found = value, true
		}
		switch {
		case rest == "":
			s = ""
		case rest[0] == ';' && len(rest) > 1:
			s = rest[1:]
		case rest[0] == ',':
			return "", badCert("has several elements; set the proxy to replace what it receives")
		default:
			return "", badCert("want pairs of key and value parted by semicolons")
		}
	}
	if !found || cert == "" {
		return "", badCert("has no member Cert; set the proxy to hand the certificate on")
	}
	return cert, nil
}

// quoted reads up to the closing quote.
func quoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
