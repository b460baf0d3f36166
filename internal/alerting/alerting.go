// Package alerting brings what was measured of connections before the rules for alerts, reports and scores, and stores what they
// say.
//
//	done, err := alerting.Evaluate(ctx, tx)                 // what becomes of an organisation's alerts, in the caller's transaction
//	report, err := alerting.Report(ctx, tx, period)         // what became of what was promised
//	scores, err := alerting.Scores(ctx, tx, ids)            // how far connections can be relied on
//
// # Promises
//
//   - Evaluate takes each result of a probe once: the place up to which results were taken is stored in the same transaction as what
//     they came to. Two at once wait for each other.
//   - What people are to be told is stored with the alert, as a fact for package notify. Nothing is sent here.
//   - One evaluation stores at most 500 changes, those of whole platforms first, and says when more wait.
//   - Decisions are those of rules/alert, rules/sla and rules/score.
//
// # Testing
//
// go test ./internal/alerting runs on PostgreSQL with results as the prober stores them. The timers and deliveries are tried by the
// workflow: go test ./workflows -run Alert.
package alerting

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/rules/score"
	"github.com/wedsync/wedsync/internal/rules/sla"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// ahead is how far weddings are looked for that make an alert more severe.
	ahead = 7 * 24 * time.Hour
	// changesAtOnce bounds what one transaction stores.
	changesAtOnce = 500
	purgeAtOnce   = 200
)

// Done is what an evaluation came to.
type Done struct {
	Watched int       // connections that something is known of
	Open    int       // alerts that are not resolved
	Changed int       // alerts
	Told    int       // of them, those that people are told of
	More    bool      // changes wait still
	Next    time.Time // when time alone changes something; zero = never
}

// Evaluate looks at every connection of the tenant. Running it again at the same time changes nothing.
func Evaluate(ctx context.Context, tx *store.Tx) (Done, error) {
	if err := tx.LockAlerts(ctx); err != nil {
		return Done{}, err
	}
	all, err := healths(ctx, tx)
	if err != nil {
		return Done{}, err
	}
	in := alert.Input{Now: tx.Now, NewID: func() domain.AlertID { return domain.NewID[domain.AlertID](tx.Now) }}
	targets, err := targetsOf(ctx, tx, all)
	if err != nil {
		return Done{}, err
	}
	rules, err := tx.AlertRules(ctx)
	if err != nil {
		return Done{}, err
	}
	in.Rules = rules
	if in.Policy, err = tx.AlertPolicy(ctx); err != nil {
		return Done{}, err
	}
	if in.Silences, err = silences(ctx, tx); err != nil {
		return Done{}, err
	}
	if in.Alerts, err = tx.AlertsSince(ctx, tx.Now.Add(-alert.FlapWindow)); err != nil {
		return Done{}, err
	}
	ids := make([]domain.IntegrationID, len(all))
	for i, h := range all {
		ids[i] = h.IntegrationID
	}
	series, err := tx.ObserveProbes(ctx, ids, func(id domain.IntegrationID) time.Duration { return targets[id].Latency() })
	if err != nil {
		return Done{}, err
	}
	resources, err := tx.ResourcesOfIntegrations(ctx)
	if err != nil {
		return Done{}, err
	}
	weddings, err := tx.NextWeddings(ctx, ahead)
	if err != nil {
		return Done{}, err
	}
	days, err := tx.WeddingDays(ctx)
	if err != nil {
		return Done{}, err
	}
	var out Done
	for _, h := range all {
		c := alert.Connection{ID: h.IntegrationID, Platform: h.Provider, State: h.State, Reason: h.Reason.Text, Since: h.Since, Signals: h.Signals,
			Series: series[h.IntegrationID], Targets: targets[h.IntegrationID]}
		if at, ok := weddings[resources[h.IntegrationID]]; ok {
			c.Wedding = &at
		}
		day, onDay := days[h.IntegrationID]
		if onDay && (c.Wedding == nil || day.Starts.Before(*c.Wedding)) {
			c.Wedding = &day.Starts
		}
		if h.State.Works() || h.State == domain.HealthDown {
			out.Watched++
		}
		in.Seen = append(in.Seen, alert.Seen{ID: h.IntegrationID, Platform: h.Provider, Wedding: c.Wedding, Day: onDay, Verdict: alert.Look(c, rules, tx.Now)})
	}
	plan := alert.Decide(in)
	out.Open, out.Next = plan.Open, plan.Next
	if len(plan.Changes) > changesAtOnce {
		plan.Changes, out.More = plan.Changes[:changesAtOnce], true
	}
	for _, c := range plan.Changes {
		if err := tx.SaveAlert(ctx, c.Alert, c.New, string(c.Tell)); err != nil {
			return Done{}, err
		}
		out.Changed++
		if c.Tell != alert.TellNothing {
			out.Told++
		}
	}
	return out, tx.PurgeAlerts(ctx, purgeAtOnce)
}

