package server

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/resolutions"
	"github.com/wedsync/wedsync/internal/store"
)

type conflictOutput struct {
	ETag string `header:"ETag"`
	Body domain.Conflict
}

type listConflictsInput struct {
	PageParams
	State    domain.ConflictState `query:"state" enum:"open,ignored,resolving,undoing,stuck,resolved,dismissed,cleared"`
	Resource string               `query:"resource" maxLength:"36"`
}

func (s *Server) listConflicts(ctx context.Context, in *listConflictsInput) (*listOutput[domain.Conflict], error) {
	resource, err := optionalID[domain.ResourceID]("query.resource", in.Resource)
	if err != nil {
		return nil, err
	}
	var out []domain.Conflict
	var next string
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out, next, err = tx.Conflicts(ctx, store.ConflictFilter{State: in.State, Resource: resource}, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i] = whole(out[i])
	}
	return list(out, next), nil
}

// whole keeps null out of the answer.
func whole(c domain.Conflict) domain.Conflict {
	if c.Alternatives == nil {
		c.Alternatives = []domain.Alternative{}
	}
	for i := range c.Alternatives {
		if c.Alternatives[i].Reasons == nil {
			c.Alternatives[i].Reasons = []string{}
		}
	}
	return c
}

// decidedBy completes a refusal because of another version by who decided what, where that is why.
func decidedBy(err error, c domain.Conflict) error {
	by := c.Decided()
	if domain.KindOf(err) != domain.KindConflict || by == "" || c.State == domain.ConflictOpen {
		return err
	}
	status, code := statusOf(err)
	return withStatus(status, code, domain.E(domain.KindConflict, "%s: %s", err.Error(), by))
}

// over says that a decision comes too late, and who decided what.
func over(c domain.Conflict) string {
	text := "the conflict is " + string(c.State) + " already"
	if by := c.Decided(); by != "" && c.State != domain.ConflictCleared {
		text += ": " + by
	}
	return text
}

func (s *Server) readConflict(ctx context.Context, rawID string) (c domain.Conflict, err error) {
	id, err := parseID[domain.ConflictID]("conflict", rawID)
	if err != nil {
		return c, err
	}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		c, err = tx.Conflict(ctx, id)
		return err
	})
	return whole(c), err
}

func (s *Server) getConflict(ctx context.Context, in *IDParam) (*conflictOutput, error) {
	c, err := s.readConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &conflictOutput{ETag: etag(c.Version), Body: c}, nil
}

type resolveBody struct {
	Action      domain.ResolveAction `json:"action,omitempty" enum:"move,reassign,cancel,tentative,ignore,keep_both" doc:"Needed unless alternative is given"`
	Alternative *int                 `json:"alternative,omitempty" minimum:"0" maximum:"99" doc:"Take the proposal at this place, 0 being the best"`
	BookingID   string               `json:"booking_id,omitempty" maxLength:"36" doc:"The booking to change; the one that should give way where absent"`
	ResourceID  string               `json:"resource_id,omitempty" maxLength:"36" doc:"For reassign"`
	When        *whenBody            `json:"when,omitempty" doc:"For move"`
	Until       *time.Time           `json:"until,omitempty" doc:"For ignore: when it comes back if the two still clash; before they do, and 48 hours before a wedding concerned"`
	Reason      string               `json:"reason,omitempty" maxLength:"500" doc:"Why, in your words; no personal data"`
	Version     int64                `json:"version,omitempty" minimum:"1" doc:"Of the conflict as you saw it, unless If-Match says it"`
}

type resolveInput struct {
	IDParam
	KeyHeader
	VersionHeader
	Body resolveBody
}

type resolveOutput struct {
	Location string `header:"Location"`
	Body     struct {
		State      domain.ConflictState `json:"state" doc:"Where the conflict stands now; follow it on the live stream"`
		DecisionID string               `json:"decision_id"`
		ConflictID domain.ConflictID    `json:"conflict_id"`
	}
}

// resolveConflict stores the decision with its words, and then tells the conflict's workflow the ids. The workflow
// decides whether it still fits; its refusal is 409.
func (s *Server) resolveConflict(ctx context.Context, in *resolveInput) (*resolveOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	c, err := s.readConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	decision, repeated := newOrRepeated[domain.ConflictID](in.Key, who, "decision "+in.ID, s.now())
	if !repeated && !c.State.Open() {
		return nil, domain.E(domain.KindConflict, "%s", over(c))
	}
	version := in.Body.Version
	if repeated && in.IfMatch == "" && version != 0 {
		// A repeat comes after the first request moved the version on. The workflow knows the decision by its id.
	} else if version, err = in.expect(version, c.Version); err != nil {
		return nil, decidedBy(err, c)
	}
	r, err := s.decide(ctx, c, in.Body)
	if err != nil {
		return nil, err
	}
	r.By, r.Reason, r.At = who.Subject, reason, s.now().UTC().Truncate(time.Second)
	subject := "conflict/" + string(c.ID)
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.PutDecision(ctx, string(decision), c.ID, r); err != nil {
			return err
		}
		after := decisionFacts(r)
		after["decision"] = string(decision)
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "conflict.resolve", Reason: reason, Subject: subject,
			Before: map[string]string{"state": string(c.State), "version": strconv.FormatInt(c.Version, 10), "booking": string(c.BookingID), "other": string(c.OtherID)},
			After:  after})
	})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	result, err := s.deps.Flow.Resolve(wait, c.ID, contract.ResolveRequest{Action: r.Action, BookingID: r.BookingID, ResourceID: r.ResourceID,
		When: r.When, Until: r.Until, DecisionID: string(decision), By: who.Subject, Version: version})
	if err != nil {
		s.recordRefusal(ctx, "conflict.resolve", subject, err)
		return nil, flowFault(err)
	}
	out := &resolveOutput{Location: "/v1/conflicts/" + string(c.ID)}
	out.Body.State, out.Body.DecisionID, out.Body.ConflictID = result.State, string(decision), c.ID
	return out, nil
}

