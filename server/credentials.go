package server

import (
	"context"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

type credentialList struct {
	Body listBody[domain.WebhookCredential]
}

func (s *Server) listCredentials(ctx context.Context, in *IDParam) (*credentialList, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var all []domain.WebhookCredential
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := present(ctx, tx, id); err != nil {
			return err
		}
		all, err = tx.Credentials(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []domain.WebhookCredential{}
	}
	return &credentialList{Body: listBody[domain.WebhookCredential]{Items: all}}, nil
}

type addCredentialInput struct {
	IDParam
	Body struct {
		Label    string     `json:"label" minLength:"1" maxLength:"120" doc:"Names it for people, such as \"since May\"; no personal data"`
		Secret   string     `json:"secret,omitempty" maxLength:"8192" writeOnly:"true" doc:"As the integration's scheme takes it; sealed and never returned"`
		Generate bool       `json:"generate,omitempty" doc:"Make a secret that fits the scheme, in place of secret; it is in the answer to this request and nowhere else"`
		NotAfter *time.Time `json:"not_after,omitempty" doc:"When it stops being accepted; absent = never"`
		Reason   string     `json:"reason,omitempty" maxLength:"500"`
	}
}

type credentialView struct {
	domain.WebhookCredential
	Secret     string `json:"secret,omitempty" doc:"Only in the answer that generated it"`
	WebhookURL string `json:"webhook_url,omitempty" doc:"Only where a generated secret is a part of the address"`
}

type credentialOutput struct{ Body credentialView }

func (s *Server) addCredential(ctx context.Context, in *addCredentialInput) (*credentialOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if b.Generate == (b.Secret != "") {
		return nil, domain.Invalid("body.secret", "want either secret or generate")
	}
	var view credentialView
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		// The row stays locked, so what is checked here is still so when it is stored.
		i, err := tx.TouchIntegration(ctx, id)
		if err != nil {
			return err
		}
		intake, err := s.intakeOf(ctx, tx, i)
		if err != nil {
			return err
		}
		secret := b.Secret
		if b.Generate {
			made, err := webhookauth.Generate(intake.Auth)
			if err != nil {
				return atBody(err, "generate")
			}
			secret = string([]byte(made))
		}
		stored, err := tx.OpenCredentials(ctx, id)
		if err != nil {
			return err
		}
		if err := checkNewCredential(intake, stored, secret); err != nil {
			return err
		}
		c := domain.WebhookCredential{ID: domain.NewID[domain.CredentialID](tx.Now), IntegrationID: id, Label: b.Label, NotAfter: b.NotAfter, CreatedBy: who.Subject}
		if err := tx.AddCredential(ctx, c, secret); err != nil {
			return atBody(err, "")
		}
		if c, err = tx.Credential(ctx, id, c.ID); err != nil {
			return err
		}
		view = credentialView{WebhookCredential: c}
		if b.Generate {
			view.Secret = secret
			if intake.Auth.Scheme == webhookauth.PathToken {
				view.WebhookURL = s.baseURL(ctx) + "/v1/webhooks/" + string(id) + "/" + secret
			}
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "credential.add", Reason: reason,
			Subject: "integration/" + string(id), After: credentialFacts(c)})
	})
	if err != nil {
		return nil, err
	}
	s.forget(id)
	return &credentialOutput{Body: view}, nil
}

// intakeOf opens an integration to see how its webhooks are verified.
func (s *Server) intakeOf(ctx context.Context, tx *store.Tx, i domain.Integration) (provider.Intake, error) {
	registration, ok := s.providers[i.Provider]
	if !ok {
		return provider.Intake{}, domain.E(domain.KindInternal, "provider %q is not in this program", i.Provider)
	}
	secrets, err := tx.IntegrationSecrets(ctx, i.ID)
	if err != nil {
		return provider.Intake{}, err
	}
	opened, err := registration.Open(provider.Connection{Integration: i, Secrets: secrets, Zone: time.UTC, Now: s.now})
	if err != nil {
		return provider.Intake{}, err
	}
	source, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		return provider.Intake{}, domain.Invalid("id", "this integration takes no webhooks")
	}
	return source.Intake(), nil
}

