package ics

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	// cursorVersion grows when old cursors can no longer be read.
	cursorVersion = 1
	// windowStep is how far the window may move on before everything is listed anew.
	windowStep = 7 * 24 * time.Hour
	day        = 24 * time.Hour
)

// cursor is a position. From and Until stay those of the full listing, so that an entry does not seem to vanish because
// the window moved.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	From        int64  `json:"w"` // window, Unix seconds
	Until       int64  `json:"u"`
	ETag        string `json:"e,omitempty"`
	Modified    string `json:"m,omitempty"`
	Body        string `json:"b"`           // hash of the bytes
	Missing     bool   `json:"x,omitempty"` // something was missing at the last reading
	provider.Remembered
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c cursor) window() domain.Span {
	return domain.Span{Start: time.Unix(c.From, 0).UTC(), End: time.Unix(c.Until, 0).UTC()}
}

func (c *connection) window() domain.Span {
	today := c.now().UTC().Truncate(day)
	return domain.Span{Start: today.Add(-time.Duration(c.settings.past()) * day), End: today.Add(time.Duration(c.settings.future()) * day)}
}

func (c *connection) parseCursor(s string) (cursor, error) {
	var cur cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &cur)
	}
	switch {
	case err != nil, cur.Version != cursorVersion, !cur.Valid():
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case cur.Fingerprint != c.fingerprint():
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings")
	case cur.Missing:
		return cur, domain.E(domain.KindGoneToken, "entries are missing, and the cursor does not name them")
	case c.window().End.Sub(cur.window().End) > windowStep:
		return cur, domain.E(domain.KindGoneToken, "the window moved on by more than %d days since the last full listing", int(windowStep.Hours()/24))
	}
	return cur, nil
}

// Pull reads the feed; see the package comment. There is one page.
func (c *connection) Pull(ctx context.Context, from string) (provider.Page, error) {
	page, err := c.pull(ctx, from)
	if err != nil {
		return provider.Page{}, domain.E(domain.KindOf(err), "pull feed: %w", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, from string) (provider.Page, error) {
	c.forget()
	full := from == ""
	window := c.window()
	cur := cursor{Version: cursorVersion, Fingerprint: c.fingerprint(), From: window.Start.Unix(), Until: window.End.Unix()}
	if !full {
		var err error
		if cur, err = c.parseCursor(from); err != nil {
			return provider.Page{}, err
		}
	}
	f, err := c.get(ctx, validators{cur.ETag, cur.Modified})
	if err != nil {
		return provider.Page{}, err
	}
	if f == nil {
		return provider.Page{Next: from}, nil
	}
	sum := sha256.Sum256(f.body)
	body := base64.RawURLEncoding.EncodeToString(sum[:])
	same := !full && body == cur.Body
	cur.ETag, cur.Modified, cur.Body = f.etag, f.modified, body
	if same {
		return provider.Page{Next: cur.String()}, nil
	}
	if len(f.calendar.Objects) == 0 && f.calendar.Lost == 0 && !full && cur.Any() {
		return provider.Page{}, domain.E(domain.KindUnavailable, "the feed had entries and has none at all now, which proves nothing")
	}
	changes, problems, lost := c.changes(f, cur.window())
	page := provider.Page{Changes: changes, Problems: problems}
	if !full {
		if cur.Over {
			return provider.Page{}, domain.E(domain.KindGoneToken, "the feed changed and has too many entries to tell which")
		}
		page.Changes, cur.Missing = cur.News(changes)
		cur.Missing = cur.Missing && !lost
	}
	if full || !lost { // what could not be read this time is not forgotten
		cur.Keep(changes)
	}
	page.Next = cur.String()
	page.Complete = full && !lost && len(f.calendar.Objects) > 0
	return page, nil
}

// Read reads the feed again and returns the entry as it is now. NotFound needs a whole feed in which everything could be
// read that may be the entry.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	ch, err := c.readEntry(ctx, externalID)
	if err != nil {
		return domain.Change{}, domain.E(domain.KindOf(err), "read from feed: %w", err)
	}
	return ch, nil
}

func (c *connection) readEntry(ctx context.Context, externalID string) (domain.Change, error) {
	f, err := c.current(ctx)
	if err != nil {
		return domain.Change{}, err
	}
	if len(f.calendar.Objects) == 0 && f.calendar.Lost == 0 {
		return domain.Change{}, domain.E(domain.KindUnavailable, "the feed has no entries at all, which proves nothing")
	}
	id, instance, _ := strings.Cut(externalID, "#")
	gone := domain.E(domain.KindNotFound, "the entry is not in the feed")
	for _, o := range objects(f.calendar) {
		if o.id != id {
			continue
		}
		at, found, err := o.occurrence(instance)
		if err != nil {
			return domain.Change{}, err
		}
		if !found {
			return domain.Change{}, gone
		}
		ch := c.change(o, at)
		return ch, ch.Validate()
	}
	for _, p := range f.problems {
		if p.Lost && (p.UID == "" || idOf(ical.Object{UID: p.UID}) == id) {
			return domain.Change{}, domain.E(domain.KindUnavailable, "an entry of the feed cannot be read, and may be the one")
		}
	}
	return domain.Change{}, gone
}

// occurrence finds an instance by its recurrence id, or a single entry by "", wherever it lies.
func (o named) occurrence(instance string) (ical.Occurrence, bool, error) {
	if instance == "" {
		if o.Repeats() {
			return ical.Occurrence{}, false, nil
		}
		single := ical.Occurrence{UID: o.UID, Event: *o.Master}
		if o.Master.HasStart { // what is cancelled need not say when it was
			single.Span = o.Master.Span()
		}
		return single, true, nil
	}
	if !o.Repeats() {
		return ical.Occurrence{}, false, nil
	}
	layout := "20060102T150405"
	if len(instance) == 8 {
		layout = "20060102"
	}
	at, err := time.Parse(layout, instance)
	if err != nil {
		return ical.Occurrence{}, false, nil
	}
	// An exception may have been moved anywhere; the rest is where its id says, give or take the zone and its length.
	window := domain.Span{Start: at.Add(-2 * day), End: at.Add(3 * day)}
	for wall, e := range o.Overrides {
		if o.InstanceID(wall) == instance && e.HasStart {
			window = e.Span()
		}
	}
	found, err := o.Occurrences(window, maxInstances)
	if err != nil {
		return ical.Occurrence{}, false, err
	}
	for _, f := range found {
		if f.RecurrenceID == instance {
			return f, true, nil
		}
	}
	return ical.Occurrence{}, false, nil
}

// current asks for the feed, and uses the one of the last Read if the server says that it is still the same.
func (c *connection) current(ctx context.Context) (*fetched, error) {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	var v validators
	if last != nil {
		v = last.validators
	}
	f, err := c.get(ctx, v)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return last, nil
	}
	f.body = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = f
	return f, nil
}

// forget lets go of the feed of the last Read.
func (c *connection) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}
