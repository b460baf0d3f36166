package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const recipientColumns = "id, org_id, contact, role, zone, resources, preferences, state, created_by, created_at, updated_at, version"

// sealedContact is what is sealed of a recipient.
type sealedContact struct {
	Name      string                 `json:"name"`
	Addresses domain.NotifyAddresses `json:"addresses"`
	Secret    string                 `json:"secret,omitempty"`
}

func (tx *Tx) sealContact(id domain.RecipientID, c sealedContact) []byte {
	text, err := json.Marshal(c)
	if err != nil {
		panic("marshal a contact of plain texts: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "recipients", "contact", string(id))
}

// scanRecipient reads a row of recipientColumns and opens the contact; the secret comes beside it.
func (tx *Tx) scanRecipient(row pgx.Row) (r domain.Recipient, secret string, err error) {
	var sealed []byte
	if err = row.Scan(&r.ID, &r.OrgID, &sealed, &r.Role, &r.Zone, &r.Resources, &r.Prefer, &r.State, &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt, &r.Version); err != nil {
		return r, "", err
	}
	r.CreatedAt, r.UpdatedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	text, err := tx.sealer.Open(sealed, "recipients", "contact", string(r.ID))
	if err != nil {
		return r, "", fmt.Errorf("contact of recipient %s: %w", r.ID, err)
	}
	defer clear(text)
	var c sealedContact
	if json.Unmarshal(text, &c) != nil {
		return r, "", fmt.Errorf("contact of recipient %s: not the JSON that was sealed", r.ID)
	}
	r.Name, r.Addresses = c.Name, c.Addresses
	return r, c.Secret, nil
}

func (tx *Tx) recipientOf(row pgx.Row) (domain.Recipient, error) {
	r, _, err := tx.scanRecipient(row)
	return r, err
}

// CreateRecipient stores an active recipient with the secret that signs its webhooks; facts from now on concern it.
// Errors: KindInvalid with the field, KindConflict for one too many ([domain.MaxRecipients]) and for an id in use.
func (tx *Tx) CreateRecipient(ctx context.Context, r domain.Recipient, secret string) error {
	if err := checkRecipient(r); err != nil {
		return err
	}
	// Two at once must not both take the last place.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "recipients of "+string(tx.Org)); err != nil {
		return fault("lock recipients", err)
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM recipients WHERE org_id = $1 AND state <> 'deleted'", tx.Org).Scan(&n); err != nil {
		return fault("count recipients", err)
	}
	if n >= domain.MaxRecipients {
		return domain.E(domain.KindConflict, "an organisation may have at most %d recipients; remove one first", domain.MaxRecipients)
	}
	_, err := tx.Exec(ctx, `INSERT INTO recipients (id, org_id, contact, role, zone, resources, preferences, state, created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`, r.ID, tx.Org,
		tx.sealContact(r.ID, sealedContact{r.Name, r.Addresses, secret}), r.Role, r.Zone, concerned(r.Resources), preferences(r.Prefer),
		string(domain.RecipientActive), r.CreatedBy, tx.Now)
	if err != nil {
		return fault("create recipient", err)
	}
	return tx.recipientChanged(ctx, r.ID, domain.RecipientActive)
}

func checkRecipient(r domain.Recipient) error {
	if _, err := domain.ParseID[domain.RecipientID]("id", string(r.ID)); err != nil {
		return err
	}
	if err := r.Validate(""); err != nil {
		return err
	}
	return checkText("role", r.Role, domain.MaxRecipientRole)
}

// concerned keeps nil out of a column that is never NULL.
func concerned(ids []domain.ResourceID) any { return arrayOf(append([]domain.ResourceID{}, ids...)) }

// preferences keeps nil out of the stored JSON.
func preferences(p domain.NotifyPreferences) domain.NotifyPreferences {
	if p.Rules == nil {
		p.Rules = []domain.NotifyRule{}
	}
	return p
}

func (tx *Tx) recipientChanged(ctx context.Context, id domain.RecipientID, state domain.RecipientState) error {
	if err := tx.Enqueue(ctx, OutboxNotify, string(tx.Org), "", tx.Now); err != nil {
		return err
	}
	return tx.Emit(ctx, domain.TopicRecipientChanged, map[string]string{"recipient": string(id), "state": string(state)})
}

// Recipient reads one, also a deleted one; KindNotFound when the tenant has no such.
func (tx *Tx) Recipient(ctx context.Context, id domain.RecipientID) (domain.Recipient, error) {
	r, err := tx.recipientOf(tx.QueryRow(ctx, "SELECT "+recipientColumns+" FROM recipients WHERE org_id = $1 AND id = $2", tx.Org, id))
	return r, missing("recipient", "read recipient", err)
}

// RecipientSecret reads a recipient with the secret that signs its webhooks, which must not reach logs or histories.
func (tx *Tx) RecipientSecret(ctx context.Context, id domain.RecipientID) (domain.Recipient, string, error) {
	r, secret, err := tx.scanRecipient(tx.QueryRow(ctx, "SELECT "+recipientColumns+" FROM recipients WHERE org_id = $1 AND id = $2", tx.Org, id))
	return r, secret, missing("recipient", "read recipient", err)
}

// Recipients lists recipients in the order in which they were made, deleted ones left out.
func (tx *Tx) Recipients(ctx context.Context, p Page) ([]domain.Recipient, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+recipientColumns+" FROM recipients WHERE org_id = $1 AND id > $2 AND state <> 'deleted' ORDER BY id LIMIT $3",
		tx.Org, after, limit+1)
	all, err := collect(rows, err, tx.recipientOf)
	if err != nil {
		return nil, "", fault("list recipients", err)
	}
	all, next := cut(all, limit, func(r domain.Recipient) string { return string(r.ID) })
	return all, next, nil
}

