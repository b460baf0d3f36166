package domain

import (
	"errors"
	"fmt"
	"time"
)

// ErrorKind says what an error means to a caller, whatever its text. Each border translates it once: activities
// decide on retries by it, the server on status codes.
type ErrorKind string

// The kinds. An error without a kind counts as KindInternal.
const (
	KindInvalid         ErrorKind = "invalid"         // the input is wrong; the text names field and limit
	KindUnauthenticated ErrorKind = "unauthenticated" // credentials missing, wrong or expired
	KindForbidden       ErrorKind = "forbidden"       // known caller, not allowed
	KindNotFound        ErrorKind = "not_found"       // no such thing, or not visible to this tenant
	KindConflict        ErrorKind = "conflict"        // state or revision does not allow it; re-read and decide anew
	KindTooLarge        ErrorKind = "too_large"       // over a size cap; the text names the cap
	KindRateLimited     ErrorKind = "rate_limited"    // slow down; RetryAfter may tell for how long
	KindUnavailable     ErrorKind = "unavailable"     // a dependency is down or slow; the same call may work later
	KindPermanent       ErrorKind = "permanent"       // the other side refused for good; a retry will not help
	KindGoneToken       ErrorKind = "gone_token"      // a cursor or sync token is no longer valid; start a full listing
	KindDrift           ErrorKind = "drift"           // pages of a system are not what the connection knows any more; a person must look
	KindInternal        ErrorKind = "internal"        // a fault of ours
)

// Error is an error with a kind, an optional field it is about, and an optional time to wait.
// Text never holds personal data or secrets: it may be logged and stored in workflow histories.
type Error struct {
	Kind  ErrorKind
	Field string        // path of the offending input field, "" when not about one
	Text  string        // what was wrong, in words, naming the limit
	Wait  time.Duration // how long to wait before a retry; 0 = unknown
	Err   error         // cause, may be nil
}

// Error returns the text, preceded by the field and followed by the cause where there are such.
func (e *Error) Error() string {
	s := e.Text
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil {
		if s == "" {
			return e.Err.Error()
		}
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an error of a kind. A %w in the format wraps its argument.
func E(kind ErrorKind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if cause := errors.Unwrap(err); cause != nil {
		return &Error{Kind: kind, Wait: RetryAfter(cause), Err: err}
	}
	return &Error{Kind: kind, Text: err.Error()}
}

// Invalid makes a KindInvalid error about one input field.
func Invalid(field, format string, args ...any) error {
	return &Error{Kind: KindInvalid, Field: field, Text: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the outermost Error in err's chain, KindInternal for other errors, "" for nil.
func KindOf(err error) ErrorKind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// FieldOf returns the input field that err is about, or "".
func FieldOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Field != "" {
			return e.Field
		}
		err = e.Err
	}
	return ""
}

// WithRetryAfter returns err with a time to wait before the next try. Its kind stays.
func WithRetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Wait: wait, Err: err}
}

// RetryAfter returns the first positive wait in err's chain, 0 when none is known.
func RetryAfter(err error) time.Duration {
	var e *Error
	for errors.As(err, &e) {
		if e.Wait > 0 {
			return e.Wait
		}
		err = e.Err
	}
	return 0
}

// Retryable reports whether the same call may succeed later without anybody changing anything.
func Retryable(err error) bool {
	switch KindOf(err) {
	case KindRateLimited, KindUnavailable, KindInternal:
		return true
	case "", KindInvalid, KindUnauthenticated, KindForbidden, KindNotFound, KindConflict, KindTooLarge, KindPermanent, KindGoneToken, KindDrift:
	}
	return false
}
