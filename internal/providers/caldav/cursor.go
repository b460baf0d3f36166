package caldav

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// cursorVersion grows when old cursors can no longer be read.
const cursorVersion = 1

// maxDigested is the most resources whose ETags a cursor remembers, at 12 bytes each. A larger calendar on a server
// without sync-collection is listed anew at every change.
const maxDigested = 2000

// windowStep is how far the window may move on before the series are expanded anew by a full listing.
const windowStep = 7 * 24 * time.Hour

type mode string

const (
	modeSync mode = "sync" // by sync tokens
	modeETag mode = "etag" // by change tag and ETags
)

// cursor is a position. Base is where the present batch began, and Next where the following one begins; a batch is
// one answer of the server, handed out in pages by path.
type cursor struct {
	Version     int    `json:"v"`
	Mode        mode   `json:"m"`
	Fingerprint string `json:"f"`
	Until       int64  `json:"u"` // end of the window of the last full listing, Unix seconds
	Full        bool   `json:"full,omitempty"`
	After       string `json:"a,omitempty"` // last path handed out of the batch; "" at its start

	Base      string `json:"b,omitempty"` // sync: token. etag: change tag
	Next      string `json:"n,omitempty"`
	Truncated bool   `json:"t,omitempty"` // sync: the batch is not the last

	BaseDigest []byte `json:"bd,omitempty"` // etag: what was there
	NextDigest []byte `json:"nd,omitempty"`
	Over       bool   `json:"o,omitempty"` // etag: too many resources to remember
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c *connection) parseCursor(s string) (cursor, error) {
	var cur cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &cur)
	}
	switch {
	case err != nil, cur.Version != cursorVersion, cur.Mode != modeSync && cur.Mode != modeETag:
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case cur.Fingerprint != c.settings.fingerprint(c.local, c.zoneData):
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings, or other rules of the time zones")
	case !cur.Full && cur.After == "" && c.window().End.Sub(time.Unix(cur.Until, 0)) > windowStep:
		return cur, domain.E(domain.KindGoneToken, "the window moved on by more than %d days since the last full listing", int(windowStep.Hours()/24))
	}
	return cur, nil
}

func (c *connection) startCursor(m mode) cursor {
	return cursor{Version: cursorVersion, Mode: m, Fingerprint: c.settings.fingerprint(c.local, c.zoneData), Until: c.window().End.Unix(), Full: true}
}

const digestHalf = 6

// digestOf is the memory of one resource: a digest of its path and one of its ETag.
func digestOf(m member) [2 * digestHalf]byte {
	var out [2 * digestHalf]byte
	path, tag := sha256.Sum256([]byte(m.path)), sha256.Sum256([]byte(m.etag))
	copy(out[:digestHalf], path[:])
	copy(out[digestHalf:], tag[:])
	return out
}

// remember writes the memory of a listing; over is true when it is too large.
func remember(members []member) (digests []byte, over bool) {
	if len(members) > maxDigested {
		return nil, true
	}
	for _, m := range members {
		d := digestOf(m)
		digests = append(digests, d[:]...)
	}
	return digests, false
}

// recall reads a memory: digest of path -> digest of ETag.
func recall(digests []byte) map[string]string {
	out := map[string]string{}
	for len(digests) >= 2*digestHalf {
		out[string(digests[:digestHalf])] = string(digests[digestHalf : 2*digestHalf])
		digests = digests[2*digestHalf:]
	}
	return out
}
