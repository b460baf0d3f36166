package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Limits of a set.
const (
	// MaxBody is the longest set in bytes.
	MaxBody = 256 << 10
	// MaxKeys is how many keys a set may have, of whatever kind.
	MaxKeys = 64
	// MaxKeyID is the longest key id in bytes.
	MaxKeyID = 256
)

type member struct {
	Kind       string          `json:"kty"`
	ID         string          `json:"kid"`
	Use        string          `json:"use"`
	Algorithm  string          `json:"alg"`
	Operations []string        `json:"key_ops"`
	Curve      string          `json:"crv"`
	N          string          `json:"n"`
	E          string          `json:"e"`
	X          string          `json:"x"`
	Y          string          `json:"y"`
	Private    json.RawMessage `json:"d"`
}

// Parse reads a set and returns the keys that can verify signatures. Errors say what is wrong with the set as a whole; a
// key that is of no use is left out without one.
func Parse(body []byte) ([]webhookauth.PublicKey, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("the key set has %d bytes; want at most %d", len(body), MaxBody)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return nil, errors.New("the answer is not a JSON Web Key Set")
	}
	if len(set.Keys) > MaxKeys {
		return nil, fmt.Errorf("the key set has %d keys; want at most %d", len(set.Keys), MaxKeys)
	}
	seen := map[string]bool{}
	var out []webhookauth.PublicKey
	for _, raw := range set.Keys {
		var m member
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		if m.ID != "" {
			if seen[m.ID] {
				return nil, errors.New("the key set has two keys of one id")
			}
			seen[m.ID] = true
		}
		if len(m.ID) > MaxKeyID || len(m.Private) > 0 || m.Use != "" && m.Use != "sig" ||
			len(m.Operations) > 0 && !slices.Contains(m.Operations, "verify") {
			continue
		}
		key, err := m.key()
		if err != nil || webhookauth.CheckPublicKey(key) != nil {
			continue
		}
		out = append(out, webhookauth.PublicKey{ID: m.ID, Use: m.Use, Algorithm: m.Algorithm, Operations: m.Operations, Key: key})
	}
	if len(out) == 0 {
		return nil, errors.New("the key set has no key that can verify signatures")
	}
	return out, nil
}

func (m member) key() (crypto.PublicKey, error) {
	switch m.Kind {
	case "RSA":
		n, err := octets(m.N, 1024)
		if err != nil {
			return nil, err
		}
		e, err := octets(m.E, 4)
		if err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(e)
		if exponent.BitLen() > 31 {
			return nil, errors.New("the exponent is too large")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[m.Curve]
		if curve == nil {
			return nil, errors.New("unknown curve")
		}
		size := (curve.Params().BitSize + 7) / 8
		x, errX := octets(m.X, size)
		y, errY := octets(m.Y, size)
		if err := errors.Join(errX, errY); err != nil {
			return nil, err
		}
		if len(x) != size || len(y) != size {
			return nil, errors.New("a coordinate is not of full length") // RFC 7518, 6.2.1.2
		}
		return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	case "OKP":
		if m.Curve != "Ed25519" {
			return nil, errors.New("unknown curve")
		}
		x, err := octets(m.X, ed25519.PublicKeySize)
		if err != nil {
			return nil, err
		}
		if !goodPoint(x) {
			return nil, errors.New("not a point of the group")
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, errors.New("unknown kind of key")
}

// octets reads base64url of at most limit bytes.
func octets(s string, limit int) ([]byte, error) {
	if s == "" || len(s) > base64.RawURLEncoding.EncodedLen(limit) {
		return nil, errors.New("missing or too long")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

var (
	edP, _ = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
	edD, _ = new(big.Int).SetString("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3", 16)
	one    = big.NewInt(1)
)

// goodPoint reports whether 32 bytes are the canonical form of a point of edwards25519 that is not of small order. With
// one of small order, some signature would fit every message.
func goodPoint(b []byte) bool {
	if len(b) != ed25519.PublicKeySize {
		return false
	}
	little := slices.Clone(b)
	sign := little[31] >> 7
	little[31] &= 0x7f
	slices.Reverse(little)
	y := new(big.Int).SetBytes(little)
	if y.Cmp(edP) >= 0 {
		return false
	}
	// x² = (y² - 1) / (d y² + 1)
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := yy.Mul(yy, edD)
	v.Add(v, one).Mod(v, edP)
	u.Mul(u, v.ModInverse(v, edP)).Mod(u, edP)
	x := new(big.Int).ModSqrt(u, edP)
	if x == nil || x.Sign() == 0 && sign == 1 {
		return false
	}
	// Of small order is what three doublings bring to the neutral element, whose x is zero.
	for range 3 {
		x, y = double(x, y)
	}
	return x.Sign() != 0 || y.Cmp(one) != 0
}

// double adds a point to itself in affine coordinates.
func double(x, y *big.Int) (*big.Int, *big.Int) {
	xx, yy := new(big.Int).Mul(x, x), new(big.Int).Mul(y, y)
	k := new(big.Int).Mul(xx, yy)
	k.Mul(k, edD).Mod(k, edP)
	plus := new(big.Int).Add(one, k)
	minus := new(big.Int).Sub(one, k)
	minus.Mod(minus, edP)
	x3 := new(big.Int).Mul(x, y)
	x3.Lsh(x3, 1).Mul(x3, plus.ModInverse(plus, edP)).Mod(x3, edP)
	y3 := xx.Add(xx, yy)
	y3.Mul(y3, minus.ModInverse(minus, edP)).Mod(y3, edP)
	return x3, y3
}
