package webhookauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

const (
	whsec    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	whsecTwo = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var noon = time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)

func mustNew(t testing.TB, cfg Config, secrets ...string) *Verifier {
	t.Helper()
	list := make([]Credential, len(secrets))
	for i, s := range secrets {
		list[i].Secret = Secret(s)
	}
	v, err := New(cfg, list, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustSign(t testing.TB, cfg Config, secret, id string, ts time.Time, body string) http.Header {
	t.Helper()
	h, err := Sign(cfg, Secret(secret), id, ts, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// code returns the code of a refusal, "" for none, and fails the test for any other error.
func code(t testing.TB, err error) Code {
	t.Helper()
	if err == nil {
		return ""
	}
	var reason *Reason
	if !errors.As(err, &reason) {
		t.Fatalf("not a Reason: %v", err)
	}
	if reason.Text == "" {
		t.Fatalf("%s without a text", reason.Code)
	}
	return reason.Code
}

var someConfigs = map[string]Config{
	"standard":            {Scheme: StandardWebhooks},
	"standard, own names": {Scheme: StandardWebhooks, Header: "Svix-Signature", TimestampHeader: "svix-timestamp", IDHeader: "SVIX-ID"},
	"hex of body":         {Scheme: HMACSHA256, Header: "X-Signature"},
	"prefixed hex":        {Scheme: HMACSHA256, Header: "X-Hub-Signature-256", Prefix: "sha256=", IDHeader: "X-Delivery"},
	"base64 of body":      {Scheme: HMACSHA256, Header: "x-hmac", Encoding: Base64},
	"hex with time":       {Scheme: HMACSHA256, Header: "X-S", Content: TimestampBody, TimestampHeader: "X-T", ToleranceSeconds: 60},
	"any, stamped list":   {Scheme: HMAC, Header: "X-S", SignatureKey: "v1", TimestampKey: "t", Content: "{timestamp}.{body}"},
	"any, sha512":         {Scheme: HMAC, Header: "X-S", Algorithm: "sha512", Encoding: Base64URL, Content: "{timestamp}:{body}", TimestampHeader: "X-T"},
	"any, tail":           {Scheme: HMAC, Header: "X-S", Content: "{method}{url}{body}{timestamp}", TimestampHeader: "X-T", TimestampUnit: "milliseconds", URL: "https://example.com/hook"},
	"base64 with time":    {Scheme: HMACSHA256, Header: "X-S", Content: TimestampBody, TimestampHeader: "X-T", Encoding: Base64, Prefix: "HMAC-SHA256 "},
}

func TestWhatIsSignedVerifiesUnderEveryConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range someConfigs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := mustNew(t, cfg, whsecTwo, whsec)
			for _, body := range []string{"", "{}", "\x00\xff raw bytes\r\n", strings.Repeat("x", 100_000)} {
				h := mustSign(t, cfg, whsec, "msg_1", noon, body)
				got, err := v.Verify(t.Context(), Request{Header: h, Body: []byte(body)}, noon)
				if err != nil {
					t.Fatalf("%d bytes: %v", len(body), err)
				}
				want := Result{SecretIndex: 1}
				if cfg.Scheme == StandardWebhooks || cfg.IDHeader != "" {
					want.MessageID, want.IDSigned = "msg_1", cfg.Scheme == StandardWebhooks
				}
				if cfg.Scheme == StandardWebhooks || cfg.TimestampHeader != "" || cfg.TimestampKey != "" {
					want.Timestamp = noon
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte(body + " ")}, noon); code(t, err) != SignatureMismatch {
					t.Errorf("one blank more: %v", err)
				}
			}
		})
	}
}

