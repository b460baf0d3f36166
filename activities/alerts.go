package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// Alerts looks at connections for an organisation's alerts.
type Alerts struct {
	Store *store.Store
}

// EvaluateAlertsInput names an organisation.
type EvaluateAlertsInput struct {
	Org domain.OrgID `json:"org"`
}

// EvaluateAlertsResult tells what it came to.
type EvaluateAlertsResult struct {
	Watched int       `json:"watched,omitempty"` // connections that something is known of
	Open    int       `json:"open,omitempty"`    // alerts that are not resolved
	Changed int       `json:"changed,omitempty"`
	Told    int       `json:"told,omitempty"` // that people are told of
	More    bool      `json:"more,omitempty"`
	Next    time.Time `json:"next,omitzero"` // when time alone changes something
}

// EvaluateAlerts looks at every connection of an organisation, in one transaction. Running it again changes nothing: results of
// probes are taken once, and what people are told is stored with the alert.
func (a *Alerts) EvaluateAlerts(ctx context.Context, in EvaluateAlertsInput) (EvaluateAlertsResult, error) {
	var out EvaluateAlertsResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		d, err := alerting.Evaluate(ctx, tx)
		out = EvaluateAlertsResult{Watched: d.Watched, Open: d.Open, Changed: d.Changed, Told: d.Told, More: d.More, Next: d.Next}
		return err
	})
	return out, fail(err)
}