// checkNewCredential refuses a secret that the scheme does not take, that would be one too many, or that is there already:
// of two equal ones only the first would ever be seen in use.
func checkNewCredential(intake provider.Intake, stored []store.SealedCredential, secret string) error {
	all := intake.Credentials[:len(intake.Credentials):len(intake.Credentials)]
	for _, c := range stored {
		all = append(all, webhookauth.Credential{Secret: webhookauth.Secret(c.Secret)})
	}
	for _, c := range all {
		if string([]byte(c.Secret)) == secret {
			return domain.E(domain.KindConflict, "the integration has this secret already")
		}
	}
	one := webhookauth.Credential{Secret: webhookauth.Secret(secret)}
	o := webhookauth.Options{VerifyToken: intake.VerifyToken}
	if _, err := webhookauth.New(intake.Auth, []webhookauth.Credential{one}, o); err != nil {
		return atBody(err, "secret")
	}
	if len(all)+1 > webhookauth.MaxSecrets {
		return domain.E(domain.KindConflict, "the integration has %d secrets already; remove one first", len(all))
	}
	return nil
}

// atBody puts a fault at its place in the body.
func atBody(err error, field string) error {
	if domain.KindOf(err) != domain.KindInvalid {
		return err
	}
	name := domain.FieldOf(err)
	if field == "" {
		field = name
	}
	return domain.Invalid("body."+field, "%s", strings.TrimPrefix(err.Error(), name+": "))
}

func credentialFacts(c domain.WebhookCredential) map[string]string {
	facts := map[string]string{"credential": string(c.ID), "label": c.Label, "not_after": "never"}
	if c.NotAfter != nil {
		facts["not_after"] = c.NotAfter.UTC().Format(time.RFC3339)
	}
	return facts
}

// CredentialParam is the second id in a path.
type CredentialParam struct {
	Credential string `path:"credential" maxLength:"36" doc:"UUID in lower case"`
}

type updateCredentialInput struct {
	IDParam
	CredentialParam
	Body struct {
		Label    *string    `json:"label,omitempty" minLength:"1" maxLength:"120"`
		NotAfter *time.Time `json:"not_after,omitempty" doc:"When it stops being accepted, in the future"`
		Forever  bool       `json:"forever,omitempty" doc:"Take the end away again"`
		Reason   string     `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateCredential(ctx context.Context, in *updateCredentialInput) (*credentialOutput, error) {
	b := &in.Body
	if b.Forever && b.NotAfter != nil {
		return nil, domain.Invalid("body.not_after", "does not go together with forever")
	}
	var out credentialOutput
	err := s.changeCredential(ctx, in.ID, in.Credential, b.Reason, "credential.update", func(ctx context.Context, tx *store.Tx, c domain.WebhookCredential) (map[string]string, error) {
		if b.Label != nil {
			c.Label = *b.Label
		}
		ends := c.NotAfter
		if b.NotAfter != nil {
			ends = b.NotAfter
		}
		if b.Forever {
			ends = nil
		}
		if ends != nil && b.NotAfter == nil && !ends.After(tx.Now) {
			return nil, domain.E(domain.KindConflict, "the credential has ended; give it a new end or remove it")
		}
		if err := tx.UpdateCredential(ctx, c.IntegrationID, c.ID, c.Label, ends); err != nil {
			return nil, atBody(err, "")
		}
		c, err := tx.Credential(ctx, c.IntegrationID, c.ID)
		out.Body.WebhookCredential = c
		return credentialFacts(c), err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

type removeCredentialInput struct {
	IDParam
	CredentialParam
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) removeCredential(ctx context.Context, in *removeCredentialInput) (*struct{}, error) {
	return nil, s.changeCredential(ctx, in.ID, in.Credential, in.Reason, "credential.remove", func(ctx context.Context, tx *store.Tx, c domain.WebhookCredential) (map[string]string, error) {
		return nil, tx.RemoveCredential(ctx, c.IntegrationID, c.ID)
	})
}

// changeCredential runs a change of a credential with its line in the trail and makes all servers notice it.
func (s *Server) changeCredential(ctx context.Context, integration, credential, why, action string,
	change func(ctx context.Context, tx *store.Tx, c domain.WebhookCredential) (after map[string]string, err error)) error {
	who := callerOf(ctx)
	reason, err := checkReason(why)
	if err != nil {
		return err
	}
	id, err := parseID[domain.IntegrationID]("integration", integration)
	if err != nil {
		return err
	}
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.TouchIntegration(ctx, id); err != nil {
			return err
		}
		which, err := parseID[domain.CredentialID]("credential", credential)
		if err != nil {
			return err
		}
		c, err := tx.Credential(ctx, id, which)
		if err != nil {
			return err
		}
		after, err := change(ctx, tx, c)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason,
			Subject: "integration/" + string(id), Before: credentialFacts(c), After: after})
	}); err != nil {
		return err
	}
	s.forget(id)
	return nil
}
