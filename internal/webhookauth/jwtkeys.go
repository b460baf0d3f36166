package webhookauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxKeyText bounds a key in PEM, in bytes.
const maxKeyText = 8 << 10

// Sizes of RSA moduli that are taken, in bits.
const (
	minRSA = 2048
	maxRSA = 8192
)

func jwtKeyText(secret Secret) ([]byte, error) {
	if len(secret) == 0 || len(secret) > maxKeyText {
		return nil, fmt.Errorf("%d bytes; want 1 to %d", len(secret), maxKeyText)
	}
	return []byte(string(secret)), nil
}

// splitKeys parts a text at the marks of PEM, or at blanks where it has none.
func splitKeys(text string) []string {
	if !strings.Contains(text, "-----BEGIN") {
		return strings.Fields(text)
	}
	var out []string
	for text = strings.TrimSpace(text); text != ""; {
		end := len(text)
		if next := strings.Index(text[1:], "-----BEGIN"); next >= 0 {
			end = next + 1
		}
		out = append(out, strings.TrimSpace(text[:end]))
		text = text[end:]
	}
	return out
}

func generateJWT(c Config) (string, error) {
	if !strings.HasPrefix(c.JWT.Algorithms[0], "HS") {
		return "", domain.Invalid("generate", "public keys come from the sender")
	}
	return randomText(64), nil
}

// jwtKey makes the key of a credential for a list of algorithms of one kind.
func jwtKey(algorithms []string, text []byte) (any, error) {
	if strings.HasPrefix(algorithms[0], "HS") {
		least := 0
		for _, a := range algorithms {
			least = max(least, map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[a])
		}
		return text, checkShared(text, least)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("want one public key in PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, errors.New("is a private key, which belongs to the sender alone; want the public one, and a new pair")
		}
		return nil, errors.New("want a PUBLIC KEY or CERTIFICATE in PEM")
	}
	if err != nil {
		return nil, errors.New("the public key cannot be read")
	}
	if err := CheckPublicKey(key); err != nil {
		return nil, err
	}
	for _, a := range algorithms {
		if keyFits(a, key) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the public key is not one for %s", strings.Join(algorithms, ", "))
}

// CheckPublicKey refuses keys that are too weak, too large to verify with, or of a kind that no algorithm here uses: RSA
// of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521 and Ed25519 are taken.
func CheckPublicKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return errors.New("the RSA key has no modulus")
		}
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("the RSA key has %d bits; want %d to %d", n, minRSA, maxRSA)
		}
		if k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return errors.New("the RSA key has an even modulus or a wrong exponent")
		}
		return nil
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return errors.New("the curve is not P-256, P-384 or P-521")
		}
		if _, err := k.ECDH(); err != nil { // checks that the point is on its curve
			return errors.New("the point is not on its curve")
		}
		return nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("the Ed25519 key has %d bytes; want %d", len(k), ed25519.PublicKeySize)
		}
		return nil
	}
	return errors.New("want an RSA, ECDSA or Ed25519 key")
}

// keyFits reports whether a key is of the kind, and the curve, of an algorithm.
func keyFits(algorithm string, key any) bool {
	switch k := key.(type) {
	case []byte:
		return strings.HasPrefix(algorithm, "HS")
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// checkShared refuses shared secrets that can be guessed, and public keys taken for one: whoever knows a public key could
// otherwise sign with it.
func checkShared(secret []byte, least int) error {
	if len(secret) < least {
		return fmt.Errorf("%d bytes; want at least %d, as long as the hash (RFC 7518, 3.2)", len(secret), least)
	}
	if len(secret) > maxShown {
		return fmt.Errorf("%d bytes; want at most %d", len(secret), maxShown)
	}
	trimmed := bytes.TrimSpace(secret)
	_, errPKIX := x509.ParsePKIXPublicKey(secret)
	_, errPKCS1 := x509.ParsePKCS1PublicKey(secret)
	_, errCert := x509.ParseCertificate(secret)
	if bytes.HasPrefix(trimmed, []byte("-----BEGIN")) || bytes.HasPrefix(trimmed, []byte("{")) || errPKIX == nil || errPKCS1 == nil || errCert == nil {
		return errors.New("looks like a public key; want a shared secret, or an algorithm for public keys")
	}
	different := map[byte]bool{}
	for _, b := range secret {
		different[b] = true
	}
	if len(different) < 10 {
		return fmt.Errorf("has only %d different bytes; want a random secret", len(different))
	}
	for period := 1; period <= len(secret)/2; period++ {
		if bytes.Equal(secret[period:], secret[:len(secret)-period]) {
			return fmt.Errorf("repeats itself after %d bytes; want a random secret", period)
		}
	}
	return nil
}
