package custom

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// maxGenerations is how many keys of one write are tried where keys outlive entries: the key of a deleted copy makes
// nothing any more.
const maxGenerations = 5

// writePart is a compiled Write.
type writePart struct {
	create, update         *request // update may be nil
	createItem, updateItem *program
	remove                 *request
	keyHeader              string
	generations            int      // keys to try
	lookup                 *request // may be nil
	lookupItems            *program
	missing                []int
	mapper                 *mapper
}

func compileWrite(s Settings, local *time.Location) (*writePart, error) {
	const part = "settings.write"
	wr := s.Write
	out := &writePart{keyHeader: wr.IdempotencyHeader, generations: 1, missing: []int{http.StatusNotFound, http.StatusGone}}
	if s.Read != nil && len(s.Read.MissingStatus) > 0 {
		out.missing = s.Read.MissingStatus
	}
	var err error
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	item := func(src Expr, path string) *program {
		if src == "" {
			return nil
		}
		p, err := compile(string(src), path, 0, scopeWritten, wantAny, nil)
		note(err)
		return p
	}
	out.create, err = compileRequest(wr.Create.Request, part+".create", scopeEntry, http.MethodPost)
	note(err)
	out.createItem = item(wr.Create.Item, part+".create.item")
	if wr.Update != nil {
		out.update, err = compileRequest(wr.Update.Request, part+".update", scopeEntry, http.MethodPut)
		note(err)
		out.updateItem = item(wr.Update.Item, part+".update.item")
	}
	out.remove, err = compileRequest(wr.Remove, part+".remove", scopeEntry, http.MethodDelete)
	note(err)
	if wr.IdempotencyHeader != "" && !headerName(wr.IdempotencyHeader) {
		note(domain.Invalid(part+".idempotency_header", "must be a header name such as Idempotency-Key"))
	}
	if wr.KeysOutliveEntries {
		out.generations = maxGenerations
		if wr.IdempotencyHeader == "" || s.Read == nil {
			note(domain.Invalid(part+".keys_outlive_entries", "needs idempotency_header and the part read"))
		}
	}
	if wr.Lookup != nil {
		out.lookup, err = compileRequest(wr.Lookup.Request, part+".lookup", scopeEntry, http.MethodGet)
		note(err)
		out.lookupItems, err = compile(string(wr.Lookup.Items), part+".lookup.items", 0, scopeAnswer, wantList, nil)
		note(err)
	}
	if wr.IdempotencyHeader == "" && wr.Lookup == nil {
		note(domain.Invalid(part, "needs idempotency_header or lookup: without, a create whose answer is lost would be doubled"))
	}
	out.mapper, err = compileMapping(s.Mapping, wr.Mapping, part+".mapping", local)
	note(err)
	return out, errors.Join(faults...)
}

// writes is the ability to take entries from us.
type writes struct{ c *connection }

// Put creates or changes the copy of a booking.
func (x writes) Put(ctx context.Context, wish provider.Write) (provider.Written, error) {
	named, err := entryVarsOf(wish)
	if err != nil {
		return provider.Written{}, err
	}
	p := put{connection: x.c, wish: wish, named: named}
	if wish.ExternalID != "" {
		return p.update(ctx)
	}
	return p.create(ctx)
}

// put is one write under way.
type put struct {
	*connection
	wish  provider.Write
	named map[string]any
}

func (p put) work(ctx context.Context) *work {
	w := newWork(ctx)
	w.vars.named = p.named
	return w
}

// create makes the copy, or adopts the one that an earlier try made.
func (p put) create(ctx context.Context) (provider.Written, error) {
	if p.write.lookup != nil {
		found, there, err := p.find(ctx)
		if err != nil {
			return provider.Written{}, err
		}
		if there {
			return p.adopt(ctx, found)
		}
	}
	for generation := 1; generation <= p.write.generations; generation++ {
		made, err := p.post(ctx, generation)
		if err != nil {
			if domain.KindOf(err) == domain.KindNotFound {
				continue // the key is used up
			}
			return provider.Written{}, err
		}
		return p.adopt(ctx, made)
	}
	if p.write.generations > 1 {
		return provider.Written{}, domain.E(domain.KindPermanent, "create entry: the system answers with deleted entries for %d keys", maxGenerations)
	}
	// Reads may lag behind writes. A second create could double the entry, the same one again cannot.
	return provider.Written{}, domain.E(domain.KindUnavailable, "create entry: the entry that the answer names cannot be read; if keys live longer than entries, set write.keys_outlive_entries")
}

