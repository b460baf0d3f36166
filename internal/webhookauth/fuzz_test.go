package webhookauth

import (
	"net/http"
	"strconv"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Whatever the headers say, we never accept what the official library refuses, and never panic.
func FuzzStandardWebhooks(f *testing.F) {
	good := mustSign(f, Config{Scheme: StandardWebhooks}, whsec, "msg_1", noon, "{}")
	sig := good.Get("webhook-signature")
	f.Add("msg_1", "1781956800", sig, []byte("{}"))
	f.Add("msg_1", "+1781956800", "v1a,x "+sig, []byte("{}"))
	f.Add("msg.1", "01781956800", "  v1, v1,,, "+sig, []byte(nil))
	f.Add("", "", "", []byte("x"))
	v := mustNew(f, Config{Scheme: StandardWebhooks}, whsecTwo, whsec)
	oracle, err := standardwebhooks.NewWebhook(whsec)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, ts, sig string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {ts}, "Webhook-Signature": {sig}}
		_, err := v.Verify(t.Context(), Request{Header: h, Body: body}, noon)
		code(t, err)
		if err == nil && oracle.VerifyIgnoringTimestamp(body, h) != nil {
			t.Fatalf("accepted what the library refuses: %q %q %q", id, ts, sig)
		}
	})
}

func FuzzGenericHMAC(f *testing.F) {
	cfgs := []Config{someConfigs["prefixed hex"], someConfigs["base64 with time"], someConfigs["hex with time"]}
	verifiers := make([]*Verifier, len(cfgs))
	for i, cfg := range cfgs {
		verifiers[i] = mustNew(f, cfg, whsec)
		h := mustSign(f, cfg, whsec, "id", noon, "{}")
		f.Add(h.Get(cfg.Header), h.Get(cfg.TimestampHeader), "id", []byte("{}"))
	}
	f.Fuzz(func(t *testing.T, sig, ts, id string, body []byte) {
		for i, cfg := range cfgs {
			h := http.Header{}
			h.Set(cfg.Header, sig)
			if cfg.TimestampHeader != "" {
				h.Set(cfg.TimestampHeader, ts)
			}
			if cfg.IDHeader != "" {
				h.Set(cfg.IDHeader, id)
			}
			got, err := verifiers[i].Verify(t.Context(), Request{Header: h, Body: body}, noon)
			if code(t, err) != "" {
				continue
			}
			// Accepted: signing the same must give the same code.
			again := mustSign(t, cfg, whsec, got.MessageID, got.Timestamp, string(body))
			if _, err := verifiers[i].Verify(t.Context(), Request{Header: again, Body: body}, noon); err != nil || len(again.Get(cfg.Header)) != len(sig) {
				t.Fatalf("accepted %q, but signing gives %q (%v)", sig, again.Get(cfg.Header), err)
			}
		}
	})
}

func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"0", "1781956800", "01", "+1", "-1", "999999999999", "1000000000000", "1e3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTimestamp(s)
		want, err := strconv.ParseInt(s, 10, 64)
		canonical := err == nil && want >= 0 && strconv.FormatInt(want, 10) == s && len(s) <= MaxTimestampDigits
		if ok != canonical || (ok && got != want) {
			t.Fatalf("%q: %d %v, want %d %v", s, got, ok, want, canonical)
		}
	})
}
