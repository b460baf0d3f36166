package server

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/store"
)

type recipientView struct {
	domain.Recipient
	Secret string `json:"secret,omitempty" doc:"The new secret that signs this person's webhooks (Standard Webhooks); shown this once only"`
}

type recipientOutput struct {
	ETag string `header:"ETag"`
	Body recipientView
}

func recipientAnswer(r domain.Recipient, secret string) *recipientOutput {
	if r.Resources == nil {
		r.Resources = []domain.ResourceID{}
	}
	return &recipientOutput{ETag: etag(r.Version), Body: recipientView{Recipient: r, Secret: secret}}
}

type createRecipientInput struct {
	KeyHeader
	Body struct {
		Name      string                    `json:"name" minLength:"1" maxLength:"200" doc:"Personal; sealed in storage"`
		Role      string                    `json:"role,omitempty" maxLength:"60" doc:"What the person does, such as planner; no personal data"`
		Zone      string                    `json:"zone" minLength:"1" maxLength:"64" example:"Europe/London" doc:"IANA zone in which the person lives"`
		Addresses domain.NotifyAddresses    `json:"addresses,omitempty" doc:"Where the person is reached; personal, sealed in storage"`
		Resources []domain.ResourceID       `json:"resources,omitempty" doc:"That the person is concerned with; empty = all"`
		Prefer    *domain.NotifyPreferences `json:"preferences,omitempty" doc:"What to tell, how and when; without rules everything from medium severity on, in every way there is"`
		Reason    string                    `json:"reason,omitempty" maxLength:"500"`
	}
}

// defaultDigest is when digests are sent where nobody says: 8 in the morning.
const defaultDigest = 8 * 60

func (s *Server) createRecipient(ctx context.Context, in *createRecipientInput) (*recipientOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, repeatable := newOrRepeated[domain.RecipientID](in.Key, who, "recipient", s.now())
	r := domain.Recipient{ID: id, OrgID: who.Org, Name: b.Name, Role: b.Role, Zone: b.Zone, Addresses: b.Addresses, Resources: b.Resources,
		Prefer: domain.NotifyPreferences{DigestAt: defaultDigest}, CreatedBy: who.Subject}
	if b.Prefer != nil {
		r.Prefer = *b.Prefer
	}
	if err := s.checkRecipient(r); err != nil {
		return nil, err
	}
	secret, fresh := newSecret(s.now()).Secret, true
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if repeatable {
			had, err := presentRecipient(ctx, tx, id)
			if err == nil {
				r, fresh = had, false
				return nil
			}
			if domain.KindOf(err) != domain.KindNotFound {
				return err
			}
		}
		if err := knownResources(ctx, tx, r.Resources); err != nil {
			return err
		}
		if err := tx.CreateRecipient(ctx, r, secret); err != nil {
			return atBody(err, "")
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "recipient.create", Reason: reason,
			Subject: "recipient/" + string(id), After: recipientFacts(r)}); err != nil {
			return err
		}
		r, err = tx.Recipient(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !fresh || r.Addresses.Webhook == "" {
		secret = ""
	}
	return recipientAnswer(r, secret), nil
}

// checkRecipient refuses what could never be used.
func (s *Server) checkRecipient(r domain.Recipient) error {
	if err := r.Validate("body."); err != nil {
		return err
	}
	if _, err := loadZone("body.zone", r.Zone); err != nil {
		return err
	}
	for field, text := range map[string]string{"slack": r.Addresses.Slack, "webhook": r.Addresses.Webhook} {
		if err := s.checkOutgoing("body.addresses."+field, text); err != nil {
			return err
		}
	}
	return nil
}

// checkOutgoing refuses a URL that must not be posted to. The text never quotes it: it may hold a token.
func (s *Server) checkOutgoing(field, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || !u.IsAbs() || u.Opaque != "" || u.Fragment != "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return domain.Invalid(field, "must be an absolute URL without a fragment")
	}
	policy := httpx.PublicOnly
	if s.o.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	if err := httpx.CheckURL(u, policy); err != nil {
		return domain.Invalid(field, "%s", strings.TrimPrefix(err.Error(), "url: "))
	}
	return nil
}

func knownResources(ctx context.Context, tx *store.Tx, all []domain.ResourceID) error {
	for i, id := range all {
		if _, err := tx.Resource(ctx, id); domain.KindOf(err) == domain.KindNotFound {
			return domain.Invalid("body.resources["+strconv.Itoa(i)+"]", "no such resource")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// recipientFacts is what the trail keeps: neither name nor addresses.
func recipientFacts(r domain.Recipient) map[string]string {
	var ways []string
	for _, c := range domain.NotifyChannels() {
		if r.Addresses.Has(c) {
			ways = append(ways, string(c))
		}
	}
	return map[string]string{"role": r.Role, "zone": r.Zone, "channels": strings.Join(ways, ","), "rules": strconv.Itoa(len(r.Prefer.Rules)),
		"resources": strconv.Itoa(len(r.Resources)), "state": string(r.State)}
}

// presentRecipient reads one; a deleted one is gone for the API.
func presentRecipient(ctx context.Context, tx *store.Tx, id domain.RecipientID) (domain.Recipient, error) {
	r, err := tx.Recipient(ctx, id)
	if err == nil && r.State == domain.RecipientDeleted {
		return domain.Recipient{}, domain.E(domain.KindNotFound, "no such recipient")
	}
	return r, err
}

func (s *Server) readRecipient(ctx context.Context, text string) (r domain.Recipient, err error) {
	id, err := parseID[domain.RecipientID]("recipient", text)
	if err != nil {
		return r, err
	}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		r, err = presentRecipient(ctx, tx, id)
		return err
	})
	return r, err
}

func (s *Server) listRecipients(ctx context.Context, in *PageParams) (*listOutput[domain.Recipient], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Recipient, string, error) {
		return tx.Recipients(ctx, in.page())
	})
}

