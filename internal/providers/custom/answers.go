package custom

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// maxErrorRules bounds settings.errors.
const maxErrorRules = 30

// ruleKinds are the kinds that a rule may give.
var ruleKinds = []string{string(domain.KindUnauthenticated), string(domain.KindForbidden), string(domain.KindNotFound), string(domain.KindConflict),
	string(domain.KindGoneToken), string(domain.KindRateLimited), string(domain.KindUnavailable), string(domain.KindPermanent)}

// errorRule is a compiled ErrorRule.
type errorRule struct {
	at         string
	status     []int
	when       *program // nil = always
	kind       domain.ErrorKind
	retryAfter *program
}

func compileErrors(rules []ErrorRule) ([]errorRule, error) {
	const part = "settings.errors"
	var faults []error
	if len(rules) > maxErrorRules {
		faults = append(faults, domain.Invalid(part, "at most %d, has %d", maxErrorRules, len(rules)))
	}
	out := make([]errorRule, 0, len(rules))
	for i, r := range rules {
		path := part + "[" + strconv.Itoa(i) + "]"
		one, err := compileErrorRule(r, path)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out = append(out, one)
	}
	return out, errors.Join(faults...)
}

func compileErrorRule(r ErrorRule, path string) (errorRule, error) {
	out := errorRule{at: path, status: r.Status, kind: domain.ErrorKind(r.Kind)}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if !slices.Contains(ruleKinds, r.Kind) {
		note(domain.Invalid(path+".kind", "must be one of %v", ruleKinds))
	}
	for _, s := range r.Status {
		switch {
		case s < 200 || s > 599:
			note(domain.Invalid(path+".status", "must be statuses from 200 to 599"))
		case s < 300 && r.When == "":
			note(domain.Invalid(path+".when", "required where %d, a success, is to count as an error", s))
		case r.Kind == string(domain.KindNotFound) && (s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusTooManyRequests || s >= 500):
			note(domain.Invalid(path+".kind", "%d proves no absence: an entry would be taken for removed", s))
		}
	}
	if len(r.Status) > 50 {
		note(domain.Invalid(path+".status", "at most 50"))
	}
	if r.Kind == string(domain.KindNotFound) && len(r.Status) == 0 {
		note(domain.Invalid(path+".status", "required with not_found: an outage must not be taken for an absence"))
	}
	var err error
	if r.When != "" {
		out.when, err = compile(string(r.When), path+".when", 0, scopeFault, wantBool, nil)
		note(err)
	}
	if r.RetryAfter != "" {
		if r.Kind != string(domain.KindRateLimited) && r.Kind != string(domain.KindUnavailable) {
			note(domain.Invalid(path+".retry_after", "has a meaning with rate_limited and unavailable only"))
		}
		out.retryAfter, err = compile(string(r.RetryAfter), path+".retry_after", 0, scopeFault, wantVersion, nil)
		note(err)
	}
	return out, errors.Join(faults...)
}

// ruledError is a refusal that settings.errors gave its kind. The status is not in its chain: the rule counts.
type ruledError struct{ err *domain.Error }

func (e *ruledError) Error() string { return e.err.Error() }
func (e *ruledError) Unwrap() error { return e.err }

// classify lets the rules of the settings decide what an answer means. What is no answer at all stays as it is.
func (c *connection) classify(req *http.Request, res *httpx.Response, err error) error {
	if len(c.errors) == 0 || res == nil {
		return err
	}
	status := httpx.StatusOf(err)
	if err == nil {
		status = res.Status
	}
	if status == 0 {
		return err // the answer came, and could not be read whole
	}
	var w *work
	for i := range c.errors {
		r := &c.errors[i]
		if len(r.status) == 0 && status < 400 || len(r.status) > 0 && !slices.Contains(r.status, status) {
			continue
		}
		if w == nil && (r.when != nil || r.retryAfter != nil) {
			w = newWork(req.Context())
			body, bad := parseJSON(res.Body)
			if bad != nil {
				body = nil
			}
			w.vars = answerVarsOf(body, res.Header, c.now())
			w.vars.named = map[string]any{"status": int64(status)}
		}
		if r.when != nil {
			// A body of another form than the rule expects is not what the rule is about.
			if v, bad := w.eval(r.when); bad != nil || v != types.True {
				continue
			}
		}
		wait := domain.RetryAfter(err)
		if r.retryAfter != nil {
			read := reader{w: w}
			if seconds := read.version(r.retryAfter); read.err == nil && seconds > 0 {
				wait = time.Duration(min(seconds, int64(httpx.MaxRetryAfter/time.Second))) * time.Second
			}
		}
		return &ruledError{&domain.Error{Kind: r.kind, Wait: wait,
			Text: req.Method + " " + req.URL.Host + ": status " + strconv.Itoa(status) + ", by " + r.at}}
	}
	return err
}

// missing reports whether an answer proves that an entry does not exist. A rule of the settings comes before the list of
// statuses.
func missing(statuses []int, err error) bool {
	var ruled *ruledError
	if errors.As(err, &ruled) {
		return ruled.err.Kind == domain.KindNotFound
	}
	return slices.Contains(statuses, httpx.StatusOf(err))
}
