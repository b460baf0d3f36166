package store

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxCredentials is how many credentials may be stored for one integration.
const MaxCredentials = 8

// SealedCredential is a credential with its secret opened. The secret must not reach logs or errors.
type SealedCredential struct {
	domain.WebhookCredential
	Secret string
}

const credentialColumns = "c.id, c.integration_id, c.label, c.not_after, c.last_used_at, c.created_by, c.created_at"

func scanCredential(row pgx.Row, more ...any) (c domain.WebhookCredential, err error) {
	err = row.Scan(append([]any{&c.ID, &c.IntegrationID, &c.Label, &c.NotAfter, &c.LastUsedAt, &c.CreatedBy, &c.CreatedAt}, more...)...)
	c.NotAfter, c.LastUsedAt, c.CreatedAt = utc(c.NotAfter), utc(c.LastUsedAt), c.CreatedAt.UTC()
	return c, err
}

// TouchIntegration raises an integration's version, so that every server reads it anew within about a second, and keeps
// it locked until the transaction ends. KindNotFound when the tenant has none of this id, or a deleted one.
func (tx *Tx) TouchIntegration(ctx context.Context, id domain.IntegrationID) (domain.Integration, error) {
	i, err := scanIntegration(tx.QueryRow(ctx, `UPDATE integrations i SET version = version + 1, updated_at = $3
		WHERE org_id = $1 AND id = $2 AND state <> 'deleted' RETURNING `+integrationColumns, tx.Org, id, tx.Now))
	if err != nil {
		return i, missing("integration", "touch integration", err)
	}
	return i, tx.integrationChanged(ctx, id, i.State)
}

