package provider

import (
	"crypto/sha256"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxRemembered is the most entries that a cursor remembers, at 12 bytes each.
const MaxRemembered = 2000

// digestHalf is how many bytes are kept of the hash of an id, and of that of a content. A content of an entry that is known is
// taken for unchanged wrongly once in 2^48 changes.
const digestHalf = 6

// Remembered is what a cursor keeps of the last whole listing of a system that does not tell what changed: digests of id and
// content of every entry. Embed it in the cursor. The zero value remembers nothing.
type Remembered struct {
	Digests []byte `json:"d,omitempty"`
	Over    bool   `json:"o,omitempty"` // there were more than MaxRemembered, so none is remembered
}

// Valid reports whether what was read from a cursor can have been written by Keep.
func (r Remembered) Valid() bool { return len(r.Digests)%(2*digestHalf) == 0 }

// Any reports whether the listing had entries.
func (r Remembered) Any() bool { return r.Over || len(r.Digests) > 0 }

// Keep remembers a listing instead of the one before.
func (r *Remembered) Keep(listing []domain.Change) {
	r.Digests, r.Over = nil, len(listing) > MaxRemembered
	if r.Over {
		return
	}
	for _, c := range listing {
		id, content := digestOf(c)
		r.Digests = append(append(r.Digests, id...), content...)
	}
}

// News leaves of a listing what is not remembered, and says whether more is remembered than is listed. Where Over is true
// nothing can be told, and everything is news.
func (r Remembered) News(listing []domain.Change) (news []domain.Change, missing bool) {
	known := map[string]string{}
	for d := r.Digests; len(d) >= 2*digestHalf; d = d[2*digestHalf:] {
		known[string(d[:digestHalf])] = string(d[digestHalf : 2*digestHalf])
	}
	for _, c := range listing {
		id, content := digestOf(c)
		if known[id] != content {
			news = append(news, c)
		}
		delete(known, id)
	}
	return news, len(known) > 0
}

func digestOf(c domain.Change) (id, content string) {
	a, b := sha256.Sum256([]byte(c.ExternalID)), sha256.Sum256([]byte(c.Hash()))
	return string(a[:digestHalf]), string(b[:digestHalf])
}
