package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
)

// statusOf translates an error to a status and a code for clients. It is the only place that does.
func statusOf(err error) (status int, code string) {
	var s *statusError
	if errors.As(err, &s) {
		return s.status, s.code
	}
	if errors.As(err, new(*freeze.Refusal)) {
		return statusFrozen, "frozen"
	}
	kind := domain.KindOf(err)
	if kind == domain.KindInternal {
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			kind = domain.KindTooLarge
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			kind = domain.KindUnavailable
		}
	}
	switch kind {
	case domain.KindInvalid, domain.KindPermanent, domain.KindDrift:
		return http.StatusUnprocessableEntity, string(kind)
	case domain.KindUnauthenticated:
		return http.StatusUnauthorized, string(kind)
	case domain.KindForbidden:
		return http.StatusForbidden, string(kind)
	case domain.KindNotFound:
		return http.StatusNotFound, string(kind)
	case domain.KindConflict, domain.KindGoneToken:
		return http.StatusConflict, string(kind)
	case domain.KindTooLarge:
		return http.StatusRequestEntityTooLarge, string(kind)
	case domain.KindRateLimited:
		return http.StatusTooManyRequests, string(kind)
	case domain.KindUnavailable:
		return http.StatusServiceUnavailable, string(kind)
	case domain.KindInternal:
	}
	return http.StatusInternalServerError, string(domain.KindInternal)
}

// statusError gives an error a status that no domain kind stands for, such as 415.
type statusError struct {
	status int
	code   string
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// withStatus makes err answer with status and code. The text of err is shown to the client unless status is 500.
func withStatus(status int, code string, err error) error {
	return &statusError{status: status, code: code, err: err}
}

// malformed is an error about a request that cannot be read at all (400), as against one that can be read and asks
// for something impossible (422).
func malformed(field, format string, args ...any) error {
	return withStatus(http.StatusBadRequest, string(domain.KindInvalid), domain.Invalid(field, format, args...))
}
