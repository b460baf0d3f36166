package caldav

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// listing is what a server listed, in little memory: what is known of an entry whose page has not come yet must not be
// much more than its name, or a large calendar would fill the worker.
type listing struct {
	base string   // the folder of the first member, which nearly always is that of all
	text []byte   // members one after the other, see add
	at   []uint32 // where each begins in text; by path once sorted

	next      string // sync: the token to go on from
	truncated bool   // sync: there is more behind that token
}

// What the first byte of a member says of it.
const (
	isGone   = 1 << iota
	inBase   // the path begins with base, which is left out
	isDigest // the ETag is a hash in quotes and hexadecimal digits, of which the bytes are kept
)

// add takes a member over: a byte of marks, then path and ETag, each behind its length.
func (l *listing) add(m member) {
	if len(l.at) == 0 {
		l.base = m.path[:strings.LastIndexByte(m.path, '/')+1]
	}
	l.at = append(l.at, uint32(len(l.text)))
	var marks byte
	if m.gone {
		marks |= isGone
	}
	path, inside := strings.CutPrefix(m.path, l.base)
	if inside {
		marks |= inBase
	}
	var room [64]byte
	tag := append(room[:0], m.etag...)
	if sum, ok := hexTag(m.etag); ok {
		marks |= isDigest
		tag = sum
	}
	l.text = append(l.text, marks)
	l.text = append(binary.AppendUvarint(l.text, uint64(len(path))), path...)
	l.text = append(binary.AppendUvarint(l.text, uint64(len(tag))), tag...)
}

// hexTag reads an ETag that is nothing but quotes around hexadecimal digits in lower case.
func hexTag(etag string) ([]byte, bool) {
	if len(etag) < 4 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		return nil, false
	}
	text := etag[1 : len(etag)-1]
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, false
		}
	}
	sum, err := hex.DecodeString(text)
	return sum, err == nil
}

// field reads what stands behind a length.
func field(text []byte) (value, rest []byte) {
	n, used := binary.Uvarint(text)
	text = text[used:]
	return text[:n], text[n:]
}

// member reads what add wrote.
func (l *listing) member(at uint32) member {
	marks := l.text[at]
	path, rest := field(l.text[at+1:])
	tag, _ := field(rest)
	m := member{path: string(path), etag: string(tag), gone: marks&isGone != 0}
	if marks&inBase != 0 {
		m.path = l.base + m.path
	}
	if marks&isDigest != 0 {
		m.etag = `"` + hex.EncodeToString(tag) + `"`
	}
	return m
}

// compare is the order of two members by path.
func (l *listing) compare(a, b uint32) int {
	if l.text[a]&l.text[b]&inBase != 0 {
		one, _ := field(l.text[a+1:])
		other, _ := field(l.text[b+1:])
		return bytes.Compare(one, other)
	}
	return strings.Compare(l.member(a).path, l.member(b).path)
}

// sort puts the members into the order in which they are handed out.
func (l *listing) sort() { slices.SortFunc(l.at, l.compare) }

// after returns up to limit members behind a path; "" is before all.
func (l *listing) after(path string, limit int) []member {
	from := 0
	if path != "" {
		found := false
		from, found = slices.BinarySearchFunc(l.at, path, func(at uint32, p string) int { return strings.Compare(l.member(at).path, p) })
		for found && from < len(l.at) && l.member(l.at[from]).path == path {
			from++
		}
	}
	var out []member
	for _, at := range l.at[from:min(len(l.at), from+limit)] {
		out = append(out, l.member(at))
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
