package store

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestCredentialsAreKeptSealedAndEachChangeRaisesTheVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	end := b.clock.now().Add(time.Hour).Truncate(time.Microsecond)
	id := domain.NewID[domain.CredentialID](b.clock.now())
	add := func(label string, notAfter *time.Time) error {
		return b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			if _, err := tx.TouchIntegration(ctx, i.ID); err != nil {
				return err
			}
			return tx.AddCredential(ctx, domain.WebhookCredential{ID: id, IntegrationID: i.ID, Label: label, NotAfter: notAfter, CreatedBy: "admin"}, "top-secret-value")
		})
	}
	wantKind(t, add("", nil), domain.KindInvalid)
	past := b.clock.now().Add(-time.Second)
	wantKind(t, add("old", &past), domain.KindInvalid)
	b.must(add("new", &end))
	wantKind(t, add("again", nil), domain.KindConflict)

	record, err := b.IntakeRecord(ctx, i.ID)
	b.must(err)
	if len(record.Credentials) != 1 || record.Credentials[0].Secret != "top-secret-value" || !record.Credentials[0].NotAfter.Equal(end) || record.Integration.Version != 2 {
		t.Errorf("record %+v", record)
	}
	var sealed []byte
	b.must(b.owner().QueryRow(ctx, "SELECT secret FROM webhook_credentials WHERE id = $1", id).Scan(&sealed))
	if len(sealed) < 16 || string(sealed) == "top-secret-value" {
		t.Errorf("stored in the open: %q", sealed)
	}

	at := b.clock.now().Truncate(time.Microsecond)
	b.must(b.NoteCredentialUses(ctx, []CredentialUse{{Org: org, ID: id, At: at}, {Org: org, ID: domain.NewID[domain.CredentialID](at), At: at}}))
	b.must(b.NoteCredentialUses(ctx, []CredentialUse{{Org: org, ID: id, At: at.Add(-time.Hour)}}))
	b.must(b.NoteCredentialUses(ctx, []CredentialUse{{Org: b.org(), ID: id, At: at.Add(time.Hour)}}))
	b.tenant(org, func(tx *Tx) error {
		c, err := tx.Credential(ctx, i.ID, id)
		if err != nil || c.LastUsedAt == nil || !c.LastUsedAt.Equal(at) {
			t.Errorf("last used %v, %v; want %s", c.LastUsedAt, err, at)
		}
		if _, err := tx.Credential(ctx, domain.NewID[domain.IntegrationID](at), id); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("found under another integration: %v", err)
		}
		return tx.UpdateCredential(ctx, i.ID, id, "renamed", nil)
	})
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.OpenCredentials(ctx, i.ID)
		if err != nil || len(all) != 1 || all[0].Label != "renamed" || all[0].NotAfter != nil || all[0].Secret != "top-secret-value" {
			t.Errorf("%+v, %v", all, err)
		}
		return tx.RemoveCredential(ctx, i.ID, id)
	})
	wantKind(t, b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error { return tx.RemoveCredential(ctx, i.ID, id) }), domain.KindNotFound)
	wantKind(t, b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error { return tx.UpdateCredential(ctx, i.ID, id, "x", nil) }), domain.KindNotFound)
}

func TestCredentialsOfAnIntegrationAreBoundedAndADeletedOneTakesNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	add := func() error {
		return b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			if _, err := tx.TouchIntegration(ctx, i.ID); err != nil {
				return err
			}
			return tx.AddCredential(ctx, domain.WebhookCredential{ID: domain.NewID[domain.CredentialID](tx.Now), IntegrationID: i.ID, Label: "x", CreatedBy: "admin"}, "s")
		})
	}
	for range MaxCredentials {
		b.must(add())
	}
	wantKind(t, add(), domain.KindConflict)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationDeleted, "test")
		return err
	})
	wantKind(t, add(), domain.KindNotFound)
}
