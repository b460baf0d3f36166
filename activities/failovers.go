package activities

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// Failovers carries out how news of connections come: what their systems post, or quick polls that stand in. Decisions are made by
// rules/failover; everything of one step commits together, so a step may run twice.
type Failovers struct {
	Store  *store.Store
	Opener *connect.Opener
	// NotifyURL is as in Watches.
	NotifyURL string
	// Settings are those of rules/failover; the zero value of each takes its default.
	Settings failover.Settings
}

// actorFailover is who moves connections by itself.
const actorFailover = "system:failover"

// KeepFailoverInput names the integration to judge.
type KeepFailoverInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
}

// KeepFailover judges how news of a connection come, moves it where that is due, has its subscription made anew, and carries a
// drill on. It returns what the workflow acts on from then on. Running it again finds what it stored.
func (a *Failovers) KeepFailover(ctx context.Context, in KeepFailoverInput) (contract.IntegrationConfig, error) {
	var cfg contract.IntegrationConfig
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		k, err := a.look(ctx, tx, in.Integration)
		if err != nil {
			return err
		}
		if k.i.State == domain.IntegrationActive {
			if err := k.judge(ctx); err != nil {
				return err
			}
		}
		if err := k.drill(ctx); err != nil {
			return err
		}
		if err := k.save(ctx); err != nil {
			return err
		}
		cfg, err = k.config(ctx)
		return err
	})
	return cfg, fail(err)
}

// SetFailoverInput is the wish of a person, or of a part of WedSync that does not wait for a judgement.
type SetFailoverInput struct {
	Org         domain.OrgID             `json:"org"`
	Integration domain.IntegrationID     `json:"integration"`
	Request     contract.FailoverRequest `json:"request"`
}

// SetFailoverResult tells what came of it.
type SetFailoverResult struct {
	Config  contract.IntegrationConfig `json:"config"`
	Result  contract.FailoverResult    `json:"result"`
	Refused string                     `json:"refused,omitempty"` // why it cannot be; nothing was stored then
}

// SetFailover sends a connection over, or back, without asking how many of its platform did so and how often it did. Running it
// again finds the mode reached.
func (a *Failovers) SetFailover(ctx context.Context, in SetFailoverInput) (SetFailoverResult, error) {
	var out SetFailoverResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		out = SetFailoverResult{}
		k, err := a.look(ctx, tx, in.Integration)
		if err != nil {
			return err
		}
		if out.Refused = k.refuses(in.Request.To); out.Refused != "" {
			return nil
		}
		was := k.f.Mode
		if err := k.wish(ctx, in.Request); err != nil {
			return err
		}
		if err := k.save(ctx); err != nil {
			return err
		}
		out.Result = contract.FailoverResult{Mode: k.f.Mode, Moved: k.f.Mode != was}
		out.Config, err = k.config(ctx)
		return err
	})
	return out, fail(err)
}

// overseer is one look at a connection, within a transaction.
type overseer struct {
	*Failovers
	tx     *store.Tx
	i      domain.Integration
	opened any
	f      domain.Failover
	see    store.PushEvidence
	s      failover.Settings
	was    domain.FailoverMode
	ended  domain.EpisodeID // to be told
}