type withdrawInput struct {
	IDParam
	VersionHeader
	Body struct {
		Reason  string `json:"reason,omitempty" maxLength:"500" doc:"Why, in your words; no personal data"`
		Version int64  `json:"version,omitempty" minimum:"1" doc:"Of the conflict as you saw it, unless If-Match says it"`
	}
}

// withdrawDecision turns a decision round that is being carried out. The workflow is told by the outbox.
func (s *Server) withdrawDecision(ctx context.Context, in *withdrawInput) (*conflictOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	c, err := s.readConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	version, err := in.expect(in.Body.Version, c.Version)
	if err != nil {
		return nil, decidedBy(err, c)
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		c, err = resolutions.Withdraw(ctx, tx, c.ID, version, who.Subject, reason)
		return err
	})
	if err != nil {
		return nil, err
	}
	c = whole(c)
	return &conflictOutput{ETag: etag(c.Version), Body: c}, nil
}

// decide completes a decision from the conflict, and refuses one that cannot be carried out.
func (s *Server) decide(ctx context.Context, c domain.Conflict, b resolveBody) (domain.Resolution, error) {
	if b.Alternative != nil {
		if b.Action != "" || b.BookingID != "" || b.ResourceID != "" || b.When != nil || b.Until != nil {
			return domain.Resolution{}, domain.Invalid("body.alternative", "stands alone: it says action, booking, resource and time by itself")
		}
		if *b.Alternative >= len(c.Alternatives) {
			return domain.Resolution{}, domain.Invalid("body.alternative", "the conflict has %d, numbered from 0", len(c.Alternatives))
		}
		a := c.Alternatives[*b.Alternative]
		r := domain.Resolution{Action: a.Action, BookingID: a.BookingID}
		if a.Action == domain.ActionReassign {
			r.ResourceID = a.ResourceID
		} else {
			r.When = &a.When
		}
		return r, nil
	}
	r := domain.Resolution{Action: b.Action, BookingID: c.BookingID}
	if b.BookingID != "" {
		id, err := domain.ParseID[domain.BookingID]("body.booking_id", b.BookingID)
		if err != nil {
			return r, err
		}
		if id != c.BookingID && id != c.OtherID {
			return r, domain.Invalid("body.booking_id", "must be one of the conflict's two bookings")
		}
		r.BookingID = id
	}
	if b.When != nil && b.Action != domain.ActionMove {
		return r, domain.Invalid("body.when", "belongs to move only")
	}
	if b.ResourceID != "" && b.Action != domain.ActionReassign {
		return r, domain.Invalid("body.resource_id", "belongs to reassign only")
	}
	if b.Until != nil && b.Action != domain.ActionIgnore {
		return r, domain.Invalid("body.until", "belongs to ignore only")
	}
	switch b.Action {
	case domain.ActionKeepBoth:
		r.BookingID = ""
	case domain.ActionIgnore:
		if b.Until == nil {
			return r, domain.Invalid("body.until", "is required for ignore")
		}
		if !b.Until.After(s.now()) {
			return r, domain.Invalid("body.until", "must lie in the future")
		}
		until := b.Until.UTC().Truncate(time.Second)
		r.BookingID, r.Until = "", &until
	case domain.ActionCancel, domain.ActionTentative:
	case domain.ActionMove:
		if b.When == nil {
			return r, domain.Invalid("body.when", "is required for move")
		}
		zone, err := s.zoneOf(ctx, r.BookingID)
		if err != nil {
			return r, err
		}
		when, err := b.When.when("body.when", zone)
		if err != nil {
			return r, err
		}
		r.When = &when
	case domain.ActionReassign:
		id, err := domain.ParseID[domain.ResourceID]("body.resource_id", b.ResourceID)
		if err != nil {
			return r, err
		}
		if _, err := s.readResource(ctx, id); domain.KindOf(err) == domain.KindNotFound {
			return r, domain.Invalid("body.resource_id", "no such resource")
		} else if err != nil {
			return r, err
		}
		r.ResourceID = id
	default:
		return r, domain.Invalid("body.action", "must be move, reassign, cancel, tentative, ignore or keep_both, unless alternative is given")
	}
	return r, nil
}

func (s *Server) zoneOf(ctx context.Context, id domain.BookingID) (zone string, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, id)
		zone = b.When.Zone
		return err
	})
	return zone, err
}

func decisionFacts(r domain.Resolution) map[string]string {
	facts := map[string]string{"action": string(r.Action), "booking": string(r.BookingID), "resource": string(r.ResourceID)}
	if r.When != nil {
		facts["when"] = r.When.String()
	}
	if r.Until != nil {
		facts["until"] = r.Until.Format(time.RFC3339)
	}
	maps.DeleteFunc(facts, func(_, v string) bool { return v == "" })
	return facts
}
