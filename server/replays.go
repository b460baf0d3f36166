package server

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
)

type replayOneInput struct {
	IDParam
	KeyHeader
	FreezeHeader
	Body *reasonBody
}

// replayDelivery hands one delivery in anew. Its integration is told through the outbox, so the request has done its work
// also while Temporal is away.
func (s *Server) replayDelivery(ctx context.Context, in *replayOneInput) (*deliveryOutput, error) {
	who := callerOf(ctx)
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	reason, err := checkReason(reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	replay, _ := newOrRepeated[domain.ReplayID](in.Key, who, "replay of "+in.ID, s.now())
	out := &deliveryOutput{}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Delivery(ctx, id)
		if err != nil {
			return err
		}
		i, err := tx.Integration(ctx, was.IntegrationID)
		if err != nil {
			return err
		}
		if i.State == domain.IntegrationDeleted {
			return domain.E(domain.KindConflict, "its integration is deleted")
		}
		overridden, err := freeze.Person(ctx, tx, freeze.ActReplay, "id", "delivery/"+string(id), in.override(ctx))
		if err != nil {
			return err
		}
		var made bool
		out.Body, made, err = tx.ReplayOne(ctx, domain.Replay{ID: replay, RequestedBy: who.Subject, Reason: reason, OverridesFreeze: overridden}, id)
		if err != nil || !made {
			return err
		}
		if err := tx.Emit(ctx, domain.TopicDeliveryReplayed, map[string]string{"delivery": string(out.Body.ID), "origin": string(out.Body.OriginID),
			"replay": string(replay), "integration": string(i.ID)}); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "delivery.replay", Reason: reason, Subject: "delivery/" + string(id),
			Before: map[string]string{"state": string(was.State)}, After: map[string]string{"replay": string(replay), "delivery": string(out.Body.ID)}})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type discardInput struct {
	IDParam
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

func (s *Server) discardDelivery(ctx context.Context, in *discardInput) (*deliveryOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	out := &deliveryOutput{}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if out.Body, err = tx.DiscardDelivery(ctx, id); err != nil {
			return err
		}
		if err := tx.Emit(ctx, domain.TopicDeliveryIgnored, map[string]string{"delivery": string(id), "integration": string(out.Body.IntegrationID)}); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "delivery.discard", Reason: reason, Subject: "delivery/" + string(id),
			Before: map[string]string{"state": string(domain.DeliveryDead)}, After: map[string]string{"state": string(out.Body.State)}})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// replayChoice is what a request may choose by.
type replayChoice struct {
	Delivery    string               `json:"delivery,omitempty" maxLength:"36" doc:"This one only"`
	Integration string               `json:"integration,omitempty" maxLength:"36"`
	State       domain.DeliveryState `json:"state,omitempty" enum:"applied,ignored,dead"`
	EventType   string               `json:"event_type,omitempty" maxLength:"100"`
	Entity      string               `json:"entity,omitempty" maxLength:"500" doc:"External id of the first entry in it"`
	From        *time.Time           `json:"from,omitempty" doc:"Stored at or after this, to the millisecond"`
	To          *time.Time           `json:"to,omitempty" doc:"Stored before this"`
}

