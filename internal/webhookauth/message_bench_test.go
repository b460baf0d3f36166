package webhookauth

import (
	"bytes"
	"testing"
)

func BenchmarkVerifyMessageSignature1KiB(b *testing.B) {
	cfg := Config{Scheme: MessageSignatures, Algorithm: messageHMAC, Components: []string{"content-digest"}}
	const secret = "q7Vn2Lx0Tz8Rk4Jw6Hy1Pd3Gs5Mc9FbEu"
	body := bytes.Repeat([]byte("x"), 1024)
	v := mustNew(b, cfg, secret)
	req := Request{Header: mustSign(b, cfg, secret, "msg_1", noon, string(body)), Body: body, Method: "POST", URL: "https://hooks.example.com/v1/webhooks/018f7b1e-0000-7000-8000-000000000000"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), req, noon); err != nil {
			b.Fatal(err)
		}
	}
}