func (a *Failovers) look(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (*overseer, error) {
	k := &overseer{Failovers: a, tx: tx, s: a.Settings.Defaults()}
	var err error
	if k.i, k.opened, err = open(ctx, tx, a.Opener, id); err != nil && (domain.KindOf(err) != domain.KindPermanent || k.i.ID == "") {
		return nil, err
	}
	if k.f, err = tx.LockFailover(ctx, id); err != nil {
		return nil, err
	}
	k.was = k.f.Mode
	k.see, err = tx.PushEvidence(ctx, id, k.f.Since)
	return k, err
}

func (k *overseer) config(ctx context.Context) (contract.IntegrationConfig, error) {
	cfg := config(k.i, k.opened)
	return cfg, planWatches(ctx, k.tx, k.i, k.opened, k.NotifyURL, &cfg)
}

func (k *overseer) watches() bool { return k.NotifyURL != "" && canWatch(k.i, k.opened) }

func (k *overseer) hears() bool {
	_, hooks := provider.As[provider.WebhookSource](k.opened)
	return hooks || k.watches()
}

func (k *overseer) polls() bool {
	_, pulls := provider.As[provider.Puller](k.opened)
	return pulls && k.i.Direction.Imports()
}

// refuses says why a connection cannot be sent over; "" if it can.
func (k *overseer) refuses(to string) string {
	switch {
	case to != contract.FailoverToPolling && to != contract.FailoverToWebhooks:
		return "to must be polling or webhooks"
	case k.i.State != domain.IntegrationActive:
		return "the integration is " + string(k.i.State) + "; it is not running"
	case !k.polls():
		return "this system cannot be listed, so polls cannot stand in"
	case !k.hears():
		return "this system posts nothing here, so it is polled already"
	}
	return ""
}

// wish moves a connection because somebody wants it.
func (k *overseer) wish(ctx context.Context, r contract.FailoverRequest) error {
	d := failover.Decision{Cause: r.Cause, Pull: true, Clear: true, Due: k.tx.Now.Add(time.Minute)}
	if d.Cause == "" {
		d.Cause = domain.OverByPerson
	}
	d.Reason = "wished by " + r.By
	if d.Cause == domain.OverWeddingDay {
		d.Reason = "a wedding is near, so it does not wait"
	}
	away := k.f.Mode == domain.FailoverBegun || k.f.Mode == domain.FailoverPolling
	switch r.To {
	case contract.FailoverToPolling:
		k.f.Held = r.Hold
		if away {
			k.f.DueAt = &k.tx.Now
			return nil
		}
		d.Mode = domain.FailoverBegun
	default:
		k.f.Held = false
		if !away {
			return nil
		}
		d.Mode = domain.FailoverReturning
	}
	return k.carry(ctx, d, r.By)
}

// judge asks the rules and carries out what they say.
func (k *overseer) judge(ctx context.Context) error {
	e := failover.Evidence{Failover: k.f, CanPoll: k.polls(), CanHear: k.hears(), Answers: !k.see.Down, LastPush: k.see.LastPush,
		Pushes: k.see.Posted + int(max(k.see.Notices-k.f.NoticesBefore, 0)), Watches: k.watches(), StandsAt: k.see.StandsAt, PolledAt: k.see.PolledAt, Every: k.i.PollEvery}
	if k.watches() && len(k.see.Watches) > 0 {
		e.Broken = health.BrokenWatch(k.tx.Now, k.see.Watches)
	}
	if k.f.Mode == domain.FailoverUsual {
		var err error
		if e.Over, e.Total, err = k.Store.PlatformFailovers(ctx, k.i.Provider); err != nil {
			return err
		}
	}
	return k.carry(ctx, failover.Decide(k.tx.Now, e, k.s), actorFailover)
}

// carry carries a decision out, in the row that save stores.
func (k *overseer) carry(ctx context.Context, d failover.Decision, by string) error {
	now, f := k.tx.Now, &k.f
	if d.Clear {
		f.Suspect, f.SuspectText, f.SuspectedAt = "", "", nil
		if d.Mode == f.Mode && f.Mode == domain.FailoverUsual {
			f.FoundAt, f.Found = nil, 0
		}
	}
	moved := d.Moved(f.Mode)
	f.Reason = d.Reason
	if moved {
		if err := k.move(ctx, d, by); err != nil {
			return err
		}
	}
	if d.Pull {
		f.PullWantedAt = &now
	}
	if d.Repair {
		n, err := k.tx.DoubtWatches(ctx, f.IntegrationID)
		if err != nil {
			return err
		}
		f.Repairs++
		next := now.Add(k.s.RepairIn(f.Repairs))
		f.RepairAt = &next
		if err := k.tx.Audit(ctx, domain.AuditEntry{Actor: actorFailover, Action: "integration.repair", Subject: "integration/" + string(f.IntegrationID),
			Reason: "the address that the system posts to is made anew", After: map[string]string{"repairs": strconv.Itoa(f.Repairs), "watches": strconv.Itoa(n)}}); err != nil {
			return err
		}
	}
	f.DueAt = nil
	if !d.Due.IsZero() {
		f.DueAt = &d.Due
	}
	return nil
}

// move goes over to another mode.
func (k *overseer) move(ctx context.Context, d failover.Decision, by string) error {
	now, f := k.tx.Now, &k.f
	from := f.Mode
	f.Mode, f.Cause, f.By, f.Since = d.Mode, d.Cause, by, now
	f.FoundAt, f.Found, f.NoticesBefore = nil, 0, k.see.Notices
	switch d.Mode {
	case domain.FailoverBegun:
		f.PollEvery = k.s.PollEvery(k.i.PollEvery, k.Opener.PerSecond(k.i))
		f.Flaps, f.FlappedAt, f.Repairs, f.RepairAt = failover.Flaps(now, f.Flaps, f.FlappedAt), &now, 0, &now
		if f.Episode == "" {
			f.Episode = domain.NewID[domain.EpisodeID](now)
			if err := k.tx.BeginEpisode(ctx, domain.FailoverEpisode{ID: f.Episode, IntegrationID: f.IntegrationID, Provider: k.i.Provider, Kind: domain.EpisodeFailover,
				Cause: f.Cause, Reason: f.Reason, By: by, GoodUntil: k.see.LastSync, BeganAt: now}); err != nil {
				return err
			}
		}
	case domain.FailoverPolling:
		if f.Episode != "" {
			if err := k.tx.EpisodePolling(ctx, f.Episode); err != nil {
				return err
			}
		}
	case domain.FailoverUsual:
		k.ended, f.Episode = f.Episode, ""
		f.Held, f.PollEvery, f.RepairAt = false, 0, nil
	case domain.FailoverReturning:
	}
	if err := k.tx.Emit(ctx, domain.TopicFailover, map[string]string{"integration": string(f.IntegrationID), "provider": k.i.Provider, "mode": string(f.Mode), "was": string(from),
		"cause": string(f.Cause)}); err != nil {
		return err
	}
	return k.tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "integration.failover", Reason: f.Reason, Subject: "integration/" + string(f.IntegrationID),
		Before: map[string]string{"mode": string(from)}, After: map[string]string{"mode": string(f.Mode), "cause": string(f.Cause)}})
}

