package weddings

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/timelines"
)

const (
	// aboutAtOnce bounds the deliveries about one wedding that are looked at.
	aboutAtOnce = 200
	// unreadSince is how far back deliveries that nobody could read make a preflight ask for a look.
	unreadSince = 14 * 24 * time.Hour
)

// Check makes a preflight: it judges everything that a wedding rests on, with what its connections answered just now, stores what
// it found and tells of it. made is false when the wedding is not looked after any more.
func Check(ctx context.Context, tx *store.Tx, wedding domain.BookingID, kind domain.PreflightKind, said map[domain.IntegrationID]weddingcare.Said) (p domain.Preflight, made bool, err error) {
	if err := tx.LockWedding(ctx, wedding); err != nil {
		return p, false, err
	}
	c, err := tx.WeddingCare(ctx, wedding, true)
	if domain.KindOf(err) == domain.KindNotFound || err == nil && c.State.Over() {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	b, err := tx.Booking(ctx, wedding)
	if err != nil {
		return p, false, err
	}
	f, err := facts(ctx, tx, c, b, said)
	if err != nil {
		return p, false, err
	}
	p = domain.Preflight{ID: domain.NewID[domain.PreflightID](tx.Now), OrgID: tx.Org, BookingID: wedding, Kind: kind, Checks: weddingcare.Judge(f, tx.Now),
		Start: b.When.Start, MadeAt: tx.Now, By: actor}
	p.State = weddingcare.Worst(p.Checks)
	if c.WantedAt != nil {
		p.By = c.WantedBy
	}
	repeat := false
	if kind == domain.PreflightAgain && c.PreflightID != "" {
		had, err := tx.Preflight(ctx, wedding, c.PreflightID)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return p, false, err
		}
		if err == nil && slices.Equal(weddingcare.Findings(had.Checks), weddingcare.Findings(p.Checks)) {
			p.ID, p.Kind, p.By, repeat = had.ID, had.Kind, had.By, true
		}
	}
	tell, told := weddingcare.Tell(c.Told, kind, p.Checks)
	c.Preflight, c.PreflightAt, c.PreflightID, c.WantedAt, c.WantedBy, c.Told = p.State, &p.MadeAt, p.ID, nil, "", told
	c.NextAt = weddingcare.Next(c, tx.Now)
	if err := tx.SavePreflight(ctx, p); err != nil {
		return p, false, err
	}
	if err := tx.SaveWeddingCare(ctx, c); err != nil {
		return p, false, err
	}
	if repeat && tell == weddingcare.TellNothing {
		return p, true, nil
	}
	refs := map[string]string{"booking": string(wedding), "preflight": string(p.ID), "kind": string(kind), "state": string(p.State), "date": c.Date}
	if tell != weddingcare.TellNothing {
		refs["told"] = string(tell)
	}
	if err := tx.Emit(ctx, domain.TopicWeddingPreflight, refs); err != nil {
		return p, false, err
	}
	return p, true, tx.Audit(ctx, domain.AuditEntry{Actor: p.By, Action: "wedding.preflight", Reason: weddingcare.Why(kind), Subject: "booking/" + string(wedding),
		After: map[string]string{"preflight": string(p.ID), "state": string(p.State)}})
}

// facts gathers what is known of a wedding and of what it rests on.
func facts(ctx context.Context, tx *store.Tx, c domain.WeddingCare, b domain.Booking, said map[domain.IntegrationID]weddingcare.Said) (weddingcare.Facts, error) {
	f := weddingcare.Facts{Care: c, Status: b.Status}
	concerned, err := bookingsOf(ctx, tx, b.ID)
	if err != nil {
		return f, err
	}
	known, err := tx.ConflictsAmong(ctx, concerned)
	if err != nil {
		return f, err
	}
	f.Conflicts = known.Open
	if f.Removals, f.Edits, err = undecided(ctx, tx, b.ID); err != nil {
		return f, err
	}
	if f.Timeline, err = timelineOf(ctx, tx, b); err != nil {
		return f, err
	}
	reach, err := reachOf(ctx, tx, b)
	if err != nil {
		return f, err
	}
	f.Connections, err = connections(ctx, tx, b, reach, said)
	return f, err
}