// ActiveRecipients returns everybody who may be told, at most [domain.MaxRecipients].
func (tx *Tx) ActiveRecipients(ctx context.Context) ([]domain.Recipient, error) {
	rows, err := tx.Query(ctx, "SELECT "+recipientColumns+" FROM recipients WHERE org_id = $1 AND state = 'active' ORDER BY id LIMIT $2", tx.Org, domain.MaxRecipients)
	all, err := collect(rows, err, tx.recipientOf)
	return all, fault("read active recipients", err)
}

// UpdateRecipient replaces contact, role, zone, resources, preferences and state if the stored version is expectVersion,
// which then grows by one. secret "" keeps the one there is. A deleted recipient loses name, addresses and secret, and what
// waits for it is suppressed; deleted is final. Errors: KindInvalid with the field, KindConflict for another version.
func (tx *Tx) UpdateRecipient(ctx context.Context, r domain.Recipient, secret string, expectVersion int64) error {
	was, had, err := tx.scanRecipient(tx.QueryRow(ctx, "SELECT "+recipientColumns+" FROM recipients WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, r.ID))
	if err != nil {
		return missing("recipient", "lock recipient", err)
	}
	if was.State == domain.RecipientDeleted {
		return notFound("recipient")
	}
	if was.Version != expectVersion {
		return domain.E(domain.KindConflict, "recipient has version %d, not %d: it was changed in the meantime", was.Version, expectVersion)
	}
	contact := sealedContact{r.Name, r.Addresses, had}
	if secret != "" {
		contact.Secret = secret
	}
	switch r.State {
	case domain.RecipientActive, domain.RecipientPaused:
		if err := checkRecipient(r); err != nil {
			return err
		}
	case domain.RecipientDeleted:
		contact = sealedContact{}
	default:
		return domain.Invalid("state", "must be active or paused, not %q", string(r.State))
	}
	if _, err := tx.Exec(ctx, `UPDATE recipients SET contact = $3, role = $4, zone = $5, resources = $6, preferences = $7, state = $8, updated_at = $9,
			version = version + 1 WHERE org_id = $1 AND id = $2`, tx.Org, r.ID, tx.sealContact(r.ID, contact), r.Role, r.Zone,
		concerned(r.Resources), preferences(r.Prefer), string(r.State), tx.Now); err != nil {
		return fault("update recipient", err)
	}
	if r.State != domain.RecipientActive {
		if _, err := tx.settle(ctx, "the person is "+string(r.State), "recipient_id = %s", r.ID); err != nil {
			return err
		}
	}
	return tx.recipientChanged(ctx, r.ID, r.State)
}
