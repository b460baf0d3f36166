package tave

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Sizes of pages. The small ones are of lists of which each item costs a request or two more: a page is one step of work
// and must end within its time at the lowest rate.
const (
	leastJobs, mostJobs     = 10, 14
	leastEvents, mostEvents = 50, 100
	maxFamilies             = 12
	mostWindows             = 10 // of lists of news
	maxJobsOfClient         = 10 // whose contact was changed; a sweep finds further ones
)

// Pull reads one page; see the package comment.
func (c *connection) Pull(ctx context.Context, position string) (provider.Page, error) {
	page, err := c.pull(ctx, position)
	if err != nil {
		return provider.Page{}, domain.E(domain.KindOf(err), "read studio: %w", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, position string) (provider.Page, error) {
	var (
		cur cursor
		err error
	)
	if position == "" {
		cur, err = c.begin(ctx)
	} else {
		cur, err = c.parseCursor(position)
	}
	if err != nil {
		return provider.Page{}, err
	}
	if cur.Phase == phaseIdle {
		cur.Next, cur.Began = cur.Marks, c.now().Unix()
		cur.turn(phaseNews, 0)
	}
	p := &pulled{connection: c, cur: cur, families: map[string]*family{}}
	switch cur.Phase {
	case phaseJobs:
		err = p.sweepJobs(ctx)
	case phaseEvents:
		err = p.sweepEvents(ctx)
	default:
		err = p.walk(ctx)
	}
	if err != nil {
		return provider.Page{}, err
	}
	p.page.Next = p.cur.String()
	return p.page, nil
}

// begin is the position before the first page of a sweep. The watermarks are taken first, so that what changes while the
// sweep goes on is read again after it.
func (c *connection) begin(ctx context.Context) (cursor, error) {
	cur := cursor{Version: cursorVersion, Fingerprint: c.settings.fingerprint(c.zone.String()), Swept: c.now().Unix(), Began: c.now().Unix()}
	for i, r := range resources {
		l, err := c.client.page(ctx, r.path, r.kind, r.newest(), 1, 10)
		if err != nil {
			return cur, err
		}
		items, err := summaries(l.items)
		if err != nil {
			return cur, err
		}
		if cur.Since[i] = cur.Began; len(items) > 0 {
			cur.Marks[i] = items[0].mark(l.at)
		}
	}
	cur.turn(phaseJobs, ofJobs)
	return cur, nil
}

func (r resource) newest() url.Values { return r.by("modified desc") }

func (r resource) by(order string) url.Values {
	q := url.Values{"sortBy": {order}}
	if r.whole != "" {
		q.Set(r.whole, "true")
	}
	return q
}

// summary is what every entity tells.
type summary struct {
	ID       string `json:"id"`
	Modified string `json:"modified"`
	JobID    string `json:"jobId"`
}

func (s summary) at() int64 {
	if t := instant(s.Modified); !t.IsZero() {
		return t.Unix()
	}
	return 0
}

// mark is a watermark at an item: not ahead of the servers, however far in the future one entry is dated.
func (s summary) mark(servers time.Time) int64 { return min(s.at(), servers.Unix()) }

func summaries(items []json.RawMessage) ([]summary, error) {
	out, err := decode[summary](items)
	for _, s := range out {
		if err == nil && !validID(s.ID) {
			err = domain.E(domain.KindUnavailable, "an item of a list has no id")
		}
	}
	return out, err
}

// pulled is a page while it is read.
type pulled struct {
	*connection
	cur      cursor
	page     provider.Page
	families map[string]*family // emitted already
	servers  time.Time
	full     bool // the rest is the next page's
}

// look names an entry that may have ended. In a sweep absence tells.
func (p *pulled) look(id string) {
	if p.cur.Phase == phaseNews {
		p.page.Look = append(p.page.Look, id)
	}
}

// tell adds a change or, if it could not be understood, a problem. Faults on the way are errors.
func (p *pulled) tell(id string, ch domain.Change, err error) error {
	switch domain.KindOf(err) {
	case "":
		p.page.Changes = append(p.page.Changes, ch)
	case domain.KindInvalid:
		p.page.Problems = append(p.page.Problems, provider.Problem{ExternalID: id, Err: err})
	default:
		return err
	}
	return nil
}

// emit reads a job and tells of all its entries. One that is gone tells nothing: a sweep finds it.
func (p *pulled) emit(ctx context.Context, id string) error {
	if _, done := p.families[id]; done {
		return nil
	}
	f, err := p.family(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		p.look(jobPrefix + id)
		return nil
	}
	if err != nil {
		return err
	}
	p.families[id] = f
	if f.Sample {
		return nil
	}
	p.cur.note(seenOf(ofJobs, f.ID, summary{Modified: f.Modified}.at()), p.servers)
	for _, e := range *f.Events {
		if err := p.emitEvent(ctx, e, f); err != nil {
			return err
		}
		p.cur.note(seenOf(ofEvents, e.ID, summary{Modified: e.Modified}.at()), p.servers)
	}
	if !f.hasDate() {
		p.look(jobPrefix + f.ID)
		return nil
	}
	ch, err := p.dated(f)
	return p.tell(jobPrefix+f.ID, ch, err)
}

// hasDate reports whether the job's own date is an entry.
func (f *family) hasDate() bool {
	if f.EventDate == "" || f.Sample {
		return false
	}
	for _, e := range *f.Events {
		if e.StartDate != "" && !e.Hidden {
			return false
		}
	}
	return true
}

func (p *pulled) emitEvent(ctx context.Context, e event, f *family) error {
	if e.StartDate == "" {
		p.look(eventPrefix + e.ID)
		return nil
	}
	ch, err := p.change(ctx, e, f)
	return p.tell(eventPrefix+e.ID, ch, err)
}

// next reads the next window of the current list in the order of ids, and returns the items that were not read before. ok is
// false when the walk was sent back.
func (p *pulled) next(ctx context.Context, low, high int) (items []json.RawMessage, end, ok bool, err error) {
	r := resources[p.cur.List]
	number, size := window(p.cur.At, low, high)
	l, err := p.client.page(ctx, r.path, r.kind, r.by("id"), number, size)
	if err != nil {
		return nil, false, false, err
	}
	p.servers = l.at
	have, err := summaries(l.items)
	if err != nil {
		return nil, false, false, err
	}
	start := (number - 1) * size
	if start > 0 && (len(have) == 0 || have[0].ID > p.cur.Last) {
		return nil, false, false, p.cur.back()
	}
	previous := ""
	for i, s := range have {
		if s.ID <= previous {
			return nil, false, false, domain.E(domain.KindUnavailable, "the studio's list is not in the order that was asked for")
		}
		previous = s.ID
		if s.ID > p.cur.Last {
			items = append(items, l.items[i])
		}
	}
	if start > 0 && previous < p.cur.Last {
		// New ids are the greatest, so nothing comes before what was read: this is another page than the one that was asked for.
		// Without a total nothing else would end a walk over the same page.
		return nil, false, false, domain.E(domain.KindUnavailable, "the studio answers a page that was read already")
	}
	if len(have) > 0 {
		p.cur.At, p.cur.Last = start+len(have)-1, max(p.cur.Last, previous)
	}
	return items, l.ends(start, size), true, nil
}

// ends reports whether a page is the last one.
func (l listing) ends(start, size int) bool {
	if l.total >= 0 {
		return start+len(l.items) >= l.total
	}
	return len(l.items) < size
}

func (p *pulled) sweepJobs(ctx context.Context) error {
	items, end, ok, err := p.next(ctx, leastJobs, mostJobs)
	if err != nil {
		return err
	}
	jobs, err := summaries(items)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := p.emit(ctx, j.ID); err != nil {
			return err
		}
	}
	if ok && end {
		p.cur.turn(phaseEvents, ofEvents)
	}
	p.page.More = true
	return nil
}

// sweepEvents tells of the events that no worksheet holds.
func (p *pulled) sweepEvents(ctx context.Context) error {
	items, end, ok, err := p.next(ctx, leastEvents, mostEvents)
	if err != nil {
		return err
	}
	events, err := decode[event](items)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.JobID != "" && !e.Hidden {
			continue
		}
		if err := p.emitEvent(ctx, e, nil); err != nil {
			return err
		}
	}
	if ok && end {
		p.cur.Next = p.cur.Marks
		p.cur.done()
		p.page.Complete = true
		return nil
	}
	p.page.More = true
	return nil
}

