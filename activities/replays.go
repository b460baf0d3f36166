package activities

import (
	"context"
	"errors"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
)

// Replays hands deliveries in once more, or tells what that would do.
type Replays struct {
	Store  *store.Store
	Opener *connect.Opener
}

// replayPage is how many deliveries one step looks at. It bounds the transaction, and how far a replay overshoots its rate.
const replayPage = 100

// ReplayRef names a replay.
type ReplayRef struct {
	Org    domain.OrgID    `json:"org"`
	Replay domain.ReplayID `json:"replay"`
}

// ReplayView is where a replay stands, without anything that names entries.
type ReplayView struct {
	State    domain.ReplayState `json:"state"`
	DryRun   bool               `json:"dry_run,omitempty"`
	Rate     int                `json:"rate"`
	Total    int                `json:"total"`
	Seen     int                `json:"seen"`
	Replayed int                `json:"replayed"`
	Skipped  int                `json:"skipped"`
}

func viewOfReplay(r domain.Replay) ReplayView {
	return ReplayView{State: r.State, DryRun: r.DryRun, Rate: r.Rate, Total: r.Total, Seen: r.Seen, Replayed: r.Replayed, Skipped: r.Skipped}
}

// BeginReplay counts what the filter chooses. It is safe to run twice: the count is stored once.
func (a *Replays) BeginReplay(ctx context.Context, in ReplayRef) (ReplayView, error) {
	var out ReplayView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		r, at, err := tx.LockReplay(ctx, in.Replay)
		if err != nil {
			return err
		}
		if !at.Counted && !r.State.Ended() {
			if r.Total, err = tx.CountReplay(ctx, r); err != nil {
				return err
			}
		}
		out = viewOfReplay(r)
		return nil
	})
	return out, fail(err)
}

// SetReplayStateInput says what becomes of a replay.
type SetReplayStateInput struct {
	ReplayRef
	State domain.ReplayState `json:"state"`
	Kind  domain.ErrorKind   `json:"kind,omitempty"` // of the fault that ended it
}

// SetReplayState records that a replay is paused, goes on or has ended. One that has ended stays so, and a repeat changes
// nothing.
func (a *Replays) SetReplayState(ctx context.Context, in SetReplayStateInput) (ReplayView, error) {
	var out ReplayView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		r, changed, err := tx.SetReplayState(ctx, in.Replay, in.State, string(in.Kind))
		if err != nil {
			return err
		}
		out = viewOfReplay(r)
		if !changed {
			return nil
		}
		topic := domain.TopicReplayProgress
		if r.State.Ended() {
			topic = domain.TopicReplayFinished
		}
		return tx.Emit(ctx, topic, map[string]string{"replay": string(r.ID), "state": string(r.State)})
	})
	return out, fail(err)
}

// ReplayPageInput asks for the next page of a replay.
type ReplayPageInput struct {
	ReplayRef
	Limit int `json:"limit"` // deliveries at most, 1..100
}

// ReplayPageResult tells where the replay stands after the page.
type ReplayPageResult struct {
	ReplayView
	Took int  `json:"took"` // deliveries of this page
	More bool `json:"more,omitempty"`
}

// ReplayPage takes the next deliveries of a replay, oldest first. Copies, counts and the place where the replay stands
// commit together, so a page whose answer is lost is not done again: the next call goes on behind it. A replay that does
// not run is left alone, and one that runs into the freeze of a wedding is paused.
func (a *Replays) ReplayPage(ctx context.Context, in ReplayPageInput) (ReplayPageResult, error) {
	limit := min(max(in.Limit, 1), replayPage)
	var out ReplayPageResult
	var r domain.Replay
	var found []store.ReplayCandidate
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out = ReplayPageResult{}
		var at store.ReplayPlace
		if r, at, err = tx.LockReplay(ctx, in.Replay); err != nil {
			return err
		}
		out.ReplayView = viewOfReplay(r)
		if r.State != domain.ReplayRunning {
			return nil
		}
		if r, err = frozenReplay(ctx, tx, r); err != nil || r.State != domain.ReplayRunning {
			out.ReplayView = viewOfReplay(r)
			return err
		}
		if found, err = tx.ReplayCandidates(ctx, r, at.After, limit); err != nil || len(found) == 0 || r.DryRun {
			return err
		}
		step, err := copyPage(ctx, tx, r, at, found)
		if err != nil {
			return err
		}
		return out.advance(ctx, tx, r, step, limit)
	})
	if err != nil || !r.DryRun || len(found) == 0 {
		return out, fail(err)
	}
	step, err := a.rehearse(ctx, in.Org, found)
	if err != nil {
		return out, fail(err)
	}
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		now, at, err := tx.LockReplay(ctx, in.Replay)
		if err != nil {
			return err
		}
		if now.State.Ended() || at.After >= step.After {
			// Cancelled, or done by another try, while the page was tried out.
			out.ReplayView, out.Took, out.More = viewOfReplay(now), len(found), now.State == domain.ReplayRunning
			return nil
		}
		return out.advance(ctx, tx, now, step, limit)
	})
	return out, fail(err)
}