// silences are those that may keep alerts quiet. One that is over for good is ended, so that it takes nobody's place.
func silences(ctx context.Context, tx *store.Tx) ([]domain.Silence, error) {
	all, err := tx.SilencesInForce(ctx)
	if err != nil {
		return nil, err
	}
	var over []domain.SilenceID
	all = slices.DeleteFunc(all, func(s domain.Silence) bool {
		is := alert.Over(s, tx.Now)
		if is {
			over = append(over, s.ID)
		}
		return is
	})
	return all, tx.EndSilences(ctx, over)
}

func healths(ctx context.Context, tx *store.Tx) (all []domain.Health, err error) {
	for page := (store.Page{Limit: store.MaxPage}); ; {
		list, next, err := tx.Healths(ctx, page)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if next == "" {
			return all, nil
		}
		page.After = next
	}
}

func targetsOf(ctx context.Context, tx *store.Tx, all []domain.Health) (map[domain.IntegrationID]domain.Targets, error) {
	objectives, err := tx.Objectives(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[domain.IntegrationID]domain.Targets, len(all))
	for _, h := range all {
		out[h.IntegrationID] = domain.TargetsFor(objectives, h.Provider, h.IntegrationID)
	}
	return out, nil
}

// Report reckons what became of what the tenant promises in a period.
func Report(ctx context.Context, tx *store.Tx, p sla.Period) (sla.Report, error) {
	objectives, err := tx.Objectives(ctx)
	if err != nil {
		return sla.Report{}, err
	}
	all, err := tx.MeasuredConnections(ctx, p)
	if err != nil {
		return sla.Report{}, err
	}
	for i, s := range all {
		all[i].Targets = domain.TargetsFor(objectives, s.Platform, s.ID)
	}
	return sla.Build(p, tx.Now, sla.Standards{Organization: domain.TargetsFor(objectives, "", ""),
		Platform: func(name string) domain.Targets { return domain.TargetsFor(objectives, name, "") }}, all), nil
}

// Scored is a connection with its score.
type Scored struct {
	IntegrationID domain.IntegrationID `json:"integration_id"`
	Platform      string               `json:"platform"`
	score.Score
}

// Scores reckons the scores of connections, in the order of ids; one that the tenant does not have is left out.
func Scores(ctx context.Context, tx *store.Tx, ids []domain.IntegrationID) ([]Scored, error) {
	out := []Scored{}
	if len(ids) == 0 {
		return out, nil
	}
	had, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return nil, err
	}
	all := make([]domain.Health, 0, len(had))
	for _, h := range had {
		all = append(all, h)
	}
	targets, err := targetsOf(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	measured, err := tx.MeasuredForScores(ctx, ids, func(id domain.IntegrationID) time.Duration { return targets[id].Latency() })
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if h, ok := had[id]; ok {
			out = append(out, Scored{id, h.Provider, score.Of(tx.Now, targets[id], measured[id].Days, measured[id].Incidents)})
		}
	}
	return out, nil
}
