package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// transport carries the requests of Google's client over the connection's own, which guards and bounds them, with a token
// of the grant. It turns refusals into errors with a kind, before Google's client makes texts of them: those hold the
// whole URL with the calendar's id, and the vendor's message.
type transport struct {
	http   doer
	tokens provider.TokenSource
	now    func() time.Time
}

// RoundTrip sends a request once, and once more with another token after a 401.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		_ = req.Body.Close() // it was read whole, or cannot be sent anyway
		if err != nil {
			return nil, domain.E(domain.KindInternal, "read the body of a request of our own")
		}
	}
	if t.tokens == nil {
		return nil, domain.E(domain.KindUnauthenticated, "no Google account is connected yet")
	}
	refused := ""
	for {
		token, err := t.tokens.Token(req.Context())
		if err != nil {
			return nil, domain.E(domain.KindOf(err), "get an access token: %w", err)
		}
		if token == refused {
			return nil, domain.E(domain.KindUnauthenticated, "Google refused the access token, and there is no other")
		}
		sent := req.Clone(req.Context())
		sent.Header.Set("Authorization", "Bearer "+token)
		sent.Body, sent.GetBody = http.NoBody, nil
		if len(body) > 0 {
			sent.Body = io.NopCloser(bytes.NewReader(body))
		}
		res, err := t.http.Do(sent)
		if err == nil {
			return &http.Response{Status: http.StatusText(res.Status), StatusCode: res.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: res.Header, Body: io.NopCloser(bytes.NewReader(res.Body)), ContentLength: int64(len(res.Body)), Request: req}, nil
		}
		if res == nil {
			return nil, err
		}
		if res.Status == http.StatusUnauthorized && refused == "" {
			t.tokens.Refused(token)
			refused = token
			continue
		}
		return nil, t.refusal(res, err)
	}
}

// refusal is an error that Google explained. Of the explanation only the reason and the place are kept: the message may
// repeat what was sent.
type refusal struct {
	reason, location string
	err              error
}

func (r *refusal) Error() string {
	if r.reason == "" {
		return r.err.Error()
	}
	return r.err.Error() + " (" + r.reason + ")"
}

func (r *refusal) Unwrap() error { return r.err }

// explanation is the body of a refusal.
type explanation struct {
	Error struct {
		Message string `json:"message"`
		Errors  []struct {
			Domain   string `json:"domain"`
			Reason   string `json:"reason"`
			Location string `json:"location"`
		} `json:"errors"`
	} `json:"error"`
}

var (
	word       = regexp.MustCompile(`^[A-Za-z][A-Za-z.]{0,59}$`)
	retryAfter = regexp.MustCompile(`Retry after (\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d))`)

	// throttles are the reasons of a 403 that pass with time.
	throttles = []string{"userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "calendarUsageLimitsExceeded",
		"limitExceeded", "concurrentLimitExceeded", "variableTermLimitExceeded", "servingLimitExceeded"}
	// lasting are reasons of the domain usageLimits that a person has to remove.
	lasting = []string{"accessNotConfigured", "dailyLimitExceededUnreg", "userRateLimitExceededUnreg", "ipRefererBlocked", "keyInvalid", "keyExpired"}
)

func (t *transport) refusal(res *httpx.Response, err error) error {
	var why explanation
	kind, wait := domain.KindOf(err), domain.RetryAfter(err)
	r := &refusal{err: err}
	if json.Unmarshal(res.Body, &why) == nil {
		for i, one := range why.Error.Errors {
			if i == 0 && word.MatchString(one.Reason) {
				r.reason = one.Reason
			}
			if i == 0 && word.MatchString(one.Location) {
				r.location = one.Location
			}
			if res.Status == http.StatusForbidden && (slices.Contains(throttles, one.Reason) || one.Domain == "usageLimits" && !slices.Contains(lasting, one.Reason)) {
				kind = domain.KindRateLimited
			}
		}
	}
	if kind == domain.KindRateLimited && wait == 0 {
		wait = t.asked(res, why.Error.Message)
	}
	return &domain.Error{Kind: kind, Wait: wait, Err: r}
}

// asked is how long a throttled answer wants us to wait, by its header or by the time in its message.
func (t *transport) asked(res *httpx.Response, message string) time.Duration {
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, httpx.MaxRetryAfter)
	}
	if m := retryAfter.FindStringSubmatch(message); m != nil {
		if at, err := time.Parse(time.RFC3339, m[1]); err == nil {
			return min(max(at.Sub(t.now()), 0), httpx.MaxRetryAfter)
		}
	}
	return 0
}

// errUnreadable is an answer with a success status that is not what was asked for.
var errUnreadable = domain.E(domain.KindUnavailable, "the answer cannot be read")

// fail says what was being done when a call failed. What Google's client says about answers and URLs is left out.
func fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	var ours *domain.Error
	switch {
	case errors.As(err, &ours):
		return domain.E(ours.Kind, "%s: %w", doing, ours)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return domain.E(domain.KindUnavailable, "%s: given up by the caller", doing)
	}
	return domain.E(domain.KindUnavailable, "%s: %w", doing, errUnreadable)
}

// kindOf is the kind of an error of Google's client.
func kindOf(err error) domain.ErrorKind {
	if err == nil {
		return ""
	}
	return domain.KindOf(fail("", err))
}

// refusedFor reports whether err is a refusal for a reason, or about a parameter.
func refusedFor(err error, names ...string) bool {
	var r *refusal
	return errors.As(err, &r) && (slices.Contains(names, r.reason) || slices.Contains(names, r.location))
}
