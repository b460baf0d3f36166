package custom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Validate checks settings and secrets without a network call. It reports every fault that it finds, each as
// domain.Invalid with the path of the field.
func Validate(settings json.RawMessage, secrets map[string]string) error {
	_, err := compileAll(settings, secrets, time.UTC)
	return err
}

func open(conn provider.Connection) (any, error) {
	local := conn.Zone
	if local == nil {
		local = time.UTC
	}
	c, err := compileAll(conn.Integration.Settings, conn.Secrets, local)
	if err != nil {
		return nil, err
	}
	c.client, c.now = conn.HTTP, conn.Now
	if conn.HTTP != nil && conn.HTTP.Gated() {
		c.pace = nil // the gate keeps Registration.Rates for all workers together
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.webhook != nil {
		c.webhook.now = c.now
	}
	c.auth.connect(conn.HTTP, conn.Tokens, c.now)
	return c.abilities(), nil
}

// sender is the way out: *httpx.Client, or the recorded answers of a sample.
type sender interface {
	Do(*http.Request) (*httpx.Response, error)
}

// connection is an opened integration. The parts that the settings leave out are nil. It does not change after it
// was made.
type connection struct {
	client      sender
	now         func() time.Time
	base        *url.URL
	auth        *authorizer
	pace        *pace // nil = no limits
	errors      []errorRule
	fingerprint string

	webhook *webhookPart
	list    *listPart
	read    *readPart
	write   *writePart
	probe   *probePart
}

// compileAll turns settings into a connection without a client.
func compileAll(doc json.RawMessage, secrets map[string]string, local *time.Location) (*connection, error) {
	s, err := decodeSettings(doc)
	if err != nil {
		return nil, err
	}
	return compileSettings(doc, s, secrets, local)
}

// compileSettings is compileAll for settings that were read already.
func compileSettings(doc json.RawMessage, s Settings, secrets map[string]string, local *time.Location) (*connection, error) {
	c, faults := compileParts(doc, s, secrets, local)
	if len(faults) > 0 {
		return nil, readable(doc, faults)
	}
	return c, nil
}

// maxTemplates bounds the expressions in requests. Making one ready costs about a millisecond, and settings have room for
// thousands.
const maxTemplates = 500

// compileParts compiles what can be compiled, and tells every fault.
func compileParts(doc json.RawMessage, s Settings, secrets map[string]string, local *time.Location) (*connection, []error) {
	c := &connection{}
	if n := bytes.Count(doc, []byte("${")); n > maxTemplates {
		return c, []error{domain.Invalid("settings", "at most %d templates in requests, has %d", maxTemplates, n)}
	}
	var err error
	sum := sha256.Sum256(compactJSON(doc))
	c.fingerprint = hex.EncodeToString(sum[:6])
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if s.Webhook == nil && s.List == nil && s.Write == nil {
		note(domain.Invalid("settings", "needs at least one of webhook, list and write"))
	}
	if s.List != nil || s.Read != nil || s.Write != nil || s.Probe != nil {
		c.base, err = baseURL(s.BaseURL)
		note(err)
	} else if s.BaseURL != "" {
		_, err = baseURL(s.BaseURL)
		note(err)
	}
	c.auth, err = compileAuth(s.Auth, secrets)
	note(err)
	if s.Webhook != nil {
		c.webhook, err = compileWebhook(s, secrets, local)
		note(err)
	}
	if s.List != nil {
		c.list, err = compileList(s, local)
		note(err)
	}
	if s.Read != nil {
		c.read, err = compileRead(s, local)
		note(err)
	}
	if s.Write != nil {
		c.write, err = compileWrite(s, local)
		note(err)
	}
	if s.Probe != nil {
		c.probe, err = compileProbe(*s.Probe)
		note(err)
	}
	c.pace, err = compileLimits(s.Limits)
	note(err)
	c.errors, err = compileErrors(s.Errors)
	note(err)
	return c, faults
}

// readable flattens joined errors, drops repeats (a fault in the common mapping is found by every part) and adds the
// lines of the document.
func readable(doc json.RawMessage, faults []error) error {
	var flat []error
	seen := map[string]bool{}
	for _, err := range flatten(faults) {
		err = located(doc, err)
		if !seen[err.Error()] && len(flat) < 20 {
			seen[err.Error()] = true
			flat = append(flat, err)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return errors.Join(flat...)
}

// flatten takes joined errors apart.
func flatten(faults []error) []error {
	var flat []error
	for _, err := range faults {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			flat = append(flat, flatten(many.Unwrap())...)
			continue
		}
		flat = append(flat, err)
	}
	return flat
}

// compactJSON makes the fingerprint independent of layout. The document was parsed before, so it is valid.
func compactJSON(doc json.RawMessage) []byte {
	v, err := parseJSON(doc)
	if err != nil {
		return doc
	}
	b, err := json.Marshal(v)
	if err != nil {
		return doc
	}
	return b
}

func baseURL(s string) (*url.URL, error) {
	const field = "settings.base_url"
	if s == "" {
		return nil, domain.Invalid(field, "required with list, read, write or probe")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, domain.Invalid(field, "must be an absolute address such as https://crm.example/api")
	case u.User != nil:
		return nil, domain.Invalid(field, "must not hold a user; use auth")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, domain.Invalid(field, "must not have a query or fragment")
	case len(s) > 500:
		return nil, domain.Invalid(field, "at most 500 bytes, has %d", len(s))
	}
	return u, nil
}

// headerName reports whether s may name a header that we set.
func headerName(s string) bool {
	if s == "" || len(s) > webhookauth.MaxHeaderName {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	switch http.CanonicalHeaderKey(s) {
	case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Trailer":
		return false
	}
	return true
}

// vars are the variables of an answer.
func answerVarsOf(body any, header http.Header, at time.Time) vars {
	return vars{body: body, headers: lowerHeaders(header), receivedAt: types.Timestamp{Time: at.UTC()}}
}

// lowerHeaders gives each header's first value under its lower-case name.
func lowerHeaders(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		if len(values) > 0 {
			out[strings.ToLower(name)] = values[0]
		}
	}
	return out
}

// call sends a request and parses the answer. body is nil for an answer without one.
func (c *connection) call(ctx context.Context, r *request, w *work) (body any, res *httpx.Response, err error) {
	req, err := r.build(ctx, c.base, w)
	if err != nil {
		return nil, nil, err
	}
	return c.send(req)
}

// send is call for a request that is built already.
func (c *connection) send(req *http.Request) (any, *httpx.Response, error) {
	res, err := c.do(req)
	if err != nil || len(res.Body) == 0 {
		return nil, res, err
	}
	body, err := parseJSON(res.Body)
	if err != nil {
		// A sign-in page or a torn answer of a proxy: the same call may work later.
		return nil, res, domain.E(domain.KindUnavailable, "%s %s: the answer is not usable JSON: %w", req.Method, req.URL.Host, err)
	}
	return body, res, nil
}

// do sends a request in its turn, with our credentials, and gives a refusal its kind.
func (c *connection) do(req *http.Request) (*httpx.Response, error) {
	done, err := c.pace.enter(req.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	res, err := c.auth.send(c.client, req)
	return res, c.classify(req, res, err)
}

// checkStatuses refuses what could never be an answer about one thing.
func checkStatuses(field string, given []int, fallback ...int) ([]int, error) {
	if len(given) == 0 {
		return fallback, nil
	}
	for _, s := range given {
		if s < 400 || s > 499 || s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusTooManyRequests {
			return nil, domain.Invalid(field, "must be statuses from 400 to 499 other than 401, 403 and 429")
		}
	}
	return slices.Clone(given), nil
}