// walk reads windows of the lists of news until the page is full. What was read before a fault is a page of its own.
func (p *pulled) walk(ctx context.Context) error {
	for n := 0; ; n++ {
		before := p.cur
		before.Seen = slices.Clone(p.cur.Seen)
		err := p.news(ctx)
		if n > 0 && domain.Retryable(err) {
			p.cur, p.page.More = before, true
			return nil
		}
		if err != nil || !p.page.More || p.full || n+1 >= mostWindows || len(p.families) >= maxFamilies {
			return err
		}
	}
}

// news reads one window of the current list by time of change.
func (p *pulled) news(ctx context.Context) error {
	r := resources[p.cur.List]
	number, size := window(p.cur.At, leastJobs, mostJobs)
	l, err := p.client.page(ctx, r.path, r.kind, r.newest(), number, size)
	if err != nil {
		return err
	}
	p.servers = l.at
	items, err := summaries(l.items)
	if err != nil {
		return err
	}
	start := (number - 1) * size
	if start == 0 && len(items) > 0 {
		p.cur.Next[p.cur.List] = max(p.cur.Next[p.cur.List], items[0].mark(l.at))
	}
	p.page.More = true
	if start > 0 && !p.joins(items) {
		return p.cur.back()
	}
	floor := p.cur.floor(p.cur.List)
	if l.at.Unix() < floor {
		return domain.E(domain.KindGoneToken, "the servers' clock was set back behind what was read, so that changes would be taken for old")
	}
	for i, s := range items {
		if s.at() < floor {
			return p.turn()
		}
		have := seenOf(p.cur.List, s.ID, s.at())
		if s.ID == p.cur.Last && s.at() == p.cur.LastAt || p.wasSeen(have) {
			p.cur.At, p.cur.Last, p.cur.LastAt = start+i, s.ID, s.at()
			continue
		}
		if p.full = len(p.families) >= maxFamilies; p.full {
			return nil
		}
		if err := p.follow(ctx, s, l.items[i]); err != nil || p.full {
			return err
		}
		p.cur.note(have, p.servers)
		p.cur.At, p.cur.Last, p.cur.LastAt = start+i, s.ID, s.at()
	}
	if l.ends(start, size) {
		return p.turn()
	}
	return nil
}

