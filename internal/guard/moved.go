package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// The settings that say which account and which calendar a connection leads to, by the names that providers use. The
// address of a server is not among them: it may move without anything else.
var (
	accountNames  = []string{"account", "account_id", "username", "user", "user_id", "mailbox"}
	calendarNames = []string{"calendar", "calendar_id", "calendar_url", "feed_url"}
)

// Elsewhere reports whether two settings of one connection lead to different accounts or calendars. A setting that is
// filled in, or left out, says nothing.
func Elsewhere(was, now json.RawMessage) bool {
	var a, b map[string]any
	for _, x := range []struct {
		raw json.RawMessage
		out *map[string]any
	}{{was, &a}, {now, &b}} {
		d := json.NewDecoder(bytes.NewReader(x.raw))
		d.UseNumber() // ids may be longer than a float is exact
		if d.Decode(x.out) != nil {
			return false
		}
	}
	text := func(m map[string]any, name string) string {
		switch v := m[name].(type) {
		case string:
			return strings.Trim(strings.TrimSpace(v), "/")
		case json.Number:
			return v.String()
		}
		return ""
	}
	for _, name := range accountNames {
		if x, y := text(a, name), text(b, name); x != "" && y != "" && !strings.EqualFold(x, y) {
			return true
		}
	}
	for _, name := range calendarNames {
		// One may be the path in the other.
		if x, y := text(a, name), text(b, name); x != "" && y != "" && !strings.HasSuffix(x, "/"+y) && !strings.HasSuffix(y, "/"+x) && x != y {
			return true
		}
	}
	return false
}

// Place is the part of settings that says which account and calendar a connection leads to; nil when they do not say.
func Place(settings json.RawMessage) json.RawMessage { return placeOver(nil, settings) }

// placeOver is the place of settings, with what they leave out taken from a place before.
func placeOver(before, settings json.RawMessage) json.RawMessage {
	out := map[string]any{}
	for _, raw := range []json.RawMessage{before, settings} {
		var all map[string]any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&all) != nil {
			continue
		}
		for _, name := range slices.Concat(accountNames, calendarNames) {
			switch v := all[name].(type) {
			case string:
				if v != "" {
					out[name] = v
				}
			case json.Number:
				out[name] = v
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic("marshal texts and numbers: " + err.Error())
	}
	return text
}

// Settle must be called in the transaction that stores a connection's settings or a new consent. It compares where the
// connection leads with where it led when it last worked, or by the settings was where that is not known, calls Moved when
// that is elsewhere, and remembers the new place. So a calendar that was taken out of the settings before another account
// consented is noticed too. i is the connection as stored, by who changed it.
func Settle(ctx context.Context, tx *store.Tx, was json.RawMessage, i domain.Integration, by string) (moved bool, err error) {
	grant, err := tx.OAuthGrant(ctx, i.ID)
	granted := err == nil
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return false, err
	}
	known := was
	if grant.Place != nil {
		known = grant.Place
	}
	place := placeOver(known, i.Settings)
	if moved = Elsewhere(known, i.Settings); moved {
		place = Place(i.Settings)
		if err := Moved(ctx, tx, i, by); err != nil {
			return moved, err
		}
	}
	if granted && place != nil && !bytes.Equal(place, grant.Place) {
		err = tx.NoteOAuthPlace(ctx, i.ID, place)
		return moved, err
	}
	return moved, nil
}

// Moved must be called in the transaction that points a connection at another account or calendar. What it brought is
// held, whatever the number: nothing of it will be found there, which says nothing about the bookings. Our copies are
// left where they are, out of reach, and wished for anew at the new place. The next pull is a full listing. by is who
// changed the connection.
func Moved(ctx context.Context, tx *store.Tx, i domain.Integration, by string) error {
	own, err := tx.OwnLinks(ctx, i.ID, false)
	if err != nil {
		return err
	}
	copies, err := tx.OwnLinks(ctx, i.ID, true)
	if err != nil {
		return err
	}
	if _, err := tx.EndQuarantine(ctx, i.ID, "the connection was pointed elsewhere; the bookings stay"); err != nil {
		return err
	}
	if err := tx.SetSyncCursor(ctx, i.ID, ""); err != nil {
		return err
	}
	var gone []domain.Link
	h := store.NewHold{Integration: i.ID, Cause: domain.Cause{Kind: domain.CauseSettings, ID: string(i.ID)}, Known: len(own), Missing: len(own),
		Reason: "the connection was pointed at another account or calendar"}
	ids := make([]domain.BookingID, 0, len(own))
	for _, l := range own {
		ids = append(ids, l.BookingID)
	}
	bookings, err := tx.BookingsByID(ctx, ids)
	if err != nil {
		return err
	}
	for _, l := range own {
		if bookings[l.BookingID].Status != domain.StatusCancelled {
			h.Rows = append(h.Rows, domain.HeldRemoval{LinkID: l.ID, BookingID: l.BookingID, Kind: domain.HeldElsewhere})
		}
	}
	var wishes []domain.Push
	for _, l := range copies {
		wishes = append(wishes, domain.Push{ID: domain.NewID[domain.PushID](tx.Now), IntegrationID: i.ID, BookingID: l.BookingID, Op: domain.PushPut,
			WantVersion: l.WrittenVersion, UpdatedAt: tx.Now})
	}
	for _, list := range [][]domain.Link{own, copies} {
		for _, l := range list {
			l.RemovedAt, l.UpdatedAt = &tx.Now, tx.Now
			gone = append(gone, l)
		}
	}
	if err := tx.StoreLinks(ctx, gone); err != nil {
		return err
	}
	if i.Direction.Exports() && i.Copies == domain.CopiesKept && len(wishes) > 0 {
		if err := tx.StorePushes(ctx, wishes); err != nil {
			return err
		}
		if err := tx.Enqueue(ctx, store.OutboxPush, string(i.ID), "", tx.Now); err != nil {
			return err
		}
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "integration.move", Reason: h.Reason, Subject: "integration/" + string(i.ID),
		After: map[string]string{"held": strconv.Itoa(len(h.Rows)), "copies_left_behind": strconv.Itoa(len(copies))}}); err != nil || len(h.Rows) == 0 {
		return err
	}
	_, err = hold(ctx, tx, h, by)
	return err
}
