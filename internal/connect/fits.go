package connect

import (
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Fits checks that what an opened connection can do suits its direction. Errors are domain.Invalid.
func Fits(d domain.Direction, opened any) error {
	_, hooks := provider.As[provider.WebhookSource](opened)
	_, pulls := provider.As[provider.Puller](opened)
	_, writes := provider.As[provider.Writer](opened)
	switch {
	case d.Imports() && !hooks && !pulls:
		return domain.Invalid("direction", "is %s, but with these settings nothing can be read from the system", d)
	case d == domain.DirectionExport && !writes:
		return domain.Invalid("direction", "is export, but with these settings nothing can be written to the system")
	}
	return nil
}
