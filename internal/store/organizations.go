package store

import (
	"context"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// CreateOrganization stores a tenant and the first line of its audit trail, in by's name. An id that exists already is
// KindConflict. A zero CreatedAt is taken from the clock.
func (s *Store) CreateOrganization(ctx context.Context, o domain.Organization, by string) error {
	if _, err := domain.ParseID[domain.OrgID]("id", string(o.ID)); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(o.Name); n < 1 || n > 120 {
		return domain.Invalid("name", "must have 1 to 120 characters, has %d", n)
	}
	if len(o.Zone) < 1 || len(o.Zone) > 64 {
		return domain.Invalid("zone", "must be an IANA zone name of 1 to 64 characters")
	}
	if o.CreatedAt.IsZero() {
		o.CreatedAt = s.timestamp()
	}
	first := domain.AuditEntry{OrgID: o.ID, At: s.timestamp(), Actor: by, Action: "organization.create",
		Reason: "requested", Subject: "organization/" + string(o.ID), After: map[string]string{"zone": o.Zone}}
	if err := checkAudit(first); err != nil {
		return err
	}
	return s.inSystem(ctx, "create organization", func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue("INSERT INTO organizations (id, name, zone, created_at) VALUES ($1, $2, $3, $4)", o.ID, o.Name, o.Zone, o.CreatedAt)
		entries := chain([]domain.AuditEntry{first}, o.ID, 0, noHash)
		b.Queue("INSERT INTO audit_heads (org_id, seq, hash) VALUES ($1, 1, $2)", o.ID, entries[0].hash[:])
		queueEntries(b, entries)
		return tx.SendBatch(ctx, b).Close()
	})
}

const organizationColumns = "id, name, zone, created_at"

func scanOrganization(row pgx.Row) (o domain.Organization, err error) {
	err = row.Scan(&o.ID, &o.Name, &o.Zone, &o.CreatedAt)
	o.CreatedAt = o.CreatedAt.UTC()
	return o, err
}

// Organizations lists all tenants, oldest first.
func (s *Store) Organizations(ctx context.Context) ([]domain.Organization, error) {
	rows, err := s.system.Query(ctx, "SELECT "+organizationColumns+" FROM organizations ORDER BY created_at, id")
	out, err := collect(rows, err, scanOrganization)
	return out, fault("list organizations", err)
}

// Zone is that in which the tenant thinks, as an IANA name.
func (tx *Tx) Zone(ctx context.Context) (zone string, err error) {
	err = tx.QueryRow(ctx, "SELECT zone FROM organizations WHERE id = $1", tx.Org).Scan(&zone)
	return zone, missing("organization", "read zone of organization", err)
}

// Organization reads one tenant.
func (s *Store) Organization(ctx context.Context, id domain.OrgID) (domain.Organization, error) {
	o, err := scanOrganization(s.system.QueryRow(ctx, "SELECT "+organizationColumns+" FROM organizations WHERE id = $1", id))
	return o, missing("organization", "read organization", err)
}
