package domain

import "time"

// CredentialID names a credential of an integration's webhooks.
type CredentialID string

// WebhookCredential is one of the credentials by which an integration's webhooks are known to be genuine. The secret
// itself is kept apart, and is never shown again.
type WebhookCredential struct {
	ID            CredentialID  `json:"id"`
	IntegrationID IntegrationID `json:"integration_id"`
	Label         string        `json:"label"` // for people; no personal data
	// NotAfter is when it stops being accepted; nil means never.
	NotAfter *time.Time `json:"not_after,omitempty"`
	// LastUsedAt is when a webhook last matched it, a minute late at most; nil means never.
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	CreatedBy  string     `json:"created_by"` // token subject
	CreatedAt  time.Time  `json:"created_at"`
}