type createReplayInput struct {
	KeyHeader
	FreezeHeader
	Body struct {
		Filter replayChoice `json:"filter,omitempty"`
		All    bool         `json:"all,omitempty" doc:"Required for a filter that chooses everything"`
		DryRun bool         `json:"dry_run,omitempty" doc:"Only find out what would happen"`
		Rate   int          `json:"rate,omitempty" minimum:"1" maximum:"1000" doc:"Deliveries a second; 50 if absent"`
		Reason string       `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

type replayCreatedOutput struct {
	Location string `header:"Location"`
	Body     domain.Replay
}

func (s *Server) createReplay(ctx context.Context, in *createReplayInput) (*replayCreatedOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	f := in.Body.Filter
	r := domain.Replay{Filter: domain.ReplayFilter{State: f.State, EventType: f.EventType, Entity: f.Entity, From: f.From, To: f.To},
		DryRun: in.Body.DryRun, Rate: in.Body.Rate, RequestedBy: who.Subject, Reason: reason}
	if r.Filter.Integration, err = optionalID[domain.IntegrationID]("body.filter.integration", f.Integration); err != nil {
		return nil, err
	}
	if r.Filter.Delivery, err = optionalID[domain.DeliveryID]("body.filter.delivery", f.Delivery); err != nil {
		return nil, err
	}
	if r.Filter.Empty() && !in.Body.All {
		return nil, domain.Invalid("body.filter", "chooses every delivery; narrow it, or say all: true")
	}
	if r.Rate == 0 {
		r.Rate = domain.DefaultReplayRate
	}
	r.ID, _ = newOrRepeated[domain.ReplayID](in.Key, who, "replay", s.now())
	out := &replayCreatedOutput{Location: "/v1/replays/" + string(r.ID)}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if id := r.Filter.Integration; id != "" {
			if _, err := tx.Integration(ctx, id); domain.KindOf(err) == domain.KindNotFound {
				return domain.Invalid("body.filter.integration", "is no integration of this organisation")
			} else if err != nil {
				return err
			}
		}
		if !r.DryRun {
			if r.OverridesFreeze, err = freeze.Person(ctx, tx, freeze.ActReplay, "body.dry_run", "replay/"+string(r.ID), in.override(ctx)); err != nil {
				return err
			}
		}
		var made bool
		if out.Body, made, err = tx.CreateReplay(ctx, r); err != nil || !made {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "replay.start", Reason: reason, Subject: "replay/" + string(r.ID),
			After: map[string]string{"dry_run": strconv.FormatBool(r.DryRun), "rate": strconv.Itoa(r.Rate), "state": string(f.State), "integration": f.Integration}})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Server) listReplays(ctx context.Context, in *PageParams) (*listOutput[domain.Replay], error) {
	var out []domain.Replay
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, next, err = tx.Replays(ctx, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Samples = nil // shown with a single one
	}
	return list(out, next), nil
}

type replayOutput struct {
	Body struct {
		domain.Replay
		Deliveries map[domain.DeliveryState]int `json:"deliveries" doc:"What has become of the deliveries that it handed in, by state; the first 10,000 of them"`
	}
}

func (s *Server) getReplay(ctx context.Context, in *IDParam) (*replayOutput, error) {
	id, err := parseID[domain.ReplayID]("replay", in.ID)
	if err != nil {
		return nil, err
	}
	return s.readReplay(ctx, id)
}

func (s *Server) readReplay(ctx context.Context, id domain.ReplayID) (*replayOutput, error) {
	out := &replayOutput{}
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if out.Body.Replay, err = tx.Replay(ctx, id); err != nil {
			return err
		}
		out.Body.Deliveries, err = tx.ReplayOutcomes(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Server) pauseReplay(ctx context.Context, in *actionInput) (*replayOutput, error) {
	return s.changeReplay(ctx, in, "replay.pause", func(ctx context.Context, id domain.ReplayID, by string) error {
		_, err := s.deps.Flow.PauseReplay(ctx, id, contract.PauseRequest{By: by})
		return err
	})
}

type resumeReplayInput struct {
	IDParam
	FreezeHeader
	Body *reasonBody
}

func (s *Server) resumeReplay(ctx context.Context, in *resumeReplayInput) (*replayOutput, error) {
	if err := s.thawReplay(ctx, in); err != nil {
		return nil, err
	}
	return s.changeReplay(ctx, &actionInput{IDParam: in.IDParam, Body: in.Body}, "replay.resume", func(ctx context.Context, id domain.ReplayID, by string) error {
		_, err := s.deps.Flow.ResumeReplay(ctx, id, contract.ResumeRequest{By: by})
		return err
	})
}

func (s *Server) cancelReplay(ctx context.Context, in *actionInput) (*replayOutput, error) {
	return s.changeReplay(ctx, in, "replay.cancel", func(ctx context.Context, id domain.ReplayID, by string) error {
		_, err := s.deps.Flow.CancelReplay(ctx, id, contract.CancelRequest{By: by})
		return err
	})
}

// thawReplay lets a replay that changes something go on through a freeze, where an admin overrides it.
func (s *Server) thawReplay(ctx context.Context, in *resumeReplayInput) error {
	id, err := parseID[domain.ReplayID]("replay", in.ID)
	if err != nil {
		return err
	}
	return s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Replay(ctx, id)
		if err != nil || r.DryRun || r.OverridesFreeze || r.State.Ended() {
			return err
		}
		overridden, err := freeze.Person(ctx, tx, freeze.ActReplay, "id", "replay/"+string(id), in.override(ctx))
		if err != nil || !overridden {
			return err
		}
		return tx.OverrideReplay(ctx, id)
	})
}

// changeReplay records what a person wants, asks the replay's workflow, and answers with the replay as it is then.
func (s *Server) changeReplay(ctx context.Context, in *actionInput, action string, ask func(context.Context, domain.ReplayID, string) error) (*replayOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.reason())
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ReplayID]("replay", in.ID)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Replay(ctx, id)
		if err != nil {
			return err
		}
		if r.State.Ended() {
			return domain.E(domain.KindConflict, "the replay has ended: it is %s", r.State)
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "replay/" + string(id),
			Before: map[string]string{"state": string(r.State)}})
	})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	if err := ask(wait, id, who.Subject); err != nil {
		s.recordRefusal(ctx, action, "replay/"+string(id), err)
		return nil, flowFault(err)
	}
	return s.readReplay(ctx, id)
}