func (s *Server) getRecipient(ctx context.Context, in *IDParam) (*recipientOutput, error) {
	r, err := s.readRecipient(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return recipientAnswer(r, ""), nil
}

type updateRecipientInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version   int64                     `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Name      *string                   `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Role      *string                   `json:"role,omitempty" maxLength:"60"`
		Zone      *string                   `json:"zone,omitempty" minLength:"1" maxLength:"64"`
		Addresses *domain.NotifyAddresses   `json:"addresses,omitempty" doc:"Replaces all of them"`
		Resources *[]domain.ResourceID      `json:"resources,omitempty" doc:"Replaces the list"`
		Prefer    *domain.NotifyPreferences `json:"preferences,omitempty" doc:"Replaces all of them"`
		State     *domain.RecipientState    `json:"state,omitempty" enum:"active,paused" doc:"A paused person is told of nothing; what waits is suppressed"`
		NewSecret bool                      `json:"new_secret,omitempty" doc:"Make a new secret for this person's webhooks; the old one ends at once"`
		Reason    string                    `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateRecipient(ctx context.Context, in *updateRecipientInput) (*recipientOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	was, err := s.readRecipient(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	expect, err := in.expect(b.Version, was.Version)
	if err != nil {
		return nil, err
	}
	now := was
	assign(&now.Name, b.Name)
	assign(&now.Role, b.Role)
	assign(&now.Zone, b.Zone)
	assign(&now.Addresses, b.Addresses)
	assign(&now.Resources, b.Resources)
	assign(&now.Prefer, b.Prefer)
	assign(&now.State, b.State)
	if err := s.checkRecipient(now); err != nil {
		return nil, err
	}
	secret := ""
	if b.NewSecret || was.Addresses.Webhook == "" && now.Addresses.Webhook != "" {
		secret = newSecret(s.now()).Secret
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := knownResources(ctx, tx, now.Resources); err != nil {
			return err
		}
		if err := tx.UpdateRecipient(ctx, now, secret, expect); err != nil {
			return atBody(err, "")
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "recipient.update", Reason: reason, Subject: "recipient/" + string(was.ID),
			Before: recipientFacts(was), After: recipientFacts(now)}); err != nil {
			return err
		}
		now, err = tx.Recipient(ctx, was.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return recipientAnswer(now, secret), nil
}

type testRecipientInput struct {
	IDParam
	Body *struct {
		Channels []domain.NotifyChannel `json:"channels,omitempty" maxItems:"5" doc:"email, slack, webhook, live or pagerduty; absent = every way for which there is an address"`
		Reason   string                 `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

// testRecipient sends a sample message, so that an address can be tried before it is needed.
func (s *Server) testRecipient(ctx context.Context, in *testRecipientInput) (*listOutput[domain.Notification], error) {
	who := callerOf(ctx)
	var by []domain.NotifyChannel
	words := ""
	if in.Body != nil {
		by, words = in.Body.Channels, in.Body.Reason
	}
	reason, err := checkReason(words)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.RecipientID]("recipient", in.ID)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(by))
	for i, c := range by {
		if !slices.Contains(domain.NotifyChannels(), c) || slices.Contains(by[:i], c) {
			return nil, domain.Invalid("body.channels["+strconv.Itoa(i)+"]", "must be email, slack, webhook, live or pagerduty, each once")
		}
		names[i] = string(c)
	}
	var out []domain.Notification
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		r, err := presentRecipient(ctx, tx, id)
		if err != nil {
			return err
		}
		if out, err = notify.SendSample(ctx, tx, r, by, "body."); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "recipient.test", Reason: reason, Subject: "recipient/" + string(id),
			After: map[string]string{"channels": strings.Join(names, ","), "messages": strconv.Itoa(len(out))}})
	}); err != nil {
		return nil, err
	}
	return list(out, ""), nil
}

type deleteRecipientInput struct {
	IDParam
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

// deleteRecipient ends a person's notifications and wipes name and addresses.
func (s *Server) deleteRecipient(ctx context.Context, in *deleteRecipientInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.RecipientID]("recipient", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := presentRecipient(ctx, tx, id)
		if err != nil {
			return err
		}
		now := was
		now.State = domain.RecipientDeleted
		if err := tx.UpdateRecipient(ctx, now, "", was.Version); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "recipient.delete", Reason: reason, Subject: "recipient/" + string(id),
			Before: recipientFacts(was), After: map[string]string{"state": string(now.State)}})
	})
}