// save stores the row, and shows in the connection's health what it says.
func (k *overseer) save(ctx context.Context) error {
	if err := k.tx.SaveFailover(ctx, k.f); err != nil {
		return err
	}
	if k.ended != "" {
		e, err := k.tx.EndEpisode(ctx, k.ended)
		if err != nil {
			return err
		}
		if err := k.tx.TellEpisode(ctx, e); err != nil {
			return err
		}
	}
	if k.f.Mode == k.was || k.i.State != domain.IntegrationActive {
		return nil
	}
	return k.show(ctx)
}

// show moves the health along, as far as the table of its moves allows: the prober says the same a little later.
func (k *overseer) show(ctx context.Context) error {
	h, err := k.tx.Health(ctx, k.i.ID)
	if err != nil {
		return err
	}
	v := health.Decide(k.tx.Now, h.State, health.Evidence{Wish: k.i.State, Mode: k.f.Mode, ModeReason: k.f.Reason, QuickPolls: k.f.PollEvery,
		Passive: health.Passive{HeardAt: &k.tx.Now}})
	if k.f.Mode == domain.FailoverUsual {
		v = health.Verdict{State: domain.HealthUp, Reason: domain.HealthReason{Code: domain.HealthAnswers, Text: "its news come as usual again: " + k.f.Reason}}
	}
	stands := []domain.HealthState{domain.HealthPolling, domain.HealthFailingOver}
	if h.State == domain.HealthDown || k.f.Mode == domain.FailoverUsual && !slices.Contains(stands, h.State) {
		return nil // something else is told of it
	}
	_, _, err = k.tx.MoveHealth(ctx, store.HealthMove{Integration: k.i.ID, To: v.State, Reason: v.Reason})
	if domain.KindOf(err) == domain.KindConflict {
		return nil
	}
	return err
}

// planFailover completes what an integration's workflow acts on by how its news come.
func planFailover(ctx context.Context, tx *store.Tx, i domain.Integration, cfg *contract.IntegrationConfig) error {
	f, err := tx.Failover(ctx, i.ID)
	if err != nil {
		return err
	}
	if at := f.PullWantedAt; at != nil && (cfg.PullWanted.IsZero() || at.Before(cfg.PullWanted)) {
		cfg.PullWanted = *at
	}
	if f.Mode == domain.FailoverUsual && f.DueAt == nil && f.MutedUntil == nil {
		return nil
	}
	cfg.Failover = &contract.FailoverConfig{Mode: f.Mode}
	if f.DueAt != nil {
		cfg.Failover.Due = *f.DueAt
	}
	if f.MutedUntil != nil {
		cfg.Failover.MutedUntil = *f.MutedUntil
	}
	if quick := int64((f.PollEvery + time.Second - 1) / time.Second); f.Mode != domain.FailoverUsual && cfg.CanPull && quick > 0 {
		if cfg.PollSeconds == 0 || quick < cfg.PollSeconds {
			cfg.PollSeconds = quick
		}
	}
	return nil
}
