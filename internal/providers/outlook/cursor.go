package outlook

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// cursorVersion grows when old cursors can no longer be read.
const cursorVersion = 1

// rearmAfter is how far the end of a view's window may stay behind before a new view is begun.
const rearmAfter = 7 * 24 * time.Hour

// cursor is a position.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	Start       int64  `json:"s"` // window of the view, Unix seconds
	End         int64  `json:"e"`
	Link        string `json:"l,omitempty"` // whole link to follow; "" before the first request
	// First is true until the first listing of the view ended; Full too when the caller began at "".
	First bool `json:"first,omitempty"`
	Full  bool `json:"full,omitempty"`
	// Old is the delta link of the view before, which is read once more after the first listing of this one.
	Old string `json:"o,omitempty"`
	// Last is the delta link of this view while Link belongs to the view before.
	Last string `json:"n,omitempty"`
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// begin is the position before the first page of a new view.
func (c *connection) begin() cursor {
	w := c.window()
	return cursor{Version: cursorVersion, Fingerprint: c.settings.fingerprint(c.local.String()), Start: w.Start.Unix(), End: w.End.Unix(), First: true}
}

func (c *connection) parseCursor(s string) (cursor, error) {
	var cur cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &cur)
	}
	switch {
	case err != nil, cur.Version != cursorVersion, !cur.First && cur.Link == "":
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case cur.Fingerprint != c.settings.fingerprint(c.local.String()):
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings")
	}
	for _, link := range []string{cur.Link, cur.Old, cur.Last} {
		if link == "" {
			continue
		}
		if _, err := c.client.follow(link); err != nil {
			return cur, domain.E(domain.KindGoneToken, "the cursor: %w", err)
		}
	}
	return cur, nil
}

func (c cursor) window() domain.Span {
	return domain.Span{Start: time.Unix(c.Start, 0).UTC(), End: time.Unix(c.End, 0).UTC()}
}

// due reports whether a view at its end has fallen behind.
func (c *connection) due(cur cursor) bool {
	return c.window().End.Sub(cur.window().End) > rearmAfter
}

// first is the query of a new view.
func (c cursor) first() url.Values {
	w := c.window()
	return url.Values{"startDateTime": {w.Start.Format(time.RFC3339)}, "endDateTime": {w.End.Format(time.RFC3339)}}
}