// AddCredential stores a credential of an integration that [Tx.TouchIntegration] has locked; CreatedAt becomes the time of
// the transaction. Errors: KindInvalid for label or time, KindConflict for more than MaxCredentials and for an id in use.
func (tx *Tx) AddCredential(ctx context.Context, c domain.WebhookCredential, secret string) error {
	if err := tx.checkCredential(c.Label, c.NotAfter); err != nil {
		return err
	}
	var have int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM webhook_credentials WHERE org_id = $1 AND integration_id = $2", tx.Org, c.IntegrationID).Scan(&have); err != nil {
		return fault("count credentials", err)
	}
	if have >= MaxCredentials {
		return domain.E(domain.KindConflict, "the integration has %d credentials already; remove one first", have)
	}
	text := []byte(secret)
	defer clear(text)
	_, err := tx.Exec(ctx, `INSERT INTO webhook_credentials (id, org_id, integration_id, label, secret, not_after, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, c.ID, tx.Org, c.IntegrationID, c.Label,
		tx.sealer.Seal(text, "webhook_credentials", "secret", string(c.ID)), c.NotAfter, c.CreatedBy, tx.Now)
	return fault("add credential", err)
}

func (tx *Tx) checkCredential(label string, notAfter *time.Time) error {
	if n := utf8.RuneCountInString(label); n < 1 || n > 120 {
		return domain.Invalid("label", "must have 1 to 120 characters, has %d", n)
	}
	if err := checkText("label", label, 480); err != nil {
		return err
	}
	if notAfter != nil && !notAfter.After(tx.Now) {
		return domain.Invalid("not_after", "must be in the future; remove the credential to end it at once")
	}
	return nil
}

// Credentials lists the stored credentials of an integration in the order in which they were added; at most
// MaxCredentials.
func (tx *Tx) Credentials(ctx context.Context, id domain.IntegrationID) ([]domain.WebhookCredential, error) {
	rows, err := tx.Query(ctx, "SELECT "+credentialColumns+` FROM webhook_credentials c
		WHERE org_id = $1 AND integration_id = $2 ORDER BY id`, tx.Org, id)
	all, err := collect(rows, err, func(row pgx.Row) (domain.WebhookCredential, error) { return scanCredential(row) })
	return all, fault("list credentials", err)
}

// Credential reads one credential of an integration; KindNotFound when it has none of this id.
func (tx *Tx) Credential(ctx context.Context, integration domain.IntegrationID, id domain.CredentialID) (domain.WebhookCredential, error) {
	c, err := scanCredential(tx.QueryRow(ctx, "SELECT "+credentialColumns+` FROM webhook_credentials c
		WHERE org_id = $1 AND integration_id = $2 AND id = $3`, tx.Org, integration, id))
	return c, missing("credential", "read credential", err)
}

// OpenCredentials is [Tx.Credentials] with the secrets.
func (tx *Tx) OpenCredentials(ctx context.Context, id domain.IntegrationID) ([]SealedCredential, error) {
	rows, err := tx.Query(ctx, "SELECT "+credentialColumns+`, c.secret FROM webhook_credentials c
		WHERE org_id = $1 AND integration_id = $2 ORDER BY id`, tx.Org, id)
	all, err := collect(rows, err, func(row pgx.Row) (SealedCredential, error) {
		return openCredential(row, tx.sealer.Open)
	})
	return all, fault("open credentials", err)
}

func openCredential(row pgx.Row, open func(sealed []byte, context ...string) ([]byte, error)) (c SealedCredential, err error) {
	var sealed []byte
	if c.WebhookCredential, err = scanCredential(row, &sealed); err != nil {
		return c, err
	}
	text, err := open(sealed, "webhook_credentials", "secret", string(c.ID))
	if err != nil {
		return c, fmt.Errorf("secret of credential %s: %w", c.ID, err)
	}
	defer clear(text)
	c.Secret = string(text)
	return c, nil
}

// UpdateCredential replaces label and end of a credential. KindNotFound when the integration has none of this id.
func (tx *Tx) UpdateCredential(ctx context.Context, integration domain.IntegrationID, id domain.CredentialID, label string, notAfter *time.Time) error {
	if err := tx.checkCredential(label, notAfter); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `UPDATE webhook_credentials SET label = $4, not_after = $5
		WHERE org_id = $1 AND integration_id = $2 AND id = $3`, tx.Org, integration, id, label, notAfter)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("credential")
	}
	return fault("update credential", err)
}

// RemoveCredential ends a credential for good. KindNotFound when the integration has none of this id.
func (tx *Tx) RemoveCredential(ctx context.Context, integration domain.IntegrationID, id domain.CredentialID) error {
	tag, err := tx.Exec(ctx, "DELETE FROM webhook_credentials WHERE org_id = $1 AND integration_id = $2 AND id = $3", tx.Org, integration, id)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("credential")
	}
	return fault("remove credential", err)
}

const intakeCredentialsQuery = "SELECT " + credentialColumns + `, c.secret FROM webhook_credentials c
	WHERE org_id = (SELECT org_id FROM integrations WHERE id = $1) AND integration_id = $1 ORDER BY id`

// intakeCredentials reads the answer to intakeCredentialsQuery.
func (s *Store) intakeCredentials(answers pgx.BatchResults, org domain.OrgID) ([]SealedCredential, error) {
	rows, err := answers.Query()
	all, err := collect(rows, err, func(row pgx.Row) (SealedCredential, error) {
		return openCredential(row, s.ring.Org(string(org)).Open)
	})
	return all, fault("read credentials for intake", err)
}

// CredentialUse says when a webhook matched a stored credential.
type CredentialUse struct {
	Org domain.OrgID
	ID  domain.CredentialID
	At  time.Time
}

// NoteCredentialUses writes when credentials were last used, across tenants and in one statement. A time older than the
// stored one changes nothing, and neither does a credential that was removed meanwhile. No version is raised.
func (s *Store) NoteCredentialUses(ctx context.Context, uses []CredentialUse) error {
	if len(uses) == 0 {
		return nil
	}
	_, err := s.system.Exec(ctx, `UPDATE webhook_credentials c SET last_used_at = v.at
		FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) v(org_id, id, at)
		WHERE c.org_id = v.org_id AND c.id = v.id AND (c.last_used_at IS NULL OR c.last_used_at < v.at)`,
		column(uses, func(u CredentialUse) domain.OrgID { return u.Org }),
		column(uses, func(u CredentialUse) domain.CredentialID { return u.ID }),
		column(uses, func(u CredentialUse) time.Time { return u.At }))
	return fault("note uses of credentials", err)
}