func TestToleranceBoundaryIsInWholeSecondsBothWays(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{Scheme: StandardWebhooks},
		{Scheme: StandardWebhooks, ToleranceSeconds: 1},
		{Scheme: HMACSHA256, Header: "X-S", Content: TimestampBody, TimestampHeader: "X-T"},
		{Scheme: HMACSHA256, Header: "X-S", Content: TimestampBody, TimestampHeader: "X-T", ToleranceSeconds: 86400},
	} {
		tolerance := time.Duration(cfg.ToleranceSeconds) * time.Second
		if tolerance == 0 {
			tolerance = 300 * time.Second
		}
		h := mustSign(t, cfg, whsec, "m", noon, "{}")
		v := mustNew(t, cfg, whsec)
		for _, c := range []struct {
			now  time.Time
			want Code
		}{
			{noon.Add(tolerance), ""},
			{noon.Add(tolerance + 999*time.Millisecond), ""},
			{noon.Add(tolerance + time.Second), TimestampTooOld},
			{noon.Add(-tolerance), ""},
			{noon.Add(-tolerance - time.Millisecond), TimestampInFuture},
			{noon.Add(-tolerance - time.Second), TimestampInFuture},
			{noon.Add(24 * 365 * time.Hour), TimestampTooOld},
			{time.Time{}, TimestampInFuture},
		} {
			if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("{}")}, c.now); code(t, err) != c.want {
				t.Errorf("tolerance %s, now %s: %v, want %q", tolerance, c.now.Sub(noon), err, c.want)
			}
		}
	}
}

// The official library decides alike on every well-formed message, genuine or altered.
func TestOracleAgreesOnWellFormedMessages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, "key")
		secret := Secret("whsec_" + stdBase64(key))
		oracle, err := standardwebhooks.NewWebhook(string(secret))
		if err != nil {
			t.Fatal(err)
		}
		id := rapid.StringMatching(`[!-\-/-~]{1,40}`).Draw(t, "id")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		at := time.Unix(rapid.Int64Range(1, 99_999_999_999).Draw(t, "at"), 0)
		theirs, err := oracle.Sign(id, at, body)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Sign(Config{Scheme: StandardWebhooks}, secret, id, at, body)
		if err != nil {
			t.Fatal(err)
		}
		if h.Get("webhook-signature") != theirs {
			t.Fatalf("we sign %s, the library %s", h.Get("webhook-signature"), theirs)
		}
		now := at
		switch rapid.IntRange(0, 6).Draw(t, "alter") {
		case 1:
			body = append(body, 'x')
		case 2:
			h.Set("webhook-id", id+"x")
		case 3:
			h.Set("webhook-timestamp", fmt.Sprint(at.Unix()+1))
		case 4:
			h.Set("webhook-signature", "v1,"+stdBase64(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "forged")))
		case 5:
			h.Set("webhook-signature", "v2,abc v1a,"+strings.Repeat("A", 86)+"== v1,AAAA  "+theirs)
		case 6:
			h.Set("webhook-signature", strings.Replace(theirs, "v1,", "v1a,", 1))
		}
		v, err := New(Config{Scheme: StandardWebhooks}, Plain(secret), Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, ours := v.Verify(t.Context(), Request{Header: h, Body: body}, now)
		if lib := oracle.VerifyIgnoringTimestamp(body, h); (ours == nil) != (lib == nil) {
			t.Fatalf("we say %v, the library %v", ours, lib)
		}
	})
}

func TestConfigFaultsNameFieldAndLimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no scheme":               {Config{}, "scheme: unknown; want one of acuity, api-key, "},
		"unknown scheme":          {Config{Scheme: "none"}, "scheme: unknown"},
		"standard encoding":       {Config{Scheme: StandardWebhooks, Encoding: Hex}, "encoding: "},
		"standard prefix":         {Config{Scheme: StandardWebhooks, Prefix: "v1,"}, "prefix: "},
		"standard content":        {Config{Scheme: StandardWebhooks, Content: BodyOnly}, "content: "},
		"no header":               {Config{Scheme: HMACSHA256}, "header: missing"},
		"long header":             {Config{Scheme: HMACSHA256, Header: long}, "header: 65 bytes; want at most 64"},
		"header with colon":       {Config{Scheme: HMACSHA256, Header: "X-S:"}, "header: holds a character"},
		"header with line break":  {Config{Scheme: HMACSHA256, Header: "X-S\r\n"}, "header: holds a character"},
		"transport header":        {Config{Scheme: HMACSHA256, Header: "host"}, "header: belongs to the transport"},
		"encoding":                {Config{Scheme: HMACSHA256, Header: "X", Encoding: "base32"}, "encoding: unknown; want hex or base64"},
		"long prefix":             {Config{Scheme: HMACSHA256, Header: "X", Prefix: long}, "prefix: 65 bytes; want at most 32"},
		"prefix with control":     {Config{Scheme: HMACSHA256, Header: "X", Prefix: "a\x00"}, "prefix: want visible"},
		"prefix with first blank": {Config{Scheme: HMACSHA256, Header: "X", Prefix: " a"}, "prefix: want visible"},
		"content":                 {Config{Scheme: HMACSHA256, Header: "X", Content: "url.body"}, `content: unknown; want "body" or "timestamp.body"`},
		"unsigned timestamp":      {Config{Scheme: HMACSHA256, Header: "X", TimestampHeader: "T"}, "timestamp_header: a timestamp that is not signed"},
		"tolerance of nothing":    {Config{Scheme: HMACSHA256, Header: "X", ToleranceSeconds: 5}, "tolerance_seconds: only has a meaning"},
		"no timestamp header":     {Config{Scheme: HMACSHA256, Header: "X", Content: TimestampBody}, "timestamp_header: missing"},
		"negative tolerance":      {Config{Scheme: StandardWebhooks, ToleranceSeconds: -1}, "tolerance_seconds: -1; want 1 to 86400"},
		"large tolerance":         {Config{Scheme: StandardWebhooks, ToleranceSeconds: 86401}, "tolerance_seconds: 86401; want 1 to 86400"},
		"same header twice":       {Config{Scheme: StandardWebhooks, IDHeader: "Webhook-Signature"}, "id_header: same header as header"},
		"time in the signature":   {Config{Scheme: HMACSHA256, Header: "x-s", Content: TimestampBody, TimestampHeader: "X-S"}, "timestamp_header: same header as header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.cfg.Validate()
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if _, newErr := New(c.cfg, Plain(Secret(whsec)), Options{}); fmt.Sprint(newErr) != fmt.Sprint(err) {
				t.Errorf("New says %v", newErr)
			}
		})
	}
}

func TestConfigSurvivesJSONAndIsNotChangedByUse(t *testing.T) {
	t.Parallel()
	for name, cfg := range someConfigs {
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var back Config
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		mustNew(t, cfg, whsec)
		if diff := cmp.Diff(cfg, back); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if text, _ := json.Marshal(Config{Scheme: StandardWebhooks}); string(text) != `{"scheme":"standard-webhooks"}` {
		t.Errorf("stored form changed: %s", text)
	}
}

func TestSecretFaultsNameTheLimitAndHideTheSecret(t *testing.T) {
	t.Parallel()
	standard := Config{Scheme: StandardWebhooks}
	generic := Config{Scheme: HMACSHA256, Header: "X"}
	for name, c := range map[string]struct {
		cfg     Config
		secrets []string
		want    string
	}{
		"none":                {standard, nil, "secrets: 0; want 1 to 8"},
		"nine":                {standard, strings.Fields(strings.Repeat(whsec+" ", 9)), "secrets: 9; want 1 to 8"},
		"empty":               {standard, []string{""}, "secrets[0]: 0 bytes after decoding; want 24 to 64"},
		"prefix alone":        {standard, []string{"whsec_"}, "secrets[0]: 0 bytes"},
		"23 bytes":            {standard, []string{whsec, "whsec_" + stdBase64(make([]byte, 23))}, "secrets[1]: 23 bytes after decoding; want 24 to 64"},
		"65 bytes":            {standard, []string{"whsec_" + stdBase64(make([]byte, 65))}, "secrets[0]: 65 bytes after decoding"},
		"huge":                {standard, []string{"whsec_" + strings.Repeat("A", 4000)}, "secrets[0]: too long"},
		"not base64":          {standard, []string{"whsec_SecretButNotBase64!"}, "secrets[0]: want whsec_ and standard base64"},
		"short public key":    {standard, []string{"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbO"}, "secrets[0]: want standard base64 of an Ed25519 public key, 32 bytes"},
		"private ed25519 key": {standard, []string{"whsk_xxxx"}, "secrets[0]: whsk_ keys are the sender's own"},
		"15 raw bytes":        {generic, []string{"SecretSecret_15"}, "secrets[0]: 15 bytes; want 16 to 512"},
		"513 raw bytes":       {generic, []string{strings.Repeat("S", 513)}, "secrets[0]: 513 bytes; want 16 to 512"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := make([]Credential, len(c.secrets))
			for i, s := range c.secrets {
				list[i].Secret = Secret(s)
			}
			_, err := New(c.cfg, list, Options{})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "Secret") || strings.Contains(err.Error(), "1SiA") {
				t.Errorf("shows the secret: %v", err)
			}
		})
	}
	for _, s := range []string{"whsec_" + stdBase64(make([]byte, 24)), "whsec_" + stdBase64(make([]byte, 64)), stdBase64(make([]byte, 32))} {
		mustNew(t, standard, s)
	}
	mustNew(t, generic, strings.Repeat("s", 16), strings.Repeat("s", 512))
}

