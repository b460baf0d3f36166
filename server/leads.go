package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/store"
)

// leadTimeout bounds handing an enquiry in while somebody waits. It is below domain.LeadTimeout, so that no enquiry that is
// still being sent is told as unknown.
const leadTimeout = 20 * time.Second

type sendLeadInput struct {
	IDParam
	KeyHeader
	Body struct {
		FullName  string `json:"full_name" minLength:"1" maxLength:"200"`
		Email     string `json:"email" minLength:"3" maxLength:"200"`
		Phone     string `json:"phone_number,omitempty" maxLength:"200"`
		EventType string `json:"event_type,omitempty" maxLength:"200" example:"Wedding"`
		EventDate string `json:"event_date,omitempty" maxLength:"10" example:"2027-06-05"`
		Location  string `json:"event_location,omitempty" maxLength:"200"`
		Guests    int    `json:"event_guests,omitempty" minimum:"0" maximum:"10000"`
		Budget    string `json:"event_budget,omitempty" maxLength:"200"`
		Details   string `json:"event_details,omitempty" maxLength:"2000"`
	}
}

type leadView struct {
	domain.SentLead
	Confirmed bool   `json:"confirmed" doc:"Always false: the system tells nobody what became of an enquiry"`
	Meaning   string `json:"meaning" doc:"What the state says, in words"`
}

func viewLead(l domain.SentLead) leadView {
	words := map[domain.LeadState]string{
		domain.LeadSending:  "it is being sent",
		domain.LeadAnswered: "the system answered with success; whether it made something of it is not told, so look there",
		domain.LeadRefused:  "the system refused it, so it did not arrive",
		domain.LeadUnknown:  "no answer came: it may have arrived, so look there before you send it under another key",
	}
	return leadView{SentLead: l, Meaning: words[l.State]}
}

type leadOutput struct{ Body leadView }

// sendLead hands an enquiry in, once for a key: what is not known to have failed is never sent a second time.
func (s *Server) sendLead(ctx context.Context, in *sendLeadInput) (*leadOutput, error) {
	who, b := callerOf(ctx), &in.Body
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	lead := provider.Lead{FullName: b.FullName, Email: b.Email, Phone: b.Phone, EventType: b.EventType, Location: b.Location, Guests: b.Guests, Budget: b.Budget, Details: b.Details}
	sender, err := s.leadSender(ctx, id)
	if err != nil {
		return nil, err
	}
	if b.EventDate != "" {
		if lead.EventDate, err = calendartime.ParseDate(b.EventDate); err != nil {
			return nil, domain.Invalid("body.event_date", "must be a date such as 2027-06-05")
		}
	}
	if err := lead.Validate(); err != nil {
		return nil, domain.Invalid("body."+domain.FieldOf(err), "%s", textOf(err))
	}
	said, err := json.Marshal(lead)
	if err != nil {
		return nil, domain.E(domain.KindInternal, "write an enquiry as JSON: %w", err)
	}
	leadID, _ := newOrRepeated[domain.LeadID](in.Key, who, "lead/"+in.ID, s.now())
	var l domain.SentLead
	begun := false
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		l, begun, err = tx.BeginLead(ctx, domain.SentLead{ID: leadID, IntegrationID: id, RequestHash: sha256.Sum256(said), RequestedBy: who.Subject}, sender.LeadsADay())
		if err != nil || !begun {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "lead.send", Reason: "requested", Subject: "integration/" + string(id),
			After: map[string]string{"lead": string(leadID)}})
	}); err != nil {
		return nil, err
	}
	if !begun {
		return &leadOutput{viewLead(l)}, nil
	}
	// Whoever asked may go away; the enquiry is sent and settled all the same.
	ctx = context.WithoutCancel(ctx)
	send, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	state, reason := domain.LeadAnswered, ""
	if err := sender.SendLead(send, lead); err != nil {
		if state, reason = domain.LeadRefused, err.Error(); domain.KindOf(err) == domain.KindUnavailable {
			state = domain.LeadUnknown
		}
	}
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		l, err = tx.SettleLead(ctx, leadID, state, reason)
		return err
	}); err != nil {
		return nil, err
	}
	return &leadOutput{viewLead(l)}, nil
}

// textOf is the text of an error of ours without its field.
func textOf(err error) string {
	p := problemOf(err)
	if len(p.Errors) == 1 {
		return p.Errors[0].Reason
	}
	return p.Detail
}

// leadSender opens an integration that takes enquiries.
func (s *Server) leadSender(ctx context.Context, id domain.IntegrationID) (provider.LeadSender, error) {
	var ground trialGround
	if err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		ground, err = s.trialGround(ctx, tx, id)
		return err
	}); err != nil {
		return nil, err
	}
	reg, known := s.providers[ground.integration.Provider]
	if !known {
		return nil, domain.E(domain.KindConflict, "provider %q is not part of this program", ground.integration.Provider)
	}
	zone, err := loadZone("zone", ground.zone)
	if err != nil {
		return nil, err
	}
	opened, err := reg.Open(provider.Connection{Integration: ground.integration, Secrets: ground.secrets, Zone: zone, HTTP: s.deps.Outward, Now: s.now})
	if err != nil {
		return nil, domain.E(domain.KindConflict, "open the connection: %w", err)
	}
	sender, ok := provider.As[provider.LeadSender](opened)
	if !ok {
		return nil, domain.E(domain.KindConflict, "this connection sends no enquiries; its provider cannot, or its settings do not say so")
	}
	return sender, nil
}

type listLeadsInput struct {
	IDParam
	PageParams
}

func (s *Server) listLeads(ctx context.Context, in *listLeadsInput) (*listOutput[leadView], error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]leadView, string, error) {
		if _, err := present(ctx, tx, id); err != nil {
			return nil, "", err
		}
		all, next, err := tx.Leads(ctx, id, in.page())
		return views(all, viewLead), next, err
	})
}
