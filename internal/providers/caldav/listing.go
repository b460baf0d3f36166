package caldav

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"slices"
	"sync"
	"time"
)

// listing is what a server listed, in little memory: what is known of an entry whose page has not come yet must not be
// much more than its name, or a large calendar would fill the worker.
type listing struct {
	text []byte   // members one after the other, see add
	at   []uint32 // where each begins in text; by path once sorted

	next      string // sync: the token to go on from
	truncated bool   // sync: there is more behind that token
}

// add takes a member over: a byte that says whether it is gone, then path and ETag, each behind its length.
func (l *listing) add(m member) {
	l.at = append(l.at, uint32(len(l.text)))
	mark := byte(0)
	if m.gone {
		mark = 1
	}
	l.text = append(l.text, mark)
	for _, s := range []string{m.path, m.etag} {
		l.text = append(binary.AppendUvarint(l.text, uint64(len(s))), s...)
	}
}

// field reads what stands behind a length.
func field(text []byte) (value, rest []byte) {
	n, used := binary.Uvarint(text)
	text = text[used:]
	return text[:n], text[n:]
}

func (l *listing) path(at uint32) []byte {
	path, _ := field(l.text[at+1:])
	return path
}

// sort puts the members into the order in which they are handed out.
func (l *listing) sort() {
	slices.SortFunc(l.at, func(a, b uint32) int { return bytes.Compare(l.path(a), l.path(b)) })
}

// after returns up to limit members behind a path; "" is before all.
func (l *listing) after(path string, limit int) []member {
	from := 0
	if path != "" {
		found := false
		from, found = slices.BinarySearchFunc(l.at, path, func(at uint32, p string) int { return bytes.Compare(l.path(at), []byte(p)) })
		for found && from < len(l.at) && string(l.path(l.at[from])) == path {
			from++
		}
	}
	var out []member
	for _, at := range l.at[from:min(len(l.at), from+limit)] {
		path, rest := field(l.text[at+1:])
		tag, _ := field(rest)
		out = append(out, member{path: string(path), etag: string(tag), gone: l.text[at] == 1})
	}
	return out
}

// listingOf is a listing of members.
func listingOf(members []member) *listing {
	l := &listing{}
	for _, m := range members {
		l.add(m)
	}
	l.sort()
	return l
}

// Listings are kept while their pages are handed out, or a server would have to make the whole list again for each page.
// They are an aid and no record: without one the server is asked again.
const (
	listingLife = 10 * time.Minute // without a page
	listingRoom = 64 << 20         // bytes of all together
)

// listings are those of the process: the value of a connection may be made anew between two pages.
type listings struct {
	mu     sync.Mutex
	recent *list.List // of *keptListing, most recently used first
	byKey  map[[32]byte]*list.Element
	bytes  int
}

type keptListing struct {
	key  [32]byte
	list *listing
	used time.Time
}

var keptListings = listings{recent: list.New(), byKey: map[[32]byte]*list.Element{}}

// keyOf names the batch of a cursor, as this account sees this calendar.
func (c *connection) keyOf(at *url.URL, cur cursor) [32]byte {
	cur.After = ""
	b, err := json.Marshal([]any{at.String(), c.auth, cur})
	if err != nil {
		panic("marshal a cursor of plain fields: " + err.Error())
	}
	return sha256.Sum256(b)
}

// get returns the listing of a batch, nil when it is not kept.
func (k *listings) get(key [32]byte, now time.Time) *listing {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tidy(now)
	el := k.byKey[key]
	if el == nil {
		return nil
	}
	one := el.Value.(*keptListing)
	one.used = now
	k.recent.MoveToFront(el)
	return one.list
}

// keep keeps the listing of a batch that has further pages.
func (k *listings) keep(key [32]byte, l *listing, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(k.byKey[key])
	k.byKey[key] = k.recent.PushFront(&keptListing{key, l, now})
	k.bytes += l.size()
	k.tidy(now)
}

// forget lets go of a listing whose last page was handed out.
func (k *listings) forget(key [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(k.byKey[key])
}

func (k *listings) tidy(now time.Time) {
	for el := k.recent.Back(); el != nil && (k.bytes > listingRoom || now.Sub(el.Value.(*keptListing).used) > listingLife); el = k.recent.Back() {
		k.drop(el)
	}
}

func (k *listings) drop(el *list.Element) {
	if el == nil {
		return
	}
	one := el.Value.(*keptListing)
	k.recent.Remove(el)
	delete(k.byKey, one.key)
	k.bytes -= one.list.size()
}

func (l *listing) size() int { return cap(l.text) + 4*cap(l.at) }