func TestSecretNeverPrintsItself(t *testing.T) {
	t.Parallel()
	s := Secret("hush-hush-hush-hush")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "list", []Secret{s})
	out := fmt.Sprintf("%v %+v %#v %s %q %x %v", s, s, s, s, s, s, []Secret{s}) + s.String() + log.String()
	if strings.Contains(out, "hush") || strings.Contains(out, "68757368") || strings.Contains(out, "104 117") {
		t.Error(out)
	}
	if text, err := json.Marshal(struct{ S Secret }{s}); err == nil {
		t.Errorf("became JSON: %s", text)
	}
}

func TestSignRefusesWhatVerifyWouldRefuse(t *testing.T) {
	t.Parallel()
	standard := Config{Scheme: StandardWebhooks}
	timed := someConfigs["hex with time"]
	for name, c := range map[string]struct {
		cfg  Config
		id   string
		at   time.Time
		want string
	}{
		"no id":               {standard, "", noon, "id: want 1 to 256"},
		"dot in id":           {standard, "a.b", noon, "no dot"},
		"long id":             {standard, strings.Repeat("i", 257), noon, "id: want 1 to 256"},
		"before 1970":         {standard, "m", time.Unix(-1, 0), "timestamp: want a time from 1970"},
		"far future":          {timed, "m", time.Unix(1_000_000_000_000, 0), "at most 12 digits"},
		"line break in an id": {someConfigs["prefixed hex"], "a\r\nb", noon, "id: want 1 to 256"},
	} {
		if _, err := Sign(c.cfg, Secret(whsec), c.id, c.at, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Sign(Config{}, Secret(whsec), "m", noon, nil); err == nil {
		t.Error("signed without a scheme")
	}
}

func TestManyGoroutinesShareOneVerifier(t *testing.T) {
	t.Parallel()
	for name, cfg := range someConfigs {
		v := mustNew(t, cfg, whsecTwo, whsec)
		var wg sync.WaitGroup
		for g := range 4 {
			body := fmt.Sprintf(`{"sender":%d}`, g)
			h := mustSign(t, cfg, whsec, fmt.Sprint("msg_", g), noon, body)
			wg.Go(func() {
				for range 200 {
					if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte(body)}, noon); err != nil {
						t.Errorf("%s: genuine: %v", name, err)
						return
					}
					if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte(body + "x")}, noon); err == nil {
						t.Errorf("%s: altered body passed", name)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestVerifyDoesNotAllocate(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector makes sync.Pool drop states at random, so allocations say nothing")
	}
	body := bytes.Repeat([]byte("x"), 1024)
	for name, cfg := range someConfigs {
		h := mustSign(t, cfg, whsec, "msg_1", noon, string(body))
		v := mustNew(t, cfg, whsecTwo, whsec)
		req := Request{Header: h, Body: body}
		if n := testing.AllocsPerRun(500, func() {
			if _, err := v.Verify(t.Context(), req, noon); err != nil {
				t.Fatal(err)
			}
		}); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkVerify1KiB(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1024)
	for name, cfg := range someConfigs {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			v := mustNew(b, cfg, whsec)
			req := Request{Header: mustSign(b, cfg, whsec, "msg_1", noon, string(body)), Body: body}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), req, noon); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
		})
	}
}

func BenchmarkRefuse1KiB(b *testing.B) {
	v := mustNew(b, Config{Scheme: StandardWebhooks}, whsec)
	req := Request{Header: mustSign(b, Config{Scheme: StandardWebhooks}, whsecTwo, "msg_1", noon, "x"), Body: make([]byte, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), req, noon); err == nil {
			b.Fatal("passed")
		}
	}
}