// frozenReplay pauses a replay while a wedding is near or on, unless an admin lets it go on. A person resumes it.
func frozenReplay(ctx context.Context, tx *store.Tx, r domain.Replay) (domain.Replay, error) {
	if r.DryRun || r.OverridesFreeze {
		return r, nil
	}
	now, err := freeze.Look(ctx, tx)
	if err != nil || !now.Frozen() {
		return r, err
	}
	const why = "a wedding is near or on; an admin may override that when resuming it"
	r, changed, err := tx.SetReplayState(ctx, r.ID, domain.ReplayPaused, why)
	if err != nil || !changed {
		return r, err
	}
	if err := tx.Emit(ctx, domain.TopicReplayProgress, map[string]string{"replay": string(r.ID), "state": string(r.State)}); err != nil {
		return r, err
	}
	return r, tx.Audit(ctx, domain.AuditEntry{Actor: "system:freeze", Action: "replay.pause", Reason: why, Subject: "replay/" + string(r.ID),
		After: map[string]string{"wedding": string(now.Wedding().Booking), "frozen_until": now.Thaw().Format(time.RFC3339)}})
}

func (out *ReplayPageResult) advance(ctx context.Context, tx *store.Tx, r domain.Replay, step store.ReplayStep, limit int) error {
	r, err := tx.AdvanceReplay(ctx, r, step)
	if err != nil {
		return err
	}
	out.ReplayView, out.Took, out.More = viewOfReplay(r), step.Seen, step.Seen == limit
	return tx.Emit(ctx, domain.TopicReplayProgress, map[string]string{"replay": string(r.ID), "state": string(r.State)})
}

// copyPage hands a page of deliveries in anew.
func copyPage(ctx context.Context, tx *store.Tx, r domain.Replay, at store.ReplayPlace, found []store.ReplayCandidate) (store.ReplayStep, error) {
	step, usable, err := sift(ctx, tx, found)
	if err != nil {
		return step, err
	}
	copies, err := tx.CopyDeliveries(ctx, r.ID, at.LastCopy, usable)
	if err != nil {
		return step, err
	}
	integrations := make(map[domain.DeliveryID]domain.IntegrationID, len(usable))
	for _, d := range usable {
		integrations[d.ID] = d.IntegrationID
	}
	for _, c := range copies {
		step.LastCopy = c.ID
		if err := tx.Emit(ctx, domain.TopicDeliveryReplayed, map[string]string{"delivery": string(c.ID), "origin": string(c.Origin),
			"replay": string(r.ID), "integration": string(integrations[c.From])}); err != nil {
			return step, err
		}
	}
	step.Replayed = len(copies)
	skip(&step, domain.SkipRepeated, len(usable)-len(copies))
	return step, nil
}

func skip(step *store.ReplayStep, why string, n int) {
	if n > 0 {
		step.Skipped += n
		step.Tally.Skipped[why] += n
	}
}

// sift leaves out what cannot be replayed.
func sift(ctx context.Context, tx *store.Tx, found []store.ReplayCandidate) (store.ReplayStep, []domain.RawDelivery, error) {
	step := store.ReplayStep{Seen: len(found), Tally: domain.ReplayTally{Skipped: map[string]int{}, Outcomes: map[domain.DeliveryState]int{}, Effects: map[string]int{}}}
	step.After = found[len(found)-1].Raw.ID
	deleted := map[domain.IntegrationID]bool{}
	usable := make([]domain.RawDelivery, 0, len(found))
	for _, c := range found {
		id := c.Raw.IntegrationID
		if _, known := deleted[id]; !known {
			i, err := tx.Integration(ctx, id)
			if err != nil && domain.KindOf(err) != domain.KindNotFound {
				return step, nil, err
			}
			deleted[id] = err != nil || i.State == domain.IntegrationDeleted
		}
		switch {
		case deleted[id]:
			skip(&step, domain.SkipDisconnected, 1)
		case c.Erased:
			skip(&step, domain.SkipErased, 1)
		case c.Unreadable:
			skip(&step, domain.SkipUnreadable, 1)
		default:
			usable = append(usable, c.Raw)
		}
	}
	return step, usable, nil
}

