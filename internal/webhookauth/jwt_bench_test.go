package webhookauth

import (
	"bytes"
	"crypto/ed25519"
	"testing"
)

func BenchmarkVerifyJWT1KiB(b *testing.B) {
	cfg := Config{Scheme: JWTBearer, JWT: &JWT{Algorithms: []string{"HS256"}, Issuer: "https://vendor.example.test", Audience: "wedsync"}}
	const secret = "q7Vn2Lx0Tz8Rk4Jw6Hy1Pd3Gs5Mc9FbEu"
	body := bytes.Repeat([]byte("x"), 1024)
	v := mustNew(b, cfg, secret)
	req := Request{Header: mustSign(b, cfg, secret, "msg_1", noon, string(body)), Body: body}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), req, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEd25519 is the part of the Ed25519 schemes that nothing here can make faster.
func BenchmarkEd25519(b *testing.B) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 1024)
	sum := ed25519.Sign(private, body)
	for b.Loop() {
		if !ed25519.Verify(public, body, sum) {
			b.Fatal("refused")
		}
	}
}
