package server

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/explain"
	"github.com/wedsync/wedsync/internal/store"
)

// explainedChanges is how many lines of history one answer has.
const explainedChanges = 100

type originView struct {
	Kind          string               `json:"kind" enum:"system,wedsync" doc:"Where it was made"`
	IntegrationID domain.IntegrationID `json:"integration_id,omitempty"`
	Name          string               `json:"name,omitempty"`
	Provider      string               `json:"provider,omitempty"`
	ExternalID    string               `json:"external_id,omitempty" doc:"Its entry there"`
	Cause         *domain.Cause        `json:"cause,omitempty" doc:"What made it; absent for bookings older than the history"`
}

type systemView struct {
	IntegrationID domain.IntegrationID    `json:"integration_id"`
	Name          string                  `json:"name"`
	Provider      string                  `json:"provider"`
	State         domain.IntegrationState `json:"state"`
	Direction     domain.Direction        `json:"direction"`
	explain.Verdict
	Entries []linkView   `json:"entries,omitempty" doc:"What is or was there"`
	Push    *domain.Push `json:"push,omitempty" doc:"The last wish for a copy"`
}

type explainOutput struct {
	Body struct {
		BookingID domain.BookingID       `json:"booking_id,omitempty"`
		Known     bool                   `json:"known" doc:"Whether WedSync knows of it"`
		Status    domain.BookingStatus   `json:"status,omitempty"`
		Category  domain.Category        `json:"category,omitempty"`
		Private   bool                   `json:"private"`
		Free      bool                   `json:"free"`
		Version   int64                  `json:"version,omitempty"`
		Reason    string                 `json:"reason" doc:"In words"`
		Origin    *originView            `json:"origin,omitempty"`
		Systems   []systemView           `json:"systems" doc:"Which systems show it, and why or why not"`
		Merged    domain.BookingID       `json:"merged_into,omitempty" doc:"The booking that a person said it is the same as"`
		Choices   []domain.LinkChoice    `json:"choices" doc:"What persons said about it being one with other bookings"`
		Held      []domain.HeldRemoval   `json:"held" doc:"Removals of its entries that were held, newest first"`
		Changes   []domain.BookingChange `json:"changes" doc:"Its history, newest first: names of fields, never values"`
		More      bool                   `json:"more,omitempty" doc:"The history goes on; pass the last version as below"`
		// Deliveries are told for an entry that is not known: what webhooks about it led to.
		Deliveries []domain.Delivery `json:"deliveries,omitempty" doc:"Of an entry that is not known: webhooks that named it first, newest first"`
	}
}

func newExplanation() *explainOutput {
	out := &explainOutput{}
	out.Body.Systems, out.Body.Held, out.Body.Changes = []systemView{}, []domain.HeldRemoval{}, []domain.BookingChange{}
	out.Body.Choices = []domain.LinkChoice{}
	return out
}

type explainBookingInput struct {
	IDParam
	Below int64 `query:"below" minimum:"0" doc:"Only history before this version"`
}

