package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxRetryAfter bounds what another system may ask us to wait: a longer wait is a matter for the caller's own schedule.
const MaxRetryAfter = time.Hour

// StatusError is in the chain of every error that comes from a status. It holds no path, so nothing personal.
type StatusError struct {
	Method string
	Host   string
	Status int
	// RequestID is the id under which the other side logged the request; "" if it gave none that may be told.
	RequestID string
}

// Error returns method, host, status and the id of the request.
func (e *StatusError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%s %s: status %d %s", e.Method, e.Host, e.Status, http.StatusText(e.Status)))
	if e.RequestID != "" {
		text += " (request id " + e.RequestID + ")"
	}
	return text
}

// identified marks a fault after the other side gave the request an id.
type identified struct {
	id  string
	err error
}

func (e *identified) Error() string { return e.err.Error() }
func (e *identified) Unwrap() error { return e.err }

func withID(req *http.Request, err error, id string) error {
	if id = tellable(req, id); id == "" {
		return err
	}
	return &identified{id, err}
}

// tellable returns an id that can be nothing but an id, "" for others: what is told stands in logs, histories and rows, and
// a system that puts an address or a name into the header, or sends back what it was sent, must not bring it there.
func tellable(req *http.Request, id string) string {
	if sentAlready(req, id) || len(id) > 100 || strings.ContainsFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:/+=|", r))
	}) || !strings.ContainsAny(id, "0123456789") {
		return ""
	}
	return id
}

// sentAlready reports whether a text is part of what we sent, such as a key.
func sentAlready(req *http.Request, text string) bool {
	if text == "" || strings.Contains(req.URL.String(), text) {
		return text != ""
	}
	for _, values := range req.Header {
		for _, v := range values {
			if strings.Contains(v, text) || len(v) >= 8 && strings.Contains(text, v) {
				return true
			}
		}
	}
	return false
}

// RequestIDOf returns the id that the other side gave to the request that err is about, for talking to its support; "" if
// none is known. It may be logged and stored.
func RequestIDOf(err error) string {
	var status *StatusError
	var cut *identified
	switch {
	case errors.As(err, &status):
		return status.RequestID
	case errors.As(err, &cut):
		return cut.id
	}
	return ""
}

// phase is a time limit that was met.
type phase struct {
	what  string
	limit time.Duration
}

func (p phase) Error() string { return fmt.Sprintf("%s took longer than %s", p.what, p.limit) }
func (p phase) Timeout() bool { return true }
func (p phase) Unwrap() error { return context.DeadlineExceeded }

// late puts the time limit of ours that ended an exchange in the place of what net/http makes of it.
func (c *Client) late(ctx context.Context, err error) error {
	var met phase
	if !errors.As(context.Cause(ctx), &met) {
		var dial *net.OpError
		var timeout net.Error
		switch text := err.Error(); {
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return err
		case errors.As(err, &dial) && dial.Op == "dial":
			met = phase{"connecting", c.options.Timeouts.Dial}
		case strings.HasSuffix(text, "TLS handshake timeout"):
			met = phase{"the TLS handshake", c.options.Timeouts.TLS}
		case strings.HasSuffix(text, "timeout awaiting response headers"):
			met = phase{"the first byte of the answer", c.options.Timeouts.Header}
		default:
			return err
		}
	}
	var cutOff *readError
	if errors.As(err, &cutOff) {
		return &readError{met}
	}
	return met
}

// StatusOf returns the HTTP status that err comes from, 0 if none.
func StatusOf(err error) int {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status
	}
	return 0
}

// GoneToken turns the error of a 410 answer into kind gone_token and returns any other as it is. A system that answers
// 410 to an outdated cursor and one that answers it for a deleted thing look alike; the caller knows what it asked for.
func GoneToken(err error) error {
	if StatusOf(err) != http.StatusGone {
		return err
	}
	return domain.E(domain.KindGoneToken, "cursor is no longer known: %w", err)
}

