package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// Maintenances carries windows of maintenance through their course.
type Maintenances struct {
	Store *store.Store
}

// MaintenanceRef names a window.
type MaintenanceRef struct {
	Org         domain.OrgID         `json:"org"`
	Maintenance domain.MaintenanceID `json:"maintenance"`
}

// AdvanceMaintenance does whatever is due of a window, in one transaction. Weddings are read in it, so none that is stored is
// overlooked. Running it again finds what is done already and does nothing. A window that does not exist is told as cancelled, so
// that its workflow ends.
func (a *Maintenances) AdvanceMaintenance(ctx context.Context, in MaintenanceRef) (contract.MaintenanceStatus, error) {
	var out contract.MaintenanceStatus
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		s, err := upkeep.Advance(ctx, tx, in.Maintenance)
		out = maintenanceStatus(s)
		return err
	})
	if domain.KindOf(err) == domain.KindNotFound {
		return contract.MaintenanceStatus{State: domain.MaintenanceCancelled}, nil
	}
	return out, fail(err)
}

// DecideMaintenanceInput is what a person wants of a window.
type DecideMaintenanceInput struct {
	MaintenanceRef
	Verb        upkeep.Verb `json:"verb"`
	By          string      `json:"by"`
	ShortNotice bool        `json:"short_notice,omitempty"`
	StartsAt    time.Time   `json:"starts_at,omitzero"`
	EndsAt      time.Time   `json:"ends_at,omitzero"`
	Version     int64       `json:"version,omitempty"`
}

// DecideMaintenance stores what a person wants, and does whatever is due then. Running it again finds it stored and changes nothing.
func (a *Maintenances) DecideMaintenance(ctx context.Context, in DecideMaintenanceInput) (contract.MaintenanceStatus, error) {
	var out contract.MaintenanceStatus
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		s, err := upkeep.Decide(ctx, tx, in.Maintenance, upkeep.Decision{Verb: in.Verb, By: in.By, ShortNotice: in.ShortNotice, StartsAt: in.StartsAt, EndsAt: in.EndsAt,
			Version: in.Version})
		out = maintenanceStatus(s)
		return err
	})
	return out, fail(err)
}

func maintenanceStatus(s upkeep.Standing) contract.MaintenanceStatus {
	return contract.MaintenanceStatus{State: s.State, StartsAt: s.StartsAt, EndsAt: s.EndsAt, DueAt: s.Due, Connections: s.Connections, Held: s.Held, Left: s.Left, Version: s.Version}
}

// NoteQuietInput names a connection that rests for a window.
type NoteQuietInput struct {
	MaintenanceRef
	Integration domain.IntegrationID `json:"integration"`
	Pulls       bool                 `json:"pulls,omitempty"` // it is read when the window is over
}

// NoteQuiet notes that nothing of a connection goes on any more. Only its first call changes anything.
func (a *Maintenances) NoteQuiet(ctx context.Context, in NoteQuietInput) error {
	return fail(a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		return tx.NoteQuiet(ctx, in.Maintenance, in.Integration, in.Pulls)
	}))
}