// post sends the create. KindNotFound means that the answer names an entry that does not exist any more.
func (p put) post(ctx context.Context, generation int) (domain.Change, error) {
	w := p.work(ctx)
	req, err := p.write.create.build(ctx, p.base, w)
	if err != nil {
		return domain.Change{}, err
	}
	if p.write.keyHeader != "" {
		key := p.wish.Key
		if generation > 1 {
			key += "-" + strconv.Itoa(generation)
		}
		req.Header.Set(p.write.keyHeader, key)
	}
	body, res, err := p.send(req)
	if err != nil {
		return domain.Change{}, notAnEntry("create entry", err)
	}
	p.answer(w, body, res)
	if p.read == nil {
		change, err := w.entry(p.write.createItem, p.write.mapper)
		if err != nil {
			return domain.Change{}, at("settings.write.create", err)
		}
		return change, nil
	}
	// The answer may be a stored one, so only the id is taken from it.
	if err := w.pick(p.write.createItem); err != nil {
		return domain.Change{}, at("settings.write.create", err)
	}
	r := reader{w: w}
	id := r.id(p.write.mapper.externalID)
	if r.err == nil && id == "" {
		r.err = domain.Invalid("external_id", "has no value in the answer")
	}
	if r.err != nil {
		return domain.Change{}, at("settings.write.create", r.err)
	}
	return p.readEntry(ctx, id)
}

// adopt brings a copy that exists to the wanted state, if it is not there yet: it may be from an earlier try that
// wanted something else.
func (p put) adopt(ctx context.Context, c domain.Change) (provider.Written, error) {
	if p.same(c) || p.write.update == nil || !p.ours(c) {
		return written(c), nil
	}
	p.wish.ExternalID, p.wish.Revision = c.ExternalID, c.Revision
	named, err := entryVarsOf(p.wish)
	if err != nil {
		return provider.Written{}, err
	}
	p.named = named
	return p.change(ctx)
}

// find looks for the copy of an earlier try.
func (p put) find(ctx context.Context) (domain.Change, bool, error) {
	w := p.work(ctx)
	body, res, err := p.call(ctx, p.write.lookup, w)
	if err != nil {
		return domain.Change{}, false, notAnEntry("look up entry", err)
	}
	if body == nil {
		return domain.Change{}, false, domain.E(domain.KindUnavailable, "look up entry: the answer has no body")
	}
	p.answer(w, body, res)
	items, err := w.list(p.write.lookupItems)
	if err != nil {
		return domain.Change{}, false, at("settings.write.lookup", err)
	}
	switch len(items) {
	case 0:
		return domain.Change{}, false, nil
	case 1:
	default:
		return domain.Change{}, false, domain.E(domain.KindConflict, "look up entry: %d entries carry the mark of one booking", len(items))
	}
	w.vars.item = items[0]
	c, dropped, err := p.write.mapper.change(w)
	switch {
	case err != nil:
		return domain.Change{}, false, at("settings.write.lookup", err)
	case dropped || c.Op == domain.OpRemove:
		return domain.Change{}, false, nil
	}
	return c, true, nil
}

// update changes a copy that is known. Without a revision the entry is read first: it must be ours, or absent.
func (p put) update(ctx context.Context) (provider.Written, error) {
	if p.write.update == nil {
		return provider.Written{}, domain.E(domain.KindPermanent, "update entry: the settings have no write.update")
	}
	if p.wish.Revision == "" && p.read != nil && (p.write.mapper.revision != nil || p.write.mapper.origin != nil) {
		now, err := p.readEntry(ctx, p.wish.ExternalID)
		switch {
		case domain.KindOf(err) == domain.KindNotFound && !p.wish.Source:
			p.wish.ExternalID = ""
			named, err := entryVarsOf(p.wish)
			if err != nil {
				return provider.Written{}, err
			}
			p.named = named
			return p.create(ctx)
		case err != nil:
			return provider.Written{}, err
		case !p.wish.Source && (p.write.mapper.origin == nil || !p.ours(now)):
			return provider.Written{}, domain.E(domain.KindConflict, "update entry: it is not known to be ours")
		}
		return p.adopt(ctx, now)
	}
	return p.change(ctx)
}

// change sends the update.
func (p put) change(ctx context.Context) (provider.Written, error) {
	w := p.work(ctx)
	body, res, err := p.call(ctx, p.write.update, w)
	switch {
	case err == nil:
	case missing(p.write.missing, err):
		return provider.Written{}, domain.E(domain.KindConflict, "update entry: it is gone: %w", err)
	case domain.KindOf(err) == domain.KindConflict && p.read != nil:
		// Perhaps an earlier try of this very change was carried out and its answer was lost.
		now, readErr := p.readEntry(ctx, p.wish.ExternalID)
		if readErr == nil && p.ours(now) && p.same(now) {
			return written(now), nil
		}
		return provider.Written{}, domain.E(domain.KindConflict, "update entry: %w", err)
	default:
		return provider.Written{}, domain.E(domain.KindOf(err), "update entry: %w", err)
	}
	if body != nil {
		p.answer(w, body, res)
		c, err := w.entry(p.write.updateItem, p.write.mapper)
		switch {
		case err == nil && c.ExternalID == p.wish.ExternalID:
			return written(c), nil
		case p.read != nil:
		case err != nil:
			return provider.Written{}, at("settings.write.update", err)
		default:
			return provider.Written{}, domain.E(domain.KindPermanent, "update entry: the answer is about another entry")
		}
	}
	if p.read != nil {
		c, err := p.readEntry(ctx, p.wish.ExternalID)
		return written(c), err
	}
	return written(p.assumed()), nil
}

