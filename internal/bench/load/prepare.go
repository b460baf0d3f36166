package load

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

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
		header, err := signers[target].Sign(MessageID(n), now, body)
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

// apart are headers that are written without the signer.
var apart = map[string]bool{http.CanonicalHeaderKey("Host"): true, http.CanonicalHeaderKey("Content-Length"): true}
