package scrape

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	engine "github.com/wedsync/wedsync/internal/scrape"
)

const (
	// cursorVersion grows when old cursors can no longer be read.
	cursorVersion = 1
	// windowStep is how far the window may move on before everything is listed anew.
	windowStep = 7 * day
	// readAhead is how far ahead Read looks: an entry that was put off for years is not gone.
	readAhead = maxDays * day
)

// cursor is a position. From and Until stay those of the full listing.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	From        int64  `json:"w"` // window, Unix seconds
	Until       int64  `json:"u"`
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

// asked is the window as the recipe's path names it.
func (c *connection) asked() engine.Window {
	w := c.window()
	return engine.Window{From: w.Start, Until: w.End}
}

// Pull reads the list; see the package comment. There is one page, however many the list has.
func (c *connection) Pull(ctx context.Context, from string) (provider.Page, error) {
	page, err := c.pull(ctx, from)
	if err != nil {
		return provider.Page{}, domain.E(domain.KindOf(err), "pull pages: %w", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, from string) (provider.Page, error) {
	c.remember(nil)
	full := from == ""
	window := c.window()
	cur := cursor{Version: cursorVersion, Fingerprint: c.fingerprint(), From: window.Start.Unix(), Until: window.End.Unix()}
	if !full {
		var err error
		if cur, err = c.parseCursor(from); err != nil {
			return provider.Page{}, err
		}
	}
	if err := c.consent(ctx); err != nil {
		return provider.Page{}, err
	}
	r, err := c.run(ctx, engine.Window{From: cur.window().Start, Until: cur.window().End})
	if err != nil {
		return provider.Page{}, err
	}
	if len(r.Rows)+len(r.Faults) == 0 && cur.Any() {
		return provider.Page{}, domain.E(domain.KindDrift, "the list had entries and shows none now, which proves nothing")
	}
	changes, problems := c.changes(r)
	changes = slices.DeleteFunc(changes, func(ch domain.Change) bool {
		return ch.Status != domain.StatusCancelled && !(ch.When.Start.Before(cur.window().End) && ch.When.End.After(cur.window().Start))
	})
	lost := r.Unsure || len(problems) > 0
	page := provider.Page{Changes: changes, Problems: problems}
	if !full {
		if cur.Over {
			return provider.Page{}, domain.E(domain.KindGoneToken, "the list has too many entries to tell which changed")
		}
		page.Changes, cur.Missing = cur.News(changes)
		cur.Missing = cur.Missing && !lost
	}
	if full || !lost { // what could not be read this time is not forgotten
		cur.Keep(changes)
	}
	page.Next = cur.String()
	page.Complete = full && !lost && len(r.Rows) > 0
	return page, nil
}

func (c *connection) run(ctx context.Context, w engine.Window) (r engine.Result, err error) {
	err = c.read(func() (err error) {
		r, err = c.session.Run(ctx, w)
		return err
	})
	return r, err
}

func (c *connection) remember(r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memo = r
}

// Read reads the list and returns the entry as it is now. NotFound needs a list with rows in which all could be read.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	ch, err := c.readEntry(ctx, externalID)
	if err != nil {
		return domain.Change{}, domain.E(domain.KindOf(err), "read from pages: %w", err)
	}
	return ch, nil
}

func (c *connection) readEntry(ctx context.Context, externalID string) (domain.Change, error) {
	r, err := c.listed(ctx)
	if err != nil {
		return domain.Change{}, err
	}
	if ch, ok := r.changes[externalID]; ok {
		return ch, nil
	}
	if r.unsure || strings.TrimSpace(externalID) == "" {
		return domain.Change{}, domain.E(domain.KindUnavailable, "the entry is not in the list, and not everything in it could be read")
	}
	return domain.Change{}, domain.E(domain.KindNotFound, "the entry is not in the list")
}

// listed returns the whole list, the one of the last minute where there is one.
func (c *connection) listed(ctx context.Context) (*reading, error) {
	c.mu.Lock()
	memo := c.memo
	c.mu.Unlock()
	now := c.now()
	if memo != nil && !now.Before(memo.at) && now.Sub(memo.at) < memoFor {
		return memo, nil
	}
	if err := c.consent(ctx); err != nil {
		return nil, err
	}
	w := c.asked()
	w.Until = w.From.Add(readAhead)
	r, err := c.run(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(r.Rows) == 0 {
		return nil, domain.E(domain.KindUnavailable, "the list has no entries at all, which proves nothing")
	}
	changes, problems := c.changes(r)
	out := &reading{at: now, changes: make(map[string]domain.Change, len(changes)), unsure: r.Unsure || len(problems) > 0}
	for _, ch := range changes {
		out.changes[ch.ExternalID] = ch
	}
	c.remember(out)
	return out, nil
}
