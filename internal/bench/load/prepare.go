package load

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// prepare makes the texts of cfg.Prepared messages, signed at now and posted to the targets in turn.
func prepare(cfg Config, now time.Time) ([][]byte, error) {
	signers := make([]*webhookauth.Verifier, len(cfg.Targets))
	bodies := make([]*request, len(cfg.Targets))
	for i, t := range cfg.Targets {
		var err error
		if signers[i], err = webhookauth.New(cfg.Auth, webhookauth.Plain(webhookauth.Secret(t.Text)), webhookauth.Options{}); err != nil {
			return nil, err
		}
		if bodies[i], err = newRequest(cfg.Addr, t, cfg.BodyBytes, 0, 1); err != nil {
			return nil, err
		}
	}
	ready := make([][]byte, cfg.Prepared)
	var text bytes.Buffer
	for i := range ready {
		n, target := cfg.First+uint64(i), i%len(cfg.Targets)
		body := bodies[target].next(n, now)[bodies[target].body:]
		header, err := signed(cfg, signers[target], MessageID(n), now, body)
		if err != nil {
			return nil, err
		}
		if header.Get("Content-Type") == "" {
			header.Set("Content-Type", "application/json")
		}
		text.Reset()
		fmt.Fprintf(&text, "POST /v1/webhooks/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", cfg.Targets[target].Integration, cfg.Addr, len(body))
		if err := header.WriteSubset(&text, apart); err != nil {
			return nil, err
		}
		text.WriteString("\r\n")
		text.Write(body)
		ready[i] = bytes.Clone(text.Bytes())
	}
	return ready, nil
}

// signed returns the headers of a genuine message. A receiver's verifier cannot sign for schemes with public keys.
func signed(cfg Config, v *webhookauth.Verifier, id string, now time.Time, body []byte) (http.Header, error) {
	if len(cfg.Private) == 0 {
		return v.Sign(id, now, body)
	}
	h := make(http.Header, 4)
	switch cfg.Auth.Scheme {
	case webhookauth.StandardWebhooks:
		stamp := strconv.FormatInt(now.Unix(), 10)
		signature := ed25519.Sign(cfg.Private, append([]byte(id+"."+stamp+"."), body...))
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", stamp)
		h.Set("Webhook-Signature", "v1a,"+base64.StdEncoding.EncodeToString(signature))
	case webhookauth.JWTBearer:
		claims := jwt.MapClaims{"iss": cfg.Auth.JWT.Issuer, "aud": cfg.Auth.JWT.Audience, "jti": id, "exp": now.Add(10 * time.Minute).Unix()}
		token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(cfg.Private)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+token)
	default:
		return nil, fmt.Errorf("scheme %s: not signed with a private key here", cfg.Auth.Scheme)
	}
	return h, nil
}

// apart are headers that are written without the signer.
var apart = map[string]bool{http.CanonicalHeaderKey("Host"): true, http.CanonicalHeaderKey("Content-Length"): true}