func TestACredentialEndsAtItsTimeAndIsNamed(t *testing.T) {
	t.Parallel()
	cfg := Config{Scheme: StandardWebhooks}
	v, err := New(cfg, []Credential{{ID: "new", Secret: Secret(whsec)}, {ID: "old", Secret: Secret(whsecTwo), NotAfter: noon}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		secret, credential string
		now                time.Time
		want               Code
	}{
		{whsec, "new", noon.Add(time.Hour), ""},
		{whsecTwo, "old", noon, ""},
		{whsecTwo, "", noon.Add(time.Second), CredentialExpired},
	} {
		h := mustSign(t, cfg, c.secret, "msg_1", c.now, "{}")
		got, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("{}")}, c.now)
		if code(t, err) != c.want || got.Credential != c.credential {
			t.Errorf("%s at %s: %q, %v; want %q, %q", c.credential, c.now, got.Credential, err, c.credential, c.want)
		}
	}
}

// TestASenderThatStillSignsByAnEndedSecretTooPasses is about senders that sign by two secrets while one replaces the other, and
// go on with the old one for longer than the operator let it count.
func TestASenderThatStillSignsByAnEndedSecretTooPasses(t *testing.T) {
	t.Parallel()
	const third = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	credentials := func(ends ...time.Time) []Credential {
		return []Credential{{ID: "old", Secret: Secret(whsec), NotAfter: ends[0]}, {ID: "older", Secret: Secret(third), NotAfter: ends[1]}, {ID: "new", Secret: Secret(whsecTwo)}}
	}
	ended := noon.Add(-time.Hour)
	for name, cfg := range map[string]struct {
		Config
		header, part string // of a list of signatures, and what parts them
	}{
		"standard webhooks": {Config{Scheme: StandardWebhooks}, "Webhook-Signature", " "},
		"svix":              {Config{Scheme: Svix}, "Svix-Signature", " "},
		"stripe":            {Config{Scheme: Stripe}, "Stripe-Signature", ","},
		"calendly":          {Config{Scheme: Calendly}, "Calendly-Webhook-Signature", ","},
		"list without time": {Config{Scheme: HMAC, Header: "X-Signature", SignatureKey: "v1"}, "X-Signature", ","},
	} {
		// by makes a request that is signed by several secrets.
		by := func(secrets ...string) http.Header {
			h := mustSign(t, cfg.Config, secrets[0], "msg_1", noon, "{}")
			for _, secret := range secrets[1:] {
				more := mustSign(t, cfg.Config, secret, "msg_1", noon, "{}").Get(cfg.header)
				if _, signature, listed := strings.Cut(more, ",v1="); listed {
					more = "v1=" + signature // without its time
				}
				h.Set(cfg.header, h.Get(cfg.header)+cfg.part+more)
			}
			return h
		}
		for what, c := range map[string]struct {
			ends       []time.Time
			header     http.Header
			credential string
			want       Code
		}{
			"both, old first":           {[]time.Time{ended, {}}, by(whsec, whsecTwo), "new", ""},
			"both, new first":           {[]time.Time{ended, {}}, by(whsecTwo, whsec), "new", ""},
			"three, two of them ended":  {[]time.Time{ended, ended}, by(whsec, third, whsecTwo), "new", ""},
			"two, the second counts":    {[]time.Time{ended, {}}, by(whsec, third), "older", ""},
			"nothing but the old one":   {[]time.Time{ended, {}}, by(whsec), "", CredentialExpired},
			"two, and both have ended":  {[]time.Time{ended, ended}, by(whsec, third), "", CredentialExpired},
			"both while the old counts": {[]time.Time{noon, {}}, by(whsec, whsecTwo), "old", ""},
		} {
			v, err := New(cfg.Config, credentials(c.ends...), Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for range 2 { // also once what is left is known
				got, err := v.Verify(t.Context(), Request{Header: c.header, Body: []byte("{}")}, noon)
				if code(t, err) != c.want || got.Credential != c.credential {
					t.Errorf("%s, %s: credential %q, %v; want %q, %q", name, what, got.Credential, err, c.credential, c.want)
				}
			}
		}
	}
}
