package provider

import (
	"context"
	"errors"
	"time"
)

// Consents tells whether the customer agreed that pages of an origin (https://portal.example.com) are read for them by a
// program. Providers that read pages ask before every reading, so that a consent that was withdrawn counts at once.
// KindNotFound means that there is none.
type Consents func(ctx context.Context, origin string) (Consent, error)

// Consent is that agreement.
type Consent struct {
	By string // subject of the person who gave it
	At time.Time
}

// EvidenceOf returns what a fault left to look at: what happened in words, and a page whose values are masked. Neither holds
// personal data.
func EvidenceOf(err error) (report string, page []byte, ok bool) {
	var e interface {
		error
		Snapshot() (string, []byte)
	}
	if !errors.As(err, &e) {
		return "", nil, false
	}
	report, page = e.Snapshot()
	return report, page, true
}
