package server

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// disconnectView is how far the disconnecting of an integration is, or what it would do.
type disconnectView struct {
	IntegrationID domain.IntegrationID    `json:"integration_id"`
	State         domain.IntegrationState `json:"integration_state"`
	// Stage sums it up: counted is the answer of a dry run, and of one that nobody disconnects.
	Stage  string      `json:"stage" enum:"counted,removing_copies,ending_hooks,done"`
	DryRun bool        `json:"dry_run"`
	Copies copiesLeft  `json:"copies"`
	Hooks  []hookState `json:"hooks" doc:"Webhooks that WedSync registered at the system and that stand there as far as known"`
	Note   string      `json:"note,omitempty"`
}

// copiesLeft counts what WedSync wrote into the system.
type copiesLeft struct {
	There   int  `json:"there" doc:"Copies that WedSync wrote and that are there as far as known"`
	Remove  bool `json:"remove" doc:"They are, or would be, taken out first"`
	Removed int  `json:"removed,omitempty"`
	Failed  int  `json:"failed,omitempty" doc:"Could not be removed after many tries; asking again tries them anew"`
}

// hookState is a registered webhook.
type hookState struct {
	ID       domain.WatchID    `json:"id"`
	State    domain.WatchState `json:"state"`
	Failures int               `json:"failures,omitempty" doc:"Calls in a row that did not end it"`
	Fault    string            `json:"fault,omitempty"`
}

type disconnectOutput struct{ Body disconnectView }

type disconnectInput struct {
	IDParam
	FreezeHeader
	Body struct {
		Copies string `json:"copies" enum:"keep,remove" doc:"What becomes of the copies that WedSync wrote into the system. Entries of the system's own are never touched"`
		DryRun bool   `json:"dry_run,omitempty" doc:"Only tell what it would do"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

// disconnectIntegration ends a connection for good: hooks are taken back, and copies where that is wished. It goes on after
// the answer, through restarts and outages, and may be asked for again.
func (s *Server) disconnectIntegration(ctx context.Context, in *disconnectInput) (*disconnectOutput, error) {
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	remove := in.Body.Copies == "remove"
	if in.Body.DryRun {
		if _, err := s.readIntegration(ctx, id); err != nil {
			return nil, err
		}
		out, err := s.readDisconnect(ctx, id)
		if err == nil {
			out.Body.DryRun, out.Body.Stage, out.Body.Copies.Remove = true, "counted", remove
			out.Body.Note = dryNote(out.Body)
		}
		return out, err
	}
	if remove {
		_, err = s.purge(ctx, in.ID, reason, false, true, in.FreezeHeader)
	} else {
		_, err = s.deleteIntegration(ctx, &deleteIntegrationInput{IDParam: in.IDParam, FreezeHeader: in.FreezeHeader, Reason: in.Body.Reason})
	}
	if err != nil {
		return nil, err
	}
	return s.readDisconnect(ctx, id)
}

func dryNote(v disconnectView) string {
	switch {
	case v.Copies.There == 0:
		return "there are no copies of ours; entries of the system's own would not be touched"
	case v.Copies.Remove:
		return "these copies would be removed before the connection ends; entries of the system's own would not be touched"
	}
	return "these copies would stay in the system; nobody keeps them up to date any more"
}

// getDisconnect tells how far the disconnecting of an integration is, also after its end.
func (s *Server) getDisconnect(ctx context.Context, in *IDParam) (*disconnectOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return s.readDisconnect(ctx, id)
}

func (s *Server) readDisconnect(ctx context.Context, id domain.IntegrationID) (*disconnectOutput, error) {
	out := &disconnectOutput{}
	v := &out.Body
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		*v = disconnectView{IntegrationID: id, Stage: "counted", Hooks: []hookState{}}
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		v.State = i.State
		copies, err := tx.Mirrors(ctx, id)
		if err != nil {
			return err
		}
		v.Copies.There = len(copies)
		p, err := tx.LastPurge(ctx, id)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		if err == nil && p.Disconnect {
			v.Copies.Remove, v.Copies.Failed, v.Copies.Removed = true, p.Failed, p.Copies-p.Left
			if p.EndedAt == nil {
				v.Stage, v.Note = "removing_copies", viewPurge(p, i).Note
			}
		}
		watches, err := tx.OpenWatches(ctx, id)
		if err != nil {
			return err
		}
		for _, w := range watches {
			v.Hooks = append(v.Hooks, hookState{ID: w.ID, State: w.State, Failures: w.Failures, Fault: w.Fault})
		}
		switch {
		case i.State == domain.IntegrationDeleted && len(v.Hooks) > 0:
			v.Stage, v.Note = "ending_hooks", "tried for about an hour; what the system does not take back runs out by itself"
		case i.State == domain.IntegrationDeleted:
			v.Stage = "done"
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