func (c *Client) statusError(req *http.Request, res *Response) error {
	kind := kindOf(res.Status)
	if kind == "" {
		return nil
	}
	err := domain.E(kind, "%w", &StatusError{Method: method(req), Host: req.URL.Host, Status: res.Status, RequestID: tellable(req, res.RequestID)})
	if res.Status == http.StatusTooManyRequests || res.Status >= 500 {
		// A date is one of the server's clock, which may be minutes off; its Date header says what it shows now (RFC 9110, 6.6.1).
		theirs, undated := http.ParseTime(res.Header.Get("Date"))
		if undated != nil {
			theirs = c.options.Now()
		}
		if wait := retryAfter(res.Header.Get("Retry-After"), theirs); wait > 0 {
			err = domain.WithRetryAfter(err, wait)
		}
	}
	return err
}

func kindOf(status int) domain.ErrorKind {
	switch status {
	case http.StatusNotModified:
		return ""
	case http.StatusUnauthorized:
		return domain.KindUnauthenticated
	case http.StatusForbidden:
		return domain.KindForbidden
	case http.StatusNotFound, http.StatusGone:
		return domain.KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return domain.KindConflict
	case http.StatusTooManyRequests:
		return domain.KindRateLimited
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooEarly:
		return domain.KindUnavailable
	}
	switch {
	case status >= 200 && status < 300:
		return ""
	case status >= 500:
		return domain.KindUnavailable
	}
	return domain.KindPermanent
}

// retryAfter reads seconds or an HTTP date, 0 if there is nothing to wait for.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(MaxRetryAfter/time.Second))) * time.Second
	}
	if strings.Trim(value, "0123456789") == "" {
		return MaxRetryAfter // a number too large to count
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// describe gives a fault a kind and a text of our own. Texts of net/http are never passed on: they hold the URL with
// its query, and some quote what the other side sent. Of the cause only what callers look for stays in the chain.
func describe(req *http.Request, err error) error {
	prefix := method(req)
	if req.URL != nil && req.URL.Host != "" {
		prefix += " " + req.URL.Host
	}
	var id *identified
	if errors.As(err, &id) {
		err = describeAs(req, prefix+" (request id "+id.id+")", id.err)
		return &domain.Error{Kind: domain.KindOf(err), Wait: domain.RetryAfter(err), Err: &identified{id.id, err}}
	}
	return describeAs(req, prefix, err)
}

func describeAs(req *http.Request, prefix string, err error) error {
	var ours *domain.Error
	if errors.As(err, &ours) {
		return &domain.Error{Kind: ours.Kind, Text: prefix, Wait: domain.RetryAfter(ours), Err: ours}
	}
	when := ""
	var cutOff *readError
	if errors.As(err, &cutOff) {
		when = "response cut off: "
	}
	if parent := req.Context().Err(); parent != nil {
		return domain.E(domain.KindUnavailable, "%s: %sgiven up by the caller: %w", prefix, when, parent)
	}
	what, cause := explain(err)
	if cause != nil {
		return domain.E(domain.KindUnavailable, "%s: %s%s: %w", prefix, when, what, cause)
	}
	return domain.E(domain.KindUnavailable, "%s: %s%s", prefix, when, what)
}

func explain(err error) (what string, cause error) {
	var (
		met      phase
		timeout  net.Error
		dns      *net.DNSError
		errno    syscall.Errno
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		alert    tls.AlertError
		record   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &met):
		return "timed out: " + met.Error(), context.DeadlineExceeded
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out", context.DeadlineExceeded
	case errors.As(err, &dns) && dns.IsNotFound:
		return "host name not found", nil
	case errors.As(err, &dns):
		return "host name could not be resolved", nil
	case errors.As(err, &hostname):
		return "TLS certificate is for another host", nil
	case errors.As(err, &unknown):
		return "TLS certificate is not from a trusted authority", nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS certificate has expired or is not valid yet", nil
	case errors.As(err, &verify), errors.As(err, &invalid):
		return "TLS certificate is not valid", nil
	case errors.As(err, &alert), errors.As(err, &record):
		return "TLS handshake refused", nil
	case errors.As(err, &errno):
		// Names of system errors are fixed texts ("connection refused").
		return errno.Error(), errno
	}
	return "connection broke before the whole answer came", nil
}

func method(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}
