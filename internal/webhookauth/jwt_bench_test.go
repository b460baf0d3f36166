package webhookauth

import (
	"bytes"
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