func (s *Server) explainBooking(ctx context.Context, in *explainBookingInput) (*explainOutput, error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	var out *explainOutput
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out = newExplanation()
		return out.booking(ctx, tx, id, in.Below)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type explainEntryInput struct {
	IDParam
	ExternalID string `query:"external_id" required:"true" minLength:"1" maxLength:"500" doc:"The system's own id of the entry"`
}

func (s *Server) explainEntry(ctx context.Context, in *explainEntryInput) (*explainOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var out *explainOutput
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out = newExplanation()
		i, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		l, err := tx.LinkAt(ctx, id, in.ExternalID)
		if domain.KindOf(err) == domain.KindNotFound {
			return out.unknown(ctx, tx, i, in.ExternalID)
		}
		if err != nil {
			return err
		}
		if err := out.booking(ctx, tx, l.BookingID, 0); err != nil {
			return err
		}
		switch {
		case l.Mirror && l.RemovedAt != nil:
			out.Body.Reason = "it was a copy that WedSync wrote; it is gone"
		case l.Mirror:
			out.Body.Reason = "it is a copy that WedSync wrote"
		case l.RemovedAt != nil:
			out.Body.Reason = "it was an entry of the system's own; it is gone there"
		default:
			out.Body.Reason = "it is an entry of the system's own"
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// unknown says why an entry is not known, as far as webhooks tell.
func (o *explainOutput) unknown(ctx context.Context, tx *store.Tx, i domain.Integration, externalID string) error {
	deliveries, _, err := tx.Deliveries(ctx, store.DeliveryFilter{Integration: i.ID, Entity: externalID}, store.Page{Limit: 5})
	if err != nil {
		return err
	}
	o.Body.Deliveries = deliveries
	switch {
	case len(deliveries) > 0:
		o.Body.Reason = "webhooks named it, and none of them made a booking; each says why"
	case !i.Direction.Imports():
		o.Body.Reason = "the connection only writes, so entries of others there are left alone"
	case i.State != domain.IntegrationActive:
		o.Body.Reason = "the connection is " + string(i.State) + ", so nothing is read there"
	case i.LastSyncAt == nil && i.LastDeliveryAt == nil:
		o.Body.Reason = "nothing was read from the system yet"
	default:
		o.Body.Reason = "the system has not told of it, or it was left out when it was read: see the rules and the window in the settings; a plan tells what a reading now would do"
	}
	return nil
}

// booking fills everything in about one booking.
func (o *explainOutput) booking(ctx context.Context, tx *store.Tx, id domain.BookingID, below int64) error {
	b, err := tx.Booking(ctx, id)
	if err != nil {
		return err
	}
	links, err := tx.LinksOf(ctx, id)
	if err != nil {
		return err
	}
	pushes, err := tx.PushesOf(ctx, id)
	if err != nil {
		return err
	}
	held, states, err := tx.HeldOf(ctx, id)
	if err != nil {
		return err
	}
	edited, err := tx.OpenEditsOf(ctx, id)
	if err != nil {
		return err
	}
	changes, err := tx.BookingChanges(ctx, id, below, explainedChanges+1)
	if err != nil {
		return err
	}
	out := &o.Body
	out.BookingID, out.Known, out.Status, out.Category, out.Private, out.Free, out.Version = id, true, b.Status, b.Category, b.Private, b.Free, b.Version
	if held != nil {
		out.Held = held
	}
	choices, err := tx.LinkChoices(ctx, []domain.BookingID{id})
	if err != nil {
		return err
	}
	out.Merged, out.Choices = b.MergedInto, append(out.Choices, choices...)
	if len(changes) > explainedChanges {
		changes, out.More = changes[:explainedChanges], true
	}
	if changes != nil {
		out.Changes = changes
	}
	waiting := map[domain.LinkID]bool{}
	for _, h := range held {
		if states[h.QuarantineID] == domain.QuarantineOpen && h.Outcome == "" {
			waiting[h.LinkID] = true
		}
	}
	systems, err := everyIntegration(ctx, tx, b, links)
	if err != nil {
		return err
	}
	showing := 0
	for _, i := range systems {
		in := explain.Input{Booking: b, Integration: i, Edited: slices.Contains(edited, i.ID)}
		v := systemView{IntegrationID: i.ID, Name: i.Name, Provider: i.Provider, State: i.State, Direction: i.Direction}
		for _, l := range links {
			if l.IntegrationID == i.ID {
				in.Links, in.Held = append(in.Links, l), in.Held || waiting[l.ID]
				v.Entries = append(v.Entries, viewLink(l))
			}
		}
		for n := range pushes {
			if pushes[n].IntegrationID == i.ID {
				in.Push, v.Push = &pushes[n], &pushes[n]
			}
		}
		v.Verdict = explain.System(in)
		live := func(l linkView) bool { return l.RemovedAt == nil }
		if v.Shows == explain.ShowsOwn || v.Shows == explain.ShowsCopy || v.Code == explain.CodeEdited && slices.ContainsFunc(v.Entries, live) {
			showing++
		}
		out.Systems = append(out.Systems, v)
	}
	out.Reason = "no system shows it"
	switch {
	case b.MergedInto != "":
		out.Reason = "a person said that it is the same event as booking " + string(b.MergedInto) + ", which stands for it"
	case showing > 0:
		out.Reason = "systems show it"
	}
	return o.origin(ctx, tx, b, links, systems)
}

// everyIntegration lists the connections of the organisation, and deleted ones that have had the booking.
func everyIntegration(ctx context.Context, tx *store.Tx, b domain.Booking, links []domain.Link) ([]domain.Integration, error) {
	var all []domain.Integration
	seen := map[domain.IntegrationID]bool{}
	for after := ""; ; {
		list, next, err := tx.Integrations(ctx, store.Page{Limit: store.MaxPage, After: after})
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			all, seen[i.ID] = append(all, i), true
		}
		if after = next; next == "" {
			break
		}
	}
	missing := []domain.IntegrationID{b.SourceID}
	for _, l := range links {
		missing = append(missing, l.IntegrationID)
	}
	for _, id := range missing {
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		i, err := tx.Integration(ctx, id)
		if domain.KindOf(err) == domain.KindNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

func (o *explainOutput) origin(ctx context.Context, tx *store.Tx, b domain.Booking, links []domain.Link, systems []domain.Integration) error {
	v := &originView{Kind: "wedsync"}
	if b.SourceID != "" {
		v.Kind, v.IntegrationID = "system", b.SourceID
		for _, i := range systems {
			if i.ID == b.SourceID {
				v.Name, v.Provider = i.Name, i.Provider
			}
		}
		for _, l := range links {
			if l.IntegrationID == b.SourceID && !l.Mirror {
				v.ExternalID = l.ExternalID
				break
			}
		}
	}
	first, err := tx.BookingChanges(ctx, b.ID, 2, 1)
	if err == nil && len(first) == 1 {
		v.Cause = &first[0].Cause
	}
	o.Body.Origin = v
	return err
}
