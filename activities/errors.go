package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/domain"
)

// longestDelay bounds how long Temporal waits with the next try on the word of another system. Calls are held back for as long
// as it asked in any case, by internal/outbound; this keeps a try within the time that its activity has in all.
const longestDelay = 10 * time.Minute

// fail gives an error its meaning for Temporal: the domain kind becomes the type, only kinds that may pass are tried
// again, and a wait that the other side asked for is obeyed.
func fail(err error) error {
	if err == nil {
		return nil
	}
	kind := domain.KindOf(err)
	return temporal.NewApplicationErrorWithOptions(textOf(err), string(kind), temporal.ApplicationErrorOptions{
		NonRetryable:   !domain.Retryable(err),
		NextRetryDelay: min(domain.RetryAfter(err), longestDelay),
	})
}

// textOf is what may be told of an error. Domain errors hold no personal data, so their text may enter histories and
// rows; any other error came from a library and may quote what it was given, so only its type is named.
func textOf(err error) string {
	var known *domain.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err.Error()
	}
	return fmt.Sprintf("an unexpected fault (%T)", err)
}

// RefusalText returns the text of a refusal that came out of an activity, "" for faults that a person cannot help.
func RefusalText(err error) string {
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		return ""
	}
	switch domain.ErrorKind(app.Type()) {
	case domain.KindInvalid, domain.KindConflict, domain.KindNotFound, domain.KindForbidden, domain.KindPermanent, domain.KindDrift:
		return app.Message()
	case domain.KindUnauthenticated, domain.KindTooLarge, domain.KindRateLimited, domain.KindUnavailable, domain.KindGoneToken, domain.KindInternal:
	}
	return ""
}

// caught turns a panic of a provider into an error, so that one bad payload cannot stop a batch.
func caught(doing string, fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value is left out: it may quote the payload.
			err = domain.E(domain.KindInvalid, "%s: the provider panicked (%T)", doing, r)
		}
	}()
	return fn()
}
