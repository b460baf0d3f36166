package webhookauth

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Each case is one way to get a forged, altered or replayed request accepted, or to make the verifier fall over. The
// request starts out genuine and fresh.
func TestAttacksOnStandardWebhooks(t *testing.T) {
	t.Parallel()
	const body = `{"booking":1}`
	cfg := Config{Scheme: StandardWebhooks}
	const id, ts, sig = "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"
	signWith := func(secret, id string, at time.Time, body string) string {
		return mustSign(t, cfg, secret, id, at, body).Get(sig)
	}
	// rawSign signs any string, for forgeries of the shape of the signed content by somebody who has the secret.
	rawSign := func(content string) string {
		key, err := standardKey(Secret(whsec))
		if err != nil {
			t.Fatal(err)
		}
		s := newMACKeys([][]byte{key[1:]})[0].get()
		s.compute([]byte(content))
		return "v1," + stdBase64(s.sum[:32])
	}
	stamp := "1781956800" // noon
	for name, c := range map[string]struct {
		alter func(h http.Header) string // returns the body
		want  Code
	}{
		"signature header absent is not taken as unsigned": {func(h http.Header) string { h.Del(sig); return body }, MissingHeader},
		"signature header empty":                           {func(h http.Header) string { h.Set(sig, ""); return body }, MissingHeader},
		"signature header of blanks":                       {func(h http.Header) string { h.Set(sig, "   "); return body }, NoSupportedSignature},
		"id absent":                                        {func(h http.Header) string { h.Del(id); return body }, MissingHeader},
		"timestamp absent":                                 {func(h http.Header) string { h.Del(ts); return body }, MissingHeader},
		"no headers at all":                                {func(h http.Header) string { clear(h); return body }, MissingHeader},
		"body altered":                                     {func(http.Header) string { return `{"booking":2}` }, SignatureMismatch},
		"body cut off":                                     {func(http.Header) string { return body[:5] }, SignatureMismatch},
		"body emptied":                                     {func(http.Header) string { return "" }, SignatureMismatch},
		"body re-serialised": {func(http.Header) string {
			return `{ "booking": 1 }`
		}, SignatureMismatch},
		"form body is not verified again as the JSON it stands for": {func(http.Header) string {
			return url.Values{"booking": {"1"}}.Encode()
		}, SignatureMismatch},
		"id swapped":          {func(h http.Header) string { h.Set(id, "msg_2"); return body }, SignatureMismatch},
		"timestamp refreshed": {func(h http.Header) string { h.Set(ts, "1781956801"); return body }, SignatureMismatch},
		"replay after the tolerance": {func(h http.Header) string {
			h.Set(ts, "1781956499")
			h.Set(sig, signWith(whsec, "msg_1", noon.Add(-301*time.Second), body))
			return body
		}, TimestampTooOld},
		"stamp from the future to be replayed later": {func(h http.Header) string {
			h.Set(ts, "1781957101")
			h.Set(sig, signWith(whsec, "msg_1", noon.Add(301*time.Second), body))
			return body
		}, TimestampInFuture},
		"fields shifted by a dot in the id": {func(h http.Header) string {
			h.Set(id, "msg_1."+stamp)
			h.Set(sig, rawSign("msg_1."+stamp+"."+stamp+"."+body))
			return body
		}, MalformedID},
		"fields shifted by a dot in the timestamp": {func(h http.Header) string {
			h.Set(ts, stamp+".1")
			h.Set(sig, rawSign("msg_1."+stamp+".1."+body))
			return body
		}, MalformedTimestamp},
		"timestamp with plus sign": {func(h http.Header) string {
			h.Set(ts, "+"+stamp)
			return body
		}, MalformedTimestamp},
		"timestamp with plus sign, signed so": {func(h http.Header) string {
			h.Set(ts, "+"+stamp)
			h.Set(sig, rawSign("msg_1.+"+stamp+"."+body))
			return body
		}, MalformedTimestamp},
		"timestamp with leading zero":      {func(h http.Header) string { h.Set(ts, "0"+stamp); return body }, MalformedTimestamp},
		"timestamp negative":               {func(h http.Header) string { h.Set(ts, "-"+stamp); return body }, MalformedTimestamp},
		"timestamp in milliseconds":        {func(h http.Header) string { h.Set(ts, stamp+"000"); return body }, MalformedTimestamp},
		"timestamp as a date":              {func(h http.Header) string { h.Set(ts, noon.Format(time.RFC3339)); return body }, MalformedTimestamp},
		"timestamp with exponent":          {func(h http.Header) string { h.Set(ts, "1e9"); return body }, MalformedTimestamp},
		"timestamp in other digits":        {func(h http.Header) string { h.Set(ts, "١٧٨١٩٥٦٨٠٠"); return body }, MalformedTimestamp},
		"timestamp with underscore":        {func(h http.Header) string { h.Set(ts, "1_781956800"); return body }, MalformedTimestamp},
		"timestamp in hexadecimal":         {func(h http.Header) string { h.Set(ts, "0x6a368940"); return body }, MalformedTimestamp},
		"timestamp that overflows":         {func(h http.Header) string { h.Set(ts, "18446744075491508416"); return body }, MalformedTimestamp},
		"timestamp with blank":             {func(h http.Header) string { h.Set(ts, stamp+" "); return body }, MalformedTimestamp},
		"timestamp zero":                   {func(h http.Header) string { h.Set(ts, "0"); return body }, TimestampTooOld},
		"signature header twice":           {func(h http.Header) string { h.Add(sig, "v1,AAAA"); return body }, DuplicateHeader},
		"signature header twice, the same": {func(h http.Header) string { h.Add(sig, h.Get(sig)); return body }, DuplicateHeader},
		"id header twice":                  {func(h http.Header) string { h.Add(id, "msg_2"); return body }, DuplicateHeader},
		"timestamp header twice":           {func(h http.Header) string { h.Add(ts, stamp); return body }, DuplicateHeader},
		"signature of another secret":      {func(h http.Header) string { h.Set(sig, signWith(whsecTwo, "msg_1", noon, body)); return body }, SignatureMismatch},
		"signature with the empty key":     {func(h http.Header) string { h.Set(sig, "v1,"+emptyKeySignature("msg_1."+stamp+"."+body)); return body }, SignatureMismatch},
		"signature of zeros":               {func(h http.Header) string { h.Set(sig, "v1,"+stdBase64(make([]byte, 32))); return body }, SignatureMismatch},
		"signature cut to a prefix":        {func(h http.Header) string { h.Set(sig, h.Get(sig)[:20]); return body }, NoSupportedSignature},
		"signature that is empty":          {func(h http.Header) string { h.Set(sig, "v1,"); return body }, NoSupportedSignature},
		"signature with an appendix":       {func(h http.Header) string { h.Set(sig, h.Get(sig)+",x"); return body }, NoSupportedSignature},
		"signature in the url alphabet": {func(h http.Header) string {
			h.Set(sig, "v1,"+strings.Repeat("-_", 21)+"-=")
			return body
		}, SignatureMismatch},
		"signature in hex":          {func(h http.Header) string { h.Set(sig, "v1,"+hex.EncodeToString(make([]byte, 32))); return body }, NoSupportedSignature},
		"signature without version": {func(h http.Header) string { h.Set(sig, strings.TrimPrefix(h.Get(sig), "v1,")); return body }, NoSupportedSignature},
		"version in capitals":       {func(h http.Header) string { h.Set(sig, "V"+h.Get(sig)[1:]); return body }, NoSupportedSignature},
		"downgrade to version 0":    {func(h http.Header) string { h.Set(sig, "v0"+h.Get(sig)[2:]); return body }, NoSupportedSignature},
		"version none":              {func(h http.Header) string { h.Set(sig, "none,"); return body }, NoSupportedSignature},
		"v1 code passed off as v1a": {func(h http.Header) string { h.Set(sig, "v1a"+h.Get(sig)[2:]); return body }, NoSupportedSignature},
		"list parted by commas":     {func(h http.Header) string { h.Set(sig, "v1,AAAA,"+h.Get(sig)); return body }, NoSupportedSignature},
		"list parted by tabs":       {func(h http.Header) string { h.Set(sig, "v2,x\t"+h.Get(sig)); return body }, NoSupportedSignature},
		"seventeen signatures":      {func(h http.Header) string { h.Set(sig, strings.Repeat("v9,x ", 16)+h.Get(sig)); return body }, TooManySignatures},
		"signature header of 1 MiB": {func(h http.Header) string { h.Set(sig, strings.Repeat("v1,", 1<<20/3)); return body }, HeaderTooLong},
		"id of 1 MiB":               {func(h http.Header) string { h.Set(id, strings.Repeat("i", 1<<20)); return body }, HeaderTooLong},
		"timestamp of 1 MiB":        {func(h http.Header) string { h.Set(ts, strings.Repeat("1", 1<<20)); return body }, HeaderTooLong},
		"id with a blank":           {func(h http.Header) string { h.Set(id, "msg 1"); return body }, MalformedID},
		"id with a line break":      {func(h http.Header) string { h.Set(id, "msg\n1"); return body }, MalformedID},
		"id with a zero byte":       {func(h http.Header) string { h.Set(id, "msg\x001"); return body }, MalformedID},
		"id outside ASCII":          {func(h http.Header) string { h.Set(id, "msg_é"); return body }, MalformedID},
		"headers not in the map's canonical form are not found": {func(h http.Header) string {
			h["webhook-signature"] = h[sig]
			h.Del(sig)
			return body
		}, MissingHeader},
		// Not attacks: what must keep working beside the refusals above.
		"untouched":                     {func(http.Header) string { return body }, ""},
		"match after unknown versions":  {func(h http.Header) string { h.Set(sig, "v2,abc v1a,def x "+h.Get(sig)); return body }, ""},
		"match after a malformed entry": {func(h http.Header) string { h.Set(sig, "v1,%%% v1,AAAA "+h.Get(sig)); return body }, ""},
		"match after another secret's": {func(h http.Header) string {
			h.Set(sig, signWith(whsecTwo, "msg_1", noon, body)+" "+h.Get(sig))
			return body
		}, ""},
		"match in front":       {func(h http.Header) string { h.Set(sig, h.Get(sig)+" v1,AAAA"); return body }, ""},
		"sixteenth of sixteen": {func(h http.Header) string { h.Set(sig, strings.Repeat("v9,x ", 15)+h.Get(sig)); return body }, ""},
		"double blanks":        {func(h http.Header) string { h.Set(sig, "  v9,x   "+h.Get(sig)+" "); return body }, ""},
		"other headers":        {func(h http.Header) string { h.Set("X-Other", "a.b"); return body }, ""},
		"empty body": {func(h http.Header) string {
			h.Set(sig, signWith(whsec, "msg_1", noon, ""))
			return ""
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := mustSign(t, cfg, whsec, "msg_1", noon, body)
			sent := c.alter(h)
			got, err := mustNew(t, cfg, whsec).Verify(t.Context(), Request{Header: h, Body: []byte(sent)}, noon)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err != nil && got != (Result{}) {
				t.Errorf("result beside a refusal: %+v", got)
			}
			if err != nil && (strings.Contains(err.Error(), "booking") || strings.Contains(err.Error(), h.Get(sig)) && len(h.Get(sig)) > 8) {
				t.Errorf("reason repeats the request: %v", err)
			}
		})
	}
}