// joins reports whether a window takes up where the one before ended: nothing between both was missed.
func (p *pulled) joins(items []summary) bool {
	if len(items) == 0 {
		return false
	}
	if items[0].at() > p.cur.LastAt {
		return true
	}
	for _, s := range items {
		if s.ID == p.cur.Last {
			return true
		}
	}
	return false
}

func (p *pulled) wasSeen(s seen) bool {
	for _, o := range p.cur.Seen {
		if o == s {
			return true
		}
	}
	return false
}

// turn goes on with the next list, or ends the pull.
func (p *pulled) turn() error {
	if p.cur.List+1 < len(resources) {
		p.cur.turn(phaseNews, p.cur.List+1)
		return nil
	}
	p.cur.done()
	p.page.More = false
	return nil
}

// outdated reports whether a job was read for this page before an item of it changed, and then ends the page: the next one
// reads it anew.
func (p *pulled) outdated(job string, s summary) bool {
	f := p.families[job]
	if f == nil || s.at() < f.readAt.Unix() || s.ID == f.ID && s.Modified == f.Modified ||
		slices.ContainsFunc(*f.Events, func(e event) bool { return e.ID == s.ID && e.Modified == s.Modified }) {
		return false
	}
	p.full = true
	return true
}

// follow tells of the entries that an item of news concerns, unless the page is full.
func (p *pulled) follow(ctx context.Context, s summary, raw json.RawMessage) error {
	if p.outdated(s.ID, s) || p.outdated(s.JobID, s) {
		return nil
	}
	switch p.cur.List {
	case ofJobs:
		return p.emit(ctx, s.ID)
	case ofPeople:
		// Of contacts only the names of clients are read, and nobody is the client of many jobs.
		l, err := p.client.page(ctx, "/job-contact", "jobcontact-collection", url.Values{"contactId": {s.ID}, "sortBy": {"id desc"}}, 1, maxJobsOfClient)
		if err != nil {
			return err
		}
		members, err := decode[struct {
			JobID  string `json:"jobId"`
			Client bool   `json:"client"`
		}](l.items)
		if err != nil {
			return err
		}
		for _, m := range members {
			if !m.Client {
				continue
			}
			if p.outdated(m.JobID, s) {
				return nil
			}
			if err := p.emitNamed(ctx, m.JobID); err != nil {
				return err
			}
		}
		return nil
	case ofEvents:
		var e event
		if json.Unmarshal(raw, &e) != nil {
			return domain.E(domain.KindUnavailable, "an item of a list is not an event")
		}
		if e.JobID == "" || e.Hidden {
			if err := p.emitEvent(ctx, e, nil); err != nil || e.JobID == "" {
				return err
			}
		}
	}
	return p.emitNamed(ctx, s.JobID)
}

func (p *pulled) emitNamed(ctx context.Context, job string) error {
	if job == "" {
		return nil
	}
	if !validID(job) {
		return domain.E(domain.KindUnavailable, "an item of a list names a job by something else than an id")
	}
	return p.emit(ctx, job)
}
