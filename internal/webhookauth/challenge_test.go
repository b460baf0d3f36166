package webhookauth

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"
)

const verifyToken = "a-verify-token-made-up"

func withHandshake(t testing.TB, h Handshake, credentials ...Credential) *Verifier {
	t.Helper()
	if len(credentials) == 0 {
		credentials = Plain(Secret(whsec))
	}
	v, err := New(Config{Scheme: GitHub, Challenge: h}, credentials, Options{VerifyToken: Secret(verifyToken)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHandshakesAreAnsweredOrNotTaken(t *testing.T) {
	t.Parallel()
	const meta = "hub.mode=subscribe&hub.verify_token=" + verifyToken + "&hub.challenge="
	for name, c := range map[string]struct {
		handshake     Handshake
		method, query string
		want          string // "" for no answer
	}{
		"Graph":                             {GraphHandshake, "POST", "validationToken=Validation%3A+Testing+client", "Validation: Testing client"},
		"Graph, markup is escaped":          {GraphHandshake, "POST", "validationToken=%3Cscript%3E%22%26%27", "&lt;script&gt;&#34;&amp;&#39;"},
		"Graph, 1 KiB":                      {GraphHandshake, "POST", "validationToken=" + strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		"Graph, more":                       {GraphHandshake, "POST", "validationToken=" + strings.Repeat("x", 1025), ""},
		"Graph, a query of 1 MiB":           {GraphHandshake, "POST", "validationToken=x&y=" + strings.Repeat("y", 1<<20), ""},
		"Graph, twice":                      {GraphHandshake, "POST", "validationToken=x&validationToken=y", ""},
		"Graph, empty":                      {GraphHandshake, "POST", "validationToken=", ""},
		"Graph, line break":                 {GraphHandshake, "POST", "validationToken=a%0d%0ab", ""},
		"Graph, not UTF-8":                  {GraphHandshake, "POST", "validationToken=%ff", ""},
		"Graph, broken escape":              {GraphHandshake, "POST", "validationToken=%zz", ""},
		"Graph, by GET":                     {GraphHandshake, "GET", "validationToken=x", ""},
		"Graph, no query":                   {GraphHandshake, "POST", "", ""},
		"Graph, where none is set":          {"", "POST", "validationToken=x", ""},
		"Meta":                              {MetaHandshake, "GET", meta + "1158201444", "1158201444"},
		"Meta, another token":               {MetaHandshake, "GET", strings.Replace(meta, "made-up", "guessed", 1) + "1", ""},
		"Meta, token cut":                   {MetaHandshake, "GET", strings.Replace(meta, "-up", "", 1) + "1", ""},
		"Meta, token empty":                 {MetaHandshake, "GET", strings.Replace(meta, verifyToken, "", 1) + "1", ""},
		"Meta, token twice":                 {MetaHandshake, "GET", meta + "1&hub.verify_token=x", ""},
		"Meta, token in capitals":           {MetaHandshake, "GET", strings.Replace(meta, "a-v", "A-V", 1) + "1", ""},
		"Meta, markup":                      {MetaHandshake, "GET", meta + "%3Cb%3E", ""},
		"Meta, blanks":                      {MetaHandshake, "GET", meta + "a+b", ""},
		"Meta, another mode":                {MetaHandshake, "GET", strings.Replace(meta, "subscribe", "unsubscribe", 1) + "1", ""},
		"Meta, by POST":                     {MetaHandshake, "POST", meta + "1", ""},
		"X":                                 {XHandshake, "GET", "crc_token=Y2hhbGxlbmdl", `{"response_token":"sha256=`},
		"X, padded":                         {XHandshake, "GET", "crc_token=Y2hhbGxlbmdlMQ%3D%3D", `{"response_token":"sha256=`},
		"X, a JSON body to be signed":       {XHandshake, "GET", "crc_token=" + url.QueryEscape(`{"booking":1}`), ""},
		"X, a form to be signed":            {XHandshake, "GET", "crc_token=" + url.QueryEscape("a=b"), ""},
		"X, a Slack base to be signed":      {XHandshake, "GET", "crc_token=" + url.QueryEscape("v0:1781956800:{}"), ""},
		"X, a time and a dot of JSON":       {XHandshake, "GET", "crc_token=" + url.QueryEscape("1781956800.[]"), ""},
		"X, 257 bytes":                      {XHandshake, "GET", "crc_token=" + strings.Repeat("x", 257), ""},
		"X, twice":                          {XHandshake, "GET", "crc_token=a&crc_token=b", ""},
		"X, only padding":                   {XHandshake, "GET", "crc_token=%3D", ""},
		"Slack's is not answered unsigned":  {SlackHandshake, "POST", "challenge=x&type=url_verification", ""},
		"Zoom's is not answered unsigned":   {ZoomHandshake, "POST", "plainToken=x", ""},
		"Meta's where Graph's is agreed on": {GraphHandshake, "GET", meta + "1", ""},
	} {
		got, ok := withHandshake(t, c.handshake).Challenge(c.method, c.query, noon)
		if ok != (c.want != "") || !strings.HasPrefix(string(got.Body), c.want) {
			t.Errorf("%s: %q %v, want %q", name, got.Body, ok, c.want)
		}
		if ok && (got.Status != 200 || got.Header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(got.ContentType, "html")) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSignedHandshakesAnswerTheirOwnBodiesOnly(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	for name, c := range map[string]struct {
		handshake Handshake
		body      string
		want      string
	}{
		"Slack":                          {SlackHandshake, `{"token":"t","challenge":"3eZbrw1aBm2r","type":"url_verification"}`, `{"challenge":"3eZbrw1aBm2r"}`},
		"Slack, an event":                {SlackHandshake, `{"type":"event_callback","text":"\"url_verification\""}`, ""},
		"Slack, the type deeper":         {SlackHandshake, `{"event":{"type":"url_verification","challenge":"x"}}`, ""},
		"Slack, markup":                  {SlackHandshake, `{"challenge":"<b>","type":"url_verification"}`, ""},
		"Slack, markup by escape":        {SlackHandshake, `{"challenge":"\u003cb\u003e","type":"url_verification"}`, ""},
		"Slack, too long":                {SlackHandshake, `{"challenge":"` + long + `","type":"url_verification"}`, ""},
		"Slack, empty":                   {SlackHandshake, `{"challenge":"","type":"url_verification"}`, ""},
		"Slack, a number":                {SlackHandshake, `{"challenge":1,"type":"url_verification"}`, ""},
		"Slack, cut off":                 {SlackHandshake, `{"challenge":"x","type":"url_verification"`, ""},
		"Slack, 16 KiB and more":         {SlackHandshake, `{"challenge":"x","type":"url_verification"}` + strings.Repeat(" ", MaxChallengeBody), ""},
		"Slack's where none is set":      {"", `{"challenge":"x","type":"url_verification"}`, ""},
		"Zoom's where Slack's is set":    {SlackHandshake, `{"payload":{"plainToken":"x"},"event":"endpoint.url_validation"}`, ""},
		"Zoom":                           {ZoomHandshake, `{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}`, `{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"`},
		"Zoom, another event":            {ZoomHandshake, `{"payload":{"plainToken":"x"},"event":"meeting.started"}`, ""},
		"Zoom, markup":                   {ZoomHandshake, `{"payload":{"plainToken":"<b>"},"event":"endpoint.url_validation"}`, ""},
		"Zoom, a body as the token":      {ZoomHandshake, `{"payload":{"plainToken":"{}"},"event":"endpoint.url_validation"}`, ""},
		"Zoom, no payload":               {ZoomHandshake, `{"payload":null,"event":"endpoint.url_validation"}`, ""},
		"Graph answers nothing verified": {GraphHandshake, `{"challenge":"x","type":"url_verification"}`, ""},
	} {
		got, ok := withHandshake(t, c.handshake).SignedChallenge([]byte(c.body), Result{})
		if ok != (c.want != "") || !strings.HasPrefix(string(got.Body), c.want) {
			t.Errorf("%s: %q %v, want %q", name, got.Body, ok, c.want)
		}
	}
}

// The token and the secret of the example in Zoom's documentation are not published together with the answer; this one
// was computed with Python's hmac.
func TestZoomAnswersUnderTheCredentialThatSigned(t *testing.T) {
	t.Parallel()
	v := withHandshake(t, ZoomHandshake, Plain(Secret("the-first-secret-token"), Secret("a-zoom-secret-token-0001"))...)
	got, ok := v.SignedChallenge([]byte(`{"payload":{"plainToken":"plain-token"},"event":"endpoint.url_validation"}`), Result{SecretIndex: 1})
	if want := `{"plainToken":"plain-token","encryptedToken":"02db8f1cde2df133dd6205cf1b14eb8b86ecb415753fa6173e29639729883c98"}`; !ok || string(got.Body) != want {
		t.Errorf("%s, want %s", got.Body, want)
	}
}

func TestXAnswersUnderACredentialThatHasNotEnded(t *testing.T) {
	t.Parallel()
	old := Credential{Secret: Secret("the-old-consumer-secret"), NotAfter: noon}
	current := Credential{Secret: Secret("the-new-consumer-secret")}
	v := withHandshake(t, XHandshake, old, current)
	before, _ := v.Challenge("GET", "crc_token=abc", noon)
	after, _ := v.Challenge("GET", "crc_token=abc", noon.Add(time.Second))
	alone, _ := withHandshake(t, XHandshake, current).Challenge("GET", "crc_token=abc", noon)
	if bytes.Equal(before.Body, after.Body) || !bytes.Equal(after.Body, alone.Body) {
		t.Errorf("%s\n%s\n%s", before.Body, after.Body, alone.Body)
	}
	if _, ok := withHandshake(t, XHandshake, old).Challenge("GET", "crc_token=abc", noon.Add(time.Second)); ok {
		t.Error("answered under a credential that has ended")
	}
}

func TestFaultsOfHandshakesNameTheField(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "fifteen-letters", strings.Repeat("x", 513)} {
		_, err := New(Config{Scheme: GitHub, Challenge: MetaHandshake}, Plain(Secret(whsec)), Options{VerifyToken: Secret(token)})
		if err == nil || !strings.HasPrefix(err.Error(), "verify_token: ") || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%d bytes: %v", len(token), err)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add("POST", "validationToken=%3Cb%3E", []byte(`{"challenge":"x","type":"url_verification"}`))
	f.Add("GET", "hub.mode=subscribe&hub.verify_token="+verifyToken+"&hub.challenge=1", []byte(`{"payload":{"plainToken":"x"},"event":"endpoint.url_validation"}`))
	f.Add("GET", "crc_token=Y2hhbGxlbmdlMQ%3D%3D", []byte(nil))
	var all []*Verifier
	for _, h := range []Handshake{GraphHandshake, SlackHandshake, XHandshake, ZoomHandshake, MetaHandshake} {
		all = append(all, withHandshake(f, h))
	}
	f.Fuzz(func(t *testing.T, method, query string, body []byte) {
		for _, v := range all {
			for _, a := range []func() (Answer, bool){
				func() (Answer, bool) { return v.Challenge(method, query, noon) },
				func() (Answer, bool) { return v.SignedChallenge(body, Result{}) },
			} {
				got, ok := a()
				// Escaping makes a character at most six.
				if ok && (len(got.Body) > 6*MaxChallenge+256 || bytes.ContainsAny(got.Body, "<>\r\n") || got.Header.Get("X-Content-Type-Options") != "nosniff") {
					t.Fatalf("%q", got.Body)
				}
			}
		}
	})
}