// errRehearsal ends a transaction that must leave nothing behind.
var errRehearsal = errors.New("only a rehearsal")

// rehearse decides a page of deliveries by the code that applies them, in transactions that are rolled back. Neighbours of
// one integration are decided together, as they would be applied; what one page would change the next one does not see.
func (a *Replays) rehearse(ctx context.Context, org domain.OrgID, found []store.ReplayCandidate) (store.ReplayStep, error) {
	var step store.ReplayStep
	var usable []domain.RawDelivery
	err := a.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		step, usable, err = sift(ctx, tx, found)
		return err
	})
	if err != nil {
		return step, err
	}
	for len(usable) > 0 {
		n := 1
		for n < len(usable) && usable[n].IntegrationID == usable[0].IntegrationID {
			n++
		}
		taken, err := a.rehearseSome(ctx, org, usable[:n], &step)
		if err != nil && taken > 1 && domain.KindOf(err) != domain.KindUnavailable {
			// One of them spoils the batch: take them singly, as applying would.
			taken, err = a.rehearseSome(ctx, org, usable[:1], &step)
		}
		if err != nil {
			if domain.KindOf(err) == domain.KindUnavailable {
				return step, err
			}
			outcome := (&batch{}).failed(usable[0], err)
			tell(&step, usable[0].ID, outcome, nil)
			taken = 1
		}
		usable = usable[taken:]
	}
	step.Replayed = step.Seen - step.Skipped
	return step, nil
}

// rehearseSome decides deliveries of one integration and returns how many of them it took.
func (a *Replays) rehearseSome(ctx context.Context, org domain.OrgID, list []domain.RawDelivery, step *store.ReplayStep) (taken int, err error) {
	var b batch
	var effects []map[string]int
	var outcomes []store.DeliveryOutcome
	err = a.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		b, taken = batch{now: tx.Now, started: time.Now()}, len(list)
		i, opened, openErr := open(ctx, tx, a.Opener, list[0].IntegrationID)
		if openErr != nil && domain.KindOf(openErr) != domain.KindPermanent {
			return openErr
		}
		for n, d := range list {
			d.OriginID, d.Attempts = d.Position(), 0
			if !b.decode(ctx, opened, openErr, d) {
				taken = n
				break
			}
		}
		if err := b.supersede(ctx, tx, i.ID); err != nil {
			return err
		}
		if err := b.dropEnded(ctx, tx, i.ID, opened); err != nil {
			return err
		}
		if err := b.hold(ctx, tx, i); err != nil {
			return err
		}
		applied, err := apply.Changes(ctx, tx, i, b.changes)
		if err != nil {
			return err
		}
		effects = make([]map[string]int, len(b.waiting))
		for k, e := range applied.Outcomes {
			if effects[b.owner[k]] == nil {
				effects[b.owner[k]] = map[string]int{}
			}
			effects[b.owner[k]][string(e.Effect)]++
		}
		outcomes = b.settle(applied.Outcomes)
		return errRehearsal
	})
	if !errors.Is(err, errRehearsal) {
		return taken, err
	}
	for n, o := range outcomes {
		tell(step, b.waiting[n].ID, o, effects[n])
	}
	return taken, nil
}

// tell adds what a delivery would do to the counts and, while there is room, to the samples.
func tell(step *store.ReplayStep, id domain.DeliveryID, o store.DeliveryOutcome, effects map[string]int) {
	step.Tally.Outcomes[o.State]++
	for word, n := range effects {
		step.Tally.Effects[word] += n
	}
	if len(step.Samples) < domain.MaxReplaySamples {
		step.Samples = append(step.Samples, domain.ReplaySample{Delivery: id, Outcome: o.State, Reason: o.Reason, Effects: effects})
	}
}