func TestAttacksOnGenericHMAC(t *testing.T) {
	t.Parallel()
	const body = `{"booking":1}`
	const secret = "a-shared-secret-of-some-length"
	hub := Config{Scheme: HMACSHA256, Header: "X-Sig", Prefix: "sha256=", IDHeader: "X-Id"}
	b64 := Config{Scheme: HMACSHA256, Header: "X-Sig", Encoding: Base64}
	timed := Config{Scheme: HMACSHA256, Header: "X-Sig", Content: TimestampBody, TimestampHeader: "X-Time"}
	set := func(name string, f func(string) string) func(http.Header) string {
		return func(h http.Header) string { h.Set(name, f(h.Get(name))); return body }
	}
	for name, c := range map[string]struct {
		cfg   Config
		alter func(h http.Header) string
		want  Code
	}{
		"signature header absent is not taken as unsigned": {hub, func(h http.Header) string { h.Del("X-Sig"); return body }, MissingHeader},
		"signature header empty":                           {hub, set("X-Sig", func(string) string { return "" }), MissingHeader},
		"prefix alone":                                     {hub, set("X-Sig", func(string) string { return "sha256=" }), MalformedSignature},
		"prefix absent":                                    {hub, set("X-Sig", func(s string) string { return s[7:] }), MalformedSignature},
		"another prefix":                                   {hub, set("X-Sig", func(s string) string { return "sha512=" + s[7:] }), MalformedSignature},
		"downgrade to sha1":                                {hub, set("X-Sig", func(s string) string { return "sha1=" + s[7:47] }), MalformedSignature},
		"prefix in capitals":                               {hub, set("X-Sig", strings.ToUpper), MalformedSignature},
		"prefix where none is configured":                  {b64, set("X-Sig", func(s string) string { return "sha256=" + s }), MalformedSignature},
		"signature cut by one":                             {hub, set("X-Sig", func(s string) string { return s[:len(s)-1] }), MalformedSignature},
		"signature with an appendix":                       {hub, set("X-Sig", func(s string) string { return s + "00" }), MalformedSignature},
		"signature not hex":                                {hub, set("X-Sig", func(s string) string { return "sha256=" + strings.Repeat("zz", 32) }), MalformedSignature},
		"signature of zeros":                               {hub, set("X-Sig", func(s string) string { return "sha256=" + strings.Repeat("0", 64) }), SignatureMismatch},
		"list of signatures in one value":                  {hub, set("X-Sig", func(s string) string { return s + ", " + s }), MalformedSignature},
		"signature header twice":                           {hub, func(h http.Header) string { h.Add("X-Sig", h.Get("X-Sig")); return body }, DuplicateHeader},
		"signature of 1 MiB":                               {hub, set("X-Sig", func(string) string { return strings.Repeat("a", 1<<20) }), HeaderTooLong},
		"base64 without padding":                           {b64, set("X-Sig", func(s string) string { return strings.TrimRight(s, "=") }), MalformedSignature},
		"base64 with other spare bits":                     {b64, set("X-Sig", otherSpareBits), SignatureMismatch},
		"base64 in the url alphabet":                       {b64, set("X-Sig", func(string) string { return strings.Repeat("-_", 21) + "-=" }), SignatureMismatch},
		"hex where base64 is configured":                   {b64, set("X-Sig", func(string) string { return strings.Repeat("0", 64) }), MalformedSignature},
		"body altered":                                     {hub, func(http.Header) string { return `{"booking":2}` }, SignatureMismatch},
		"body cut off":                                     {hub, func(http.Header) string { return body[:5] }, SignatureMismatch},
		"body emptied":                                     {hub, func(http.Header) string { return "" }, SignatureMismatch},
		"line break at the end of the body":                {hub, func(http.Header) string { return body + "\n" }, SignatureMismatch},
		"id twice":                                         {hub, func(h http.Header) string { h.Add("X-Id", "2"); return body }, DuplicateHeader},
		"id empty":                                         {hub, func(h http.Header) string { h.Set("X-Id", ""); return body }, MalformedID},
		"id with a line break":                             {hub, func(h http.Header) string { h.Set("X-Id", "a\nb"); return body }, MalformedID},
		"id too long":                                      {hub, func(h http.Header) string { h.Set("X-Id", strings.Repeat("i", 257)); return body }, HeaderTooLong},
		"timestamp absent":                                 {timed, func(h http.Header) string { h.Del("X-Time"); return body }, MissingHeader},
		"timestamp twice":                                  {timed, func(h http.Header) string { h.Add("X-Time", h.Get("X-Time")); return body }, DuplicateHeader},
		"timestamp refreshed":                              {timed, set("X-Time", func(string) string { return "1781956801" }), SignatureMismatch},
		"timestamp with plus sign":                         {timed, set("X-Time", func(s string) string { return "+" + s }), MalformedTimestamp},
		"timestamp with leading zero":                      {timed, set("X-Time", func(s string) string { return "0" + s }), MalformedTimestamp},
		"timestamp of old":                                 {timed, set("X-Time", func(string) string { return "1" }), TimestampTooOld},
		"timestamp far ahead":                              {timed, set("X-Time", func(string) string { return "999999999999" }), TimestampInFuture},
		"digits moved from the timestamp into the body":    {timed, func(h http.Header) string { h.Set("X-Time", "178195680"); return "0." + body }, TimestampTooOld},
		"body-only signature where time is signed": {timed, func(h http.Header) string {
			h.Set("X-Sig", mustSign(t, Config{Scheme: HMACSHA256, Header: "X-Sig"}, secret, "", noon, body).Get("X-Sig"))
			return body
		}, SignatureMismatch},
		// Not attacks.
		"untouched":            {hub, func(http.Header) string { return body }, ""},
		"hex in capitals":      {timed, set("X-Sig", strings.ToUpper), ""},
		"id left out":          {hub, func(h http.Header) string { h.Del("X-Id"); return body }, ""},
		"id replaced":          {hub, func(h http.Header) string { h.Set("X-Id", "a.b"); return body }, ""},
		"base64":               {b64, func(http.Header) string { return body }, ""},
		"time and body signed": {timed, func(http.Header) string { return body }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := mustSign(t, c.cfg, secret, "id-1", noon, body)
			sent := c.alter(h)
			got, err := mustNew(t, c.cfg, secret).Verify(t.Context(), Request{Header: h, Body: []byte(sent)}, noon)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if got.IDSigned {
				t.Error("an id outside the signature counts as signed")
			}
			if err != nil && got != (Result{}) {
				t.Errorf("result beside a refusal: %+v", got)
			}
		})
	}
}

// otherSpareBits changes bits of the last character that a lenient decoder ignores.
func otherSpareBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(s) - 2
	i := strings.IndexByte(alphabet, s[last])
	return s[:last] + string(alphabet[i^1]) + "="
}
