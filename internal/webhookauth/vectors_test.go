package webhookauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func stdBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func emptyKeySignature(content string) string {
	h := hmac.New(sha256.New, nil)
	h.Write([]byte(content))
	return stdBase64(h.Sum(nil))
}

// newUnlimited builds a verifier past the limits on secrets, which some published examples are too short for.
func newUnlimited(t *testing.T, cfg Config, secret string) *Verifier {
	t.Helper()
	cfg, s, err := cfg.resolve()
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(secret)
	if cfg.Scheme == StandardWebhooks || cfg.Scheme == Svix {
		kind := byte(macKind)
		text, public := strings.CutPrefix(secret, "whpk_")
		if public {
			kind = edKind
		}
		if key, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_")); err != nil {
			t.Fatal(err)
		}
		key = append([]byte{kind}, key...)
	}
	e, err := s.build(cfg, [][]byte{key}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &Verifier{engine: e}
}

func headers(pairs map[string]string) http.Header {
	h := http.Header{}
	for name, value := range pairs {
		h.Set(name, value)
	}
	return h
}

func TestPublishedExamplesVerify(t *testing.T) {
	t.Parallel()
	standard := Config{Scheme: StandardWebhooks}
	rfc := Config{Scheme: HMACSHA256, Header: "Sum"}
	for _, c := range []struct {
		source  string
		cfg     Config
		secret  string
		headers map[string]string
		body    string
		now     int64
	}{
		{"Standard Webhooks, tests of the official Go library", standard, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", map[string]string{
			"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
			"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		}, `{"test": 2432232314}`, 1614265330},
		{"Standard Webhooks, the specification's example", standard, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", map[string]string{
			"webhook-id": "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "webhook-timestamp": "1649367553",
			"webhook-signature": "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
		}, `{"email":"test@example.com","username":"test_user"}`, 1649367553},
		{"Svix documentation, verifying manually (an 18-byte key)", someConfigs["standard, own names"], "whsec_plJ3nmyCDGBKInavdOK15jsl", map[string]string{
			"svix-id": "msg_loFOjxBNrRLzqYUf", "svix-timestamp": "1731705121",
			"svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
		}, `{"event_type":"ping","data":{"success":true}}`, 1731705121},
		{"GitHub documentation, validating webhook deliveries", someConfigs["prefixed hex"], "It's a Secret to Everybody", map[string]string{
			"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		}, "Hello, World!", 0},
		{"RFC 4231, test case 1", rfc, strings.Repeat("\x0b", 20), map[string]string{
			"Sum": "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"}, "Hi There", 0},
		{"RFC 4231, test case 2 (a 4-byte key)", rfc, "Jefe", map[string]string{
			"Sum": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"}, "what do ya want for nothing?", 0},
		{"RFC 4231, test case 3", rfc, strings.Repeat("\xaa", 20), map[string]string{
			"Sum": "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"}, strings.Repeat("\xdd", 50), 0},
		{"RFC 4231, test case 6 (a key longer than a block)", rfc, strings.Repeat("\xaa", 131), map[string]string{
			"Sum": "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"}, "Test Using Larger Than Block-Size Key - Hash Key First", 0},
	} {
		v := newUnlimited(t, c.cfg, c.secret)
		got, err := v.Verify(t.Context(), Request{Header: headers(c.headers), Body: []byte(c.body)}, time.Unix(c.now, 0))
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
		}
		if c.now != 0 && got.Timestamp.Unix() != c.now {
			t.Errorf("%s: timestamp %v", c.source, got.Timestamp)
		}
		if _, err := v.Verify(t.Context(), Request{Header: headers(c.headers), Body: []byte(c.body + "x")}, time.Unix(c.now, 0)); code(t, err) != SignatureMismatch {
			t.Errorf("%s: altered body: %v", c.source, err)
		}
	}
}

// The shared vectors are read in place. Those of schemes that this package does not have yet are listed in the log.
func TestSharedVectorsVerify(t *testing.T) {
	t.Parallel()
	const path = "../../../shared/vectors/webhooks.json"
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("shared vectors are not beside this checkout: " + path)
		t.Skip("no " + path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			ID, Secret, Body, Source string
			Headers                  map[string]string
		}
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&file); err != nil {
		t.Fatal(err)
	}
	ours := map[string]struct {
		cfg Config
		now int64
	}{
		"stdwebhooks-v1-a":   {Config{Scheme: StandardWebhooks}, 1614265330},
		"svix":               {someConfigs["standard, own names"], 1731705121},
		"github":             {someConfigs["prefixed hex"], 0},
		"shopify-computed-a": {Config{Scheme: HMACSHA256, Header: "X-Shopify-Hmac-SHA256", Encoding: Base64}, 0},
	}
	for _, vector := range file.Vectors {
		c, ok := ours[vector.ID]
		if !ok {
			t.Logf("%s: of another scheme", vector.ID)
			continue
		}
		delete(ours, vector.ID)
		v := newUnlimited(t, c.cfg, vector.Secret)
		if _, err := v.Verify(t.Context(), Request{Header: headers(vector.Headers), Body: []byte(vector.Body)}, time.Unix(c.now, 0)); err != nil {
			t.Errorf("%s: %v", vector.ID, err)
		}
		if _, err := v.Verify(t.Context(), Request{Header: headers(vector.Headers), Body: []byte(vector.Body + " ")}, time.Unix(c.now, 0)); code(t, err) != SignatureMismatch {
			t.Errorf("%s, altered: %v", vector.ID, err)
		}
	}
	for id := range ours {
		t.Errorf("vector %s has gone from the file", id)
	}
}
