package holds

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// ErrUnknownSources is what a Refusal unwraps to when systems could not be read before a confirmation.
var ErrUnknownSources = errors.New("systems that bring bookings to the resource could not be read, so the time is unknown and not free")

// Confirmation says how a hold is confirmed.
type Confirmation struct {
	By, Reason string
	// Override confirms although systems could not be read. It says why, for the audit trail; "" does not override.
	Override string
}

const (
	readWithin = 8 * time.Second
	lookEvery  = 50 * time.Millisecond
)

// Confirm makes a hold a confirmed booking. One that is confirmed already is answered as it is. Refused with KindConflict
// when the hold is over, when something is in the way, or when a source is unknown and not overridden; the latter is
// ErrUnknownSources too.
func (d *Desk) Confirm(ctx context.Context, org domain.OrgID, id domain.BookingID, c Confirmation) (View, error) {
	v, err := d.confirm(ctx, org, id, c)
	var refused *Refusal
	if errors.As(err, &refused) && !errors.Is(err, ErrUnknownSources) {
		refused.Ways = d.waysFor(ctx, org, v.Booking)
	}
	return v, err
}

func (d *Desk) confirm(ctx context.Context, org domain.OrgID, id domain.BookingID, c Confirmation) (View, error) {
	var v View
	var sources []source
	err := d.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		if v, err = view(ctx, tx, id); err != nil || v.State == domain.HoldConfirmed {
			return err
		}
		if err := over(v.Hold, v.Booking, tx.Now); err != nil {
			return &Refusal{Err: err}
		}
		sources, err = d.sources(ctx, tx, v.Booking.ResourceID)
		return err
	})
	if err != nil || v.State == domain.HoldConfirmed {
		return v, err
	}
	told := d.refresh(ctx, org, sources, c.By)
	var unknown []diary.Source
	for _, s := range told {
		if s.State == diary.SourceUnknown {
			unknown = append(unknown, s)
		}
	}
	if len(unknown) > 0 && c.Override == "" {
		return v, &Refusal{Err: domain.E(domain.KindConflict, "%w", ErrUnknownSources), Unknown: unknown}
	}
	booking := v.Booking
	err = d.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := settle(ctx, tx, id, c, unknown); err != nil {
			return err
		}
		v, err = view(ctx, tx, id)
		return err
	})
	if err != nil {
		return View{Booking: booking}, err
	}
	v.Sources = told
	return v, nil
}

// settle confirms in the caller's transaction.
func settle(ctx context.Context, tx *store.Tx, id domain.BookingID, c Confirmation, unknown []diary.Source) error {
	h, b, err := taken(ctx, tx, id)
	if err != nil || h.State == domain.HoldConfirmed {
		return err
	}
	if err := over(h, b, tx.Now); err != nil {
		return &Refusal{Err: err}
	}
	b.Status, b.HeldUntil = domain.StatusConfirmed, time.Time{}
	scene, err := lookAt(ctx, tx, b)
	if err != nil {
		return err
	}
	if hard := blocking(scene.inTheWay(true)); len(hard) > 0 {
		return &Refusal{Err: domain.E(domain.KindConflict, "the time is taken: %s", hard[0].Explanation), Clashes: hard}
	}
	losers := scene.losers()
	changes := make([]domain.Booking, 0, len(losers)+1)
	for _, l := range losers {
		lost, err := tx.Booking(ctx, l.ID)
		if err != nil {
			return err
		}
		lost.Status = domain.StatusCancelled
		changes = append(changes, lost)
	}
	result, err := apply.Several(ctx, tx, append(changes, b), c.By, c.Reason)
	if err != nil {
		return err
	}
	for _, f := range blocking(result.Clashes) {
		if f.BookingID == id || f.OtherID == id {
			return &Refusal{Err: domain.E(domain.KindConflict, "the time is taken: %s", f.Explanation), Clashes: blocking(result.Clashes)}
		}
	}
	for _, l := range losers {
		l.State, l.Reason, l.LostTo = domain.HoldLost, "another hold of the same time was confirmed first", id
		if _, err := tx.SaveHold(ctx, l); err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: c.By, Action: "hold.lose", Reason: l.Reason, Subject: "booking/" + string(l.ID),
			Before: map[string]string{"state": string(domain.HoldLive)}, After: map[string]string{"state": string(l.State), "lost_to": string(id)}}); err != nil {
			return err
		}
	}
	h.State, h.Reason = domain.HoldConfirmed, c.Reason
	if _, err := tx.SaveHold(ctx, h); err != nil {
		return err
	}
	entry := domain.AuditEntry{Actor: c.By, Action: "hold.confirm", Reason: c.Reason, Subject: "booking/" + string(id),
		Before: map[string]string{"state": string(domain.HoldLive)}, After: map[string]string{"state": string(domain.HoldConfirmed)}}
	if len(losers) > 0 {
		entry.After["lost"] = strconv.Itoa(len(losers))
	}
	if len(unknown) > 0 {
		ids := make([]string, min(len(unknown), 20))
		for i := range ids {
			ids[i] = string(unknown[i].IntegrationID)
		}
		entry.Action, entry.After["unknown_sources"], entry.After["override"] = "hold.confirm_override", strings.Join(ids, " "), c.Override
	}
	return tx.Audit(ctx, entry)
}