// Remove deletes the copy.
func (x writes) Remove(ctx context.Context, externalID, revision string) error {
	part := x.c.write
	if revision == "" && x.c.read != nil && part.mapper.origin != nil {
		now, err := x.c.readEntry(ctx, externalID)
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			return nil
		case err != nil:
			return err
		case now.Origin == "":
			return domain.E(domain.KindConflict, "remove entry: it is not known to be ours")
		}
		revision = now.Revision
	}
	named, err := entryVarsOf(provider.Write{ExternalID: externalID, Revision: revision})
	if err != nil {
		return err
	}
	w := newWork(ctx)
	w.vars.named = named
	req, err := part.remove.build(ctx, x.c.base, w)
	if err != nil {
		return err
	}
	// The body of the answer says nothing that matters, so it need not be JSON.
	if _, err := x.c.do(req); err != nil && !missing(part.missing, err) {
		return notAnEntry("remove entry", err)
	}
	return nil
}

func (p put) answer(w *work, body any, res *httpx.Response) {
	named := w.vars.named
	w.vars = answerVarsOf(body, res.Header, p.now())
	w.vars.named = named
}

// ours reports whether an entry carries our marker. A source entry is written because a person decided so, and where
// no marker is mapped the caller's link is all there is.
func (p put) ours(c domain.Change) bool {
	return p.wish.Source || p.write.mapper.origin == nil || c.Origin == p.wish.BookingID
}

// same reports whether an entry already says what is wanted. A source entry is compared in what the wish names.
func (p put) same(c domain.Change) bool {
	if !c.When.Start.Equal(p.wish.When.Start) || !c.When.End.Equal(p.wish.When.End) || c.Status != p.wish.Status {
		return false
	}
	return p.write.mapper.title == nil || c.Details.Title == p.wish.Details.Title || p.wish.Source && p.wish.Details.Title == ""
}

// assumed is the copy as it should be now, for a system that neither answers with it nor can be asked.
func (p put) assumed() domain.Change {
	c := domain.Change{Op: domain.OpUpsert, ExternalID: p.wish.ExternalID, Category: p.wish.Category, Status: p.wish.Status,
		When: p.wish.When, Details: p.wish.Details}
	if !p.wish.Source && p.write.mapper.origin != nil {
		c.Origin, c.Unbound = p.wish.BookingID, true
	}
	return c
}

func written(c domain.Change) provider.Written {
	return provider.Written{ExternalID: c.ExternalID, UID: c.UID, Revision: c.Revision, ReadBack: c}
}

// entryVarsOf gives the variables entry.* of a write.
func entryVarsOf(w provider.Write) (map[string]any, error) {
	zone, name := time.UTC, w.When.Zone
	if name == "" {
		name = "UTC"
	} else {
		var err error
		if zone, err = calendartime.LoadZone(name); err != nil {
			return nil, err
		}
	}
	first, end := calendartime.DateOf(w.When.Start, zone), calendartime.DateOf(w.When.End, zone)
	last := calendartime.DateOf(w.When.End.Add(-1), zone)
	return map[string]any{
		"entry.key": w.Key, "entry.booking_id": string(w.BookingID), "entry.external_id": w.ExternalID, "entry.revision": w.Revision,
		"entry.category": string(w.Category), "entry.status": string(w.Status),
		"entry.start": stamp(w.When.Start), "entry.end": stamp(w.When.End), "entry.zone": name,
		"entry.start_date": first.String(), "entry.end_date": end.String(), "entry.last_date": last.String(),
		"entry.start_local": calendartime.WallOf(w.When.Start, zone).String(), "entry.end_local": calendartime.WallOf(w.When.End, zone).String(),
		"entry.all_day": w.When.Kind == domain.TimeAllDay, "entry.floating": w.When.Kind == domain.TimeFloating, "entry.source": w.Source,
		"entry.title": w.Details.Title, "entry.location": w.Details.Location, "entry.notes": w.Details.Notes, "entry.contact": w.Details.Contact,
	}, nil
}
