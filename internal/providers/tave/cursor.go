package tave

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// cursorVersion grows when old cursors can no longer be read.
const cursorVersion = 1

const (
	// overlap is how far behind a watermark is read again: what was committed late, and clocks of several servers.
	overlap = 5 * time.Minute
	// settleAfter is how old a change must be before it is not read twice. Times are told to the second, so something
	// changed once more within its second looks the same.
	settleAfter = 30 * time.Second
	// maxSeen bounds what a cursor remembers.
	maxSeen = 200
	// maxBack is how often a walk may be sent back before it is given up: something there changes faster than we read.
	maxBack = 20
)

// phases of a cursor.
const (
	phaseJobs   = "jobs"   // of a sweep
	phaseEvents = "events" // of a sweep
	phaseNews   = "news"   // walks down to the watermarks
	phaseIdle   = "idle"   // between two pulls
)

// resource is a list that is walked for news.
type resource struct {
	path, kind string
	whole      string // parameter by which a list leaves nothing out
}

// resources in the order in which they are walked for news. Whatever names a job comes before the jobs.
var resources = [...]resource{
	{"/order", "order-collection", ""},
	{"/job-contact", "jobcontact-collection", "includeHidden"},
	{"/address-book", "addressbook-collection", "includeHidden"},
	{"/job", "job-collection", "includeClosed"},
	{"/event", "event-collection", "includeHidden"},
}

// Places in resources.
const (
	ofOrders = iota
	ofMembers
	ofPeople
	ofJobs
	ofEvents
)

// cursor is a position.
type cursor struct {
	Version     int                   `json:"v"`
	Fingerprint string                `json:"f"`
	Phase       string                `json:"p"`
	Swept       int64                 `json:"s"` // when the last sweep began, Unix seconds, our clock
	Marks       [len(resources)]int64 `json:"w"` // up to where each list is known, Unix seconds, the servers' clock
	Next        [len(resources)]int64 `json:"n"` // what Marks will be after this walk
	Since       [len(resources)]int64 `json:"m"` // when each of Marks was first seen, our clock
	Calm        [len(resources)]bool  `json:"c"` // nothing at or under the mark can come any more
	Began       int64                 `json:"g"` // when this walk began, our clock
	List        int                   `json:"r,omitempty"`
	At          int                   `json:"a,omitempty"` // index of the last item that was read
	Last        string                `json:"l,omitempty"` // its id
	LastAt      int64                 `json:"t,omitempty"` // when it was changed
	Back        int                   `json:"b,omitempty"`
	Seen        []seen                `json:"d,omitempty"`
}

// seen is an item that was read in the state of a time.
type seen struct {
	List int    `json:"r"`
	ID   string `json:"i"` // a digest
	At   int64  `json:"t"`
}

func seenOf(list int, id string, at int64) seen { return seen{list, digest(id)[:8], at} }

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
	case err != nil, cur.Version != cursorVersion, cur.List < 0, cur.List >= len(resources), cur.At < 0,
		!slices.Contains([]string{phaseJobs, phaseEvents, phaseNews, phaseIdle}, cur.Phase):
		return cur, domain.E(domain.KindGoneToken, "the cursor is not one of this provider")
	case cur.Fingerprint != c.settings.fingerprint(c.zone.String()):
		return cur, domain.E(domain.KindGoneToken, "the cursor was made under other settings")
	case cur.Phase == phaseIdle && c.now().Sub(time.Unix(cur.Swept, 0)) >= time.Duration(c.settings.sweep())*time.Hour:
		return cur, domain.E(domain.KindGoneToken, "everything is to be listed anew")
	}
	return cur, nil
}

// turn begins the walk of another list, or of another phase.
func (c *cursor) turn(phase string, list int) {
	c.Phase, c.List, c.At, c.Last, c.LastAt, c.Back = phase, list, 0, "", 0, 0
}

// back sends a walk back, because something may have slipped past between two pages.
func (c *cursor) back() error {
	if c.Back++; c.Back > maxBack {
		return domain.E(domain.KindUnavailable, "the studio's list changes faster than it is read")
	}
	c.At = max(0, c.At-40)
	return nil
}

// floor is the least time of change that is read of a list. A mark that stood for longer than the overlap is final: what was
// committed late has come since.
func (c *cursor) floor(list int) int64 {
	if c.Calm[list] {
		return c.Marks[list] + 1
	}
	return c.Marks[list] - int64(overlap/time.Second)
}

// note remembers what was read, unless it may still change within its second or is never met again.
func (c *cursor) note(s seen, servers time.Time) {
	if s.At < c.floor(s.List) || !time.Unix(s.At, 0).Before(servers.Add(-settleAfter)) || slices.Contains(c.Seen, s) {
		return
	}
	if len(c.Seen) >= maxSeen {
		c.Seen = slices.Delete(c.Seen, 0, 1)
	}
	c.Seen = append(c.Seen, s)
}

// done ends a walk: the watermarks move, and what lies under them is forgotten.
func (c *cursor) done() {
	for i := range c.Marks {
		if c.Next[i] > c.Marks[i] {
			c.Marks[i], c.Since[i], c.Calm[i] = c.Next[i], c.Began, false
		} else if c.Began-c.Since[i] > int64(overlap/time.Second) {
			c.Calm[i] = true
		}
	}
	c.Seen = slices.DeleteFunc(c.Seen, func(s seen) bool {
		return s.List < 0 || s.List >= len(resources) || s.At < c.floor(s.List)
	})
	c.turn(phaseIdle, 0)
}

// window finds the page of low to high items that holds the item at an index and the most behind it.
func window(at, low, high int) (page, size int) {
	best := -1
	for s := high; s >= low; s-- {
		if start := at / s * s; start+s-at > best {
			best, page, size = start+s-at, start/s+1, s
		}
	}
	return page, size
}
