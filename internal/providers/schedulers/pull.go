package schedulers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	// cursorVersion grows when old cursors can no longer be read.
	cursorVersion = 1
	// windowStep is how far the window may move on before a full listing brings what came into it.
	windowStep = 7 * day
	// sinceOverlap is how much of what was told already is told again: changes may be listed later than others that were
	// made after them.
	sinceOverlap = 10 * time.Minute
)

// cursor is a position. Page is set inside a listing. Since is when the newest change that is known was made, by the
// scheduler's clock, and Newest the same of the listing under way. All times are Unix milliseconds.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	From        int64  `json:"w"`
	Until       int64  `json:"u"`
	Full        bool   `json:"a,omitempty"` // the listing began at ""
	Page        string `json:"p,omitempty"`
	Since       int64  `json:"s,omitempty"`
	Newest      int64  `json:"n,omitempty"`
	Listed      int    `json:"l,omitempty"` // so far
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c cursor) window() domain.Span {
	return domain.Span{Start: time.UnixMilli(c.From).UTC(), End: time.UnixMilli(c.Until).UTC()}
}

func (c *connection) position(s string) (cursor, error) {
	w := c.window()
	cur := cursor{Version: cursorVersion, Fingerprint: c.fingerprint(), From: w.Start.UnixMilli(), Until: w.End.UnixMilli(), Full: true}
	if s == "" {
		return cur, nil
	}
	var got cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	switch {
	case err != nil, got.Version != cursorVersion:
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case got.Fingerprint != cur.Fingerprint:
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings")
	case got.Page == "" && w.End.Sub(got.window().End) > windowStep:
		return cur, domain.E(domain.KindGoneToken, "the window moved on by more than %d days since the last full listing", int(windowStep/day))
	}
	return got, nil
}

// Pull lists a page. See the package comment for what a cursor leaves out.
func (c *connection) Pull(ctx context.Context, position string) (provider.Page, error) {
	page, err := c.pull(ctx, position)
	if err != nil {
		return provider.Page{}, c.fail("pull", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, position string) (provider.Page, error) {
	cur, err := c.position(position)
	if err != nil {
		return provider.Page{}, err
	}
	account, err := c.chosen(ctx)
	if err != nil {
		return provider.Page{}, err
	}
	got, err := c.ask.list(ctx, account, cur.window(), cur.Page)
	if err != nil {
		return provider.Page{}, err
	}
	if !cur.Full && !got.at.IsZero() && got.at.UnixMilli() < cur.Since-sinceOverlap.Milliseconds() {
		// What changed since the clock was set back would be taken for old.
		return provider.Page{}, domain.E(domain.KindGoneToken, "the scheduler's clock was set back behind the newest change")
	}
	var page provider.Page
	for _, a := range got.items {
		if a.id == "" || len(a.id) > domain.MaxExternalID {
			return provider.Page{}, errUnreadable
		}
		if !a.updated.IsZero() {
			cur.Newest = max(cur.Newest, a.updated.UnixMilli())
			if !cur.Full && a.updated.UnixMilli() < cur.Since-sinceOverlap.Milliseconds() {
				continue
			}
		}
		ch, err := c.change(a)
		if err != nil {
			page.Problems = append(page.Problems, provider.Problem{ExternalID: a.id, Err: err})
			continue
		}
		page.Changes = append(page.Changes, ch)
	}
	cur.Listed += len(got.items)
	if got.next != "" {
		cur.Page, page.More, page.Total = got.next, true, got.total
		page.Next = cur.String()
		return page, nil
	}
	if got.total > 0 && cur.Listed < got.total {
		return provider.Page{}, domain.E(domain.KindUnavailable, "the listing ended after %d of %d appointments", cur.Listed, got.total)
	}
	page.Total, page.Complete = got.total, cur.Full
	since := max(cur.Since, cur.Newest)
	if !got.at.IsZero() {
		since = min(since, got.at.UnixMilli()) // however far in the future an appointment is dated
	}
	page.Next = cursor{Version: cur.Version, Fingerprint: cur.Fingerprint, From: cur.From, Until: cur.Until, Since: since}.String()
	return page, nil
}

// Read asks for one appointment. A cancelled one does not exist any more.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	ch, err := c.read(ctx, externalID)
	if err != nil {
		return domain.Change{}, c.fail("read an appointment of", err)
	}
	return ch, nil
}

func (c *connection) read(ctx context.Context, id string) (domain.Change, error) {
	if id == "" || strings.ContainsAny(id, "/?#%\\") || strings.Trim(id, ".") == "" {
		return domain.Change{}, domain.E(domain.KindNotFound, "no appointment has such an id")
	}
	a, err := c.ask.get(ctx, id)
	if err != nil {
		return domain.Change{}, err
	}
	if a.id != id {
		return domain.Change{}, errUnreadable
	}
	if a.cancelled {
		return domain.Change{}, domain.E(domain.KindNotFound, "the appointment was cancelled")
	}
	return c.change(a)
}

// change puts an appointment into WedSync's words. Errors are about this one only.
func (c *connection) change(a appointment) (domain.Change, error) {
	ch := domain.Change{Op: domain.OpUpsert, ExternalID: a.id, RemoteVersion: max(0, a.updated.UnixMilli())}
	if a.updated.IsZero() {
		ch.RemoteVersion = 0
	} else {
		at := a.updated.UTC()
		ch.ChangedAt = &at
	}
	if a.cancelled {
		ch.Op = domain.OpRemove
		return ch, nil
	}
	if a.err != nil {
		return ch, a.err
	}
	ch.Status = domain.StatusConfirmed
	if a.tentative {
		ch.Status = domain.StatusTentative
	}
	for _, l := range a.labels {
		if l = cut(l, domain.MaxLabel); l != "" && len(ch.Labels) < domain.MaxLabels {
			ch.Labels = append(ch.Labels, l)
		}
	}
	ch.Category = c.settings.category(append([]string{a.title}, a.labels...)...)
	ch.When = domain.When{Span: domain.Span{Start: a.start.UTC(), End: a.end.UTC()}, Zone: c.local.String(), Kind: domain.TimeZoned}
	if a.end.Equal(a.start) {
		ch.When.End, ch.Free = ch.When.End.Add(time.Minute), true
	}
	ch.Details = domain.Details{Title: cut(a.title, domain.MaxTitle), Location: cut(a.location, domain.MaxTitle),
		Contact: cut(a.contact, domain.MaxTitle), Notes: cut(a.notes, domain.MaxNotes)}
	return ch, ch.Validate()
}

// cut shortens a text to whole characters. Schedulers set no bound to what clients write.
func cut(s string, limit int) string {
	s = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\ufffd"))
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