// undecided counts what waits for a person before a wedding is as it should be.
func undecided(ctx context.Context, tx *store.Tx, wedding domain.BookingID) (removals, edits int, err error) {
	held, states, err := tx.HeldOf(ctx, wedding)
	if err != nil {
		return 0, 0, err
	}
	for _, h := range held {
		if h.Outcome == "" && states[h.QuarantineID] == domain.QuarantineOpen {
			removals++
		}
	}
	open, err := tx.OpenEditsOf(ctx, wedding)
	return removals, len(open), err
}

func timelineOf(ctx context.Context, tx *store.Tx, b domain.Booking) (*weddingcare.Timeline, error) {
	v, err := timelines.Read(ctx, tx, b.ID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &weddingcare.Timeline{Items: len(v.Items), Clashes: len(v.Clashes)}
	for n, item := range v.Items {
		at := v.Times[n]
		if at.Drift != timelines.DriftNone {
			t.Drifted++
		}
		if item.ResourceID == "" || item.ResourceID == b.ResourceID {
			continue
		}
		t.OfVendors++
		switch {
		case at.Confirmed == nil:
			t.Unconfirmed++
		case at.Outdated:
			t.Outdated++
		}
	}
	return t, nil
}

func connections(ctx context.Context, tx *store.Tx, b domain.Booking, reach []domain.Integration, said map[domain.IntegrationID]weddingcare.Said) ([]weddingcare.Connection, error) {
	ids := idsOf(reach)
	healths, err := tx.HealthOf(ctx, ids...)
	if err != nil {
		return nil, err
	}
	measured, err := tx.Freshness(ctx, ids...)
	if err != nil {
		return nil, err
	}
	readings, err := tx.LastReadings(ctx, ids)
	if err != nil {
		return nil, err
	}
	unread, err := tx.UnreadDeliveries(ctx, ids, tx.Now.Add(-unreadSince))
	if err != nil {
		return nil, err
	}
	about, err := tx.DeliveriesAbout(ctx, b.ID, aboutAtOnce)
	if err != nil {
		return nil, err
	}
	pushes, err := tx.PushesOf(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	out := make([]weddingcare.Connection, 0, len(reach))
	for _, i := range reach {
		one := weddingcare.Connection{Integration: i, Health: healths[i.ID], Said: said[i.ID], Watches: measured[i.ID].Watches,
			Freshness: freshness.Of(tx.Now, i, measured[i.ID]), Unread: unread[i.ID]}
		if r := readings[i.ID]; r.State == domain.SyncFailed {
			if one.ReadFailed = r.Error; one.ReadFailed == "" {
				one.ReadFailed = "the reason is not known"
			}
		}
		for _, d := range about {
			if d.IntegrationID == i.ID {
				one.Deliveries = append(one.Deliveries, d)
			}
		}
		for n := range pushes {
			if pushes[n].IntegrationID == i.ID {
				one.Push = &pushes[n]
			}
		}
		if one.Credentials, err = tx.Credentials(ctx, i.ID); err != nil {
			return nil, err
		}
		g, err := tx.OAuthGrant(ctx, i.ID)
		switch {
		case err == nil:
			one.Grant = &weddingcare.Grant{Active: g.Active, ExpiresAt: g.ExpiresAt, Renews: g.Tokens.Refresh != ""}
		case domain.KindOf(err) != domain.KindNotFound:
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func idsOf(all []domain.Integration) []domain.IntegrationID {
	ids := make([]domain.IntegrationID, len(all))
	for n, i := range all {
		ids[n] = i.ID
	}
	return ids
}