// source is one that a confirmation rests on.
type source struct {
	integration domain.Integration
	told        diary.Source
	readable    bool
}

// sources judges the sources of a resource, asking their providers whether they can be listed.
func (d *Desk) sources(ctx context.Context, tx *store.Tx, id domain.ResourceID) ([]source, error) {
	res, err := tx.Resource(ctx, id)
	if err != nil {
		return nil, err
	}
	var rows []store.SourceRow
	r := tx.Reads()
	r.Sources([]domain.ResourceID{id}, &rows)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	out := make([]source, len(rows))
	for i, row := range rows {
		opened, err := d.Opener.Open(row.Integration, res.Zone, func() (map[string]string, error) { return tx.IntegrationSecrets(ctx, row.ID) })
		if err != nil && domain.KindOf(err) != domain.KindPermanent {
			return nil, err
		}
		_, lists := provider.As[provider.Puller](opened)
		out[i] = source{integration: row.Integration, told: diary.SourceOf(tx.Now, row, lists), readable: lists && row.State == domain.IntegrationActive && !row.WorkHold.In(tx.Now)}
	}
	return out, nil
}

// refresh reads the sources that are not fresh, all at once and within the bound, and says how each stands then.
func (d *Desk) refresh(ctx context.Context, org domain.OrgID, sources []source, by string) []diary.Source {
	within := d.ReadWithin
	if within <= 0 {
		within = readWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	out := make([]diary.Source, len(sources))
	var all sync.WaitGroup
	for i, s := range sources {
		out[i] = s.told
		if s.told.State == diary.SourceFresh || !s.readable || d.Read == nil {
			continue
		}
		all.Go(func() {
			at, err := d.reread(ctx, org, s.integration, by)
			if err != nil {
				out[i].Reason += "; " + failedReading(err)
				return
			}
			out[i].State, out[i].Since, out[i].Reason, out[i].ReadAt = diary.SourceFresh, nil, "", &at
		})
	}
	all.Wait()
	return out
}

// failedReading says why a source could not be read, without what a provider may have quoted.
func failedReading(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "it could not be read in time"
	case domain.KindOf(err) == domain.KindPermanent:
		return "reading it failed"
	case domain.KindOf(err) == domain.KindConflict:
		return "it takes no readings now"
	}
	return "its reading could not be asked for"
}

// reread reads a source by its workflow, as a person would ask for it, and returns when all of it is applied.
func (d *Desk) reread(ctx context.Context, org domain.OrgID, i domain.Integration, by string) (time.Time, error) {
	run := domain.NewID[domain.SyncRunID](time.Now())
	if err := d.Read(ctx, i, run, by); err != nil {
		return time.Time{}, err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var r domain.SyncRun
		err := d.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
			r, err = tx.SyncRun(ctx, run)
			return err
		})
		switch {
		case err != nil && domain.KindOf(err) != domain.KindNotFound:
			if ctx.Err() != nil {
				return time.Time{}, ctx.Err()
			}
			return time.Time{}, err
		case r.State == domain.SyncDone:
			return *r.EndedAt, nil
		case r.State == domain.SyncFailed, r.State == domain.SyncCancelled:
			return time.Time{}, domain.E(domain.KindPermanent, "the reading %s", r.State)
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-tick.C:
		}
	}
}
