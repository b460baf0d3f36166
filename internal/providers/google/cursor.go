package google

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// cursorVersion grows when old cursors can no longer be read.
const cursorVersion = 1

// windowStep is how far the window may move on before a full listing brings what came into it.
const windowStep = 7 * day

// cursor is a position. A listing that has not come to its end has Page; Sync is the token that the listing began with,
// "" in a full one. From and Until are the bounds of the full listing that the token goes back to.
type cursor struct {
	Version     int    `json:"v"`
	Fingerprint string `json:"f"`
	From        int64  `json:"from"` // Unix seconds
	Until       int64  `json:"until"`
	Sync        string `json:"s,omitempty"`
	Page        string `json:"p,omitempty"`
	Busy        string `json:"b,omitempty"` // digest of the last free/busy answer
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

// full reports whether the listing began at "".
func (c cursor) full() bool { return c.Sync == "" && c.Busy == "" }

func (c *connection) startCursor() cursor {
	w := c.window()
	return cursor{Version: cursorVersion, Fingerprint: c.fingerprint(), From: w.Start.Unix(), Until: w.End.Unix()}
}

func (c *connection) parseCursor(s string) (cursor, error) {
	var cur cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &cur)
	}
	switch {
	case err != nil, cur.Version != cursorVersion, cur.Sync == "" && cur.Page == "" && cur.Busy == "":
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case cur.Fingerprint != c.fingerprint():
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings")
	case cur.Page == "" && c.window().End.Sub(cur.window().End) > windowStep:
		return cur, domain.E(domain.KindGoneToken, "the window moved on by more than %d days since the last full listing", int(windowStep/day))
	}
	return cur, nil
}
