package outlook

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// pageSize is how many rows of a delta are asked for at once.
const pageSize = 200

// rows is an answer of a delta.
type rows struct {
	Value *[]event `json:"value"`
	Next  string   `json:"@odata.nextLink"`
	Delta string   `json:"@odata.deltaLink"`
}

// Pull reads one page; see the package comment.
func (c *connection) Pull(ctx context.Context, from string) (provider.Page, error) {
	page, err := c.pull(ctx, from)
	if err != nil {
		return provider.Page{}, domain.E(domain.KindOf(err), "pull calendar: %w", err)
	}
	return page, nil
}

func (c *connection) pull(ctx context.Context, from string) (provider.Page, error) {
	path, err := c.calendarPath()
	if err != nil {
		return provider.Page{}, err
	}
	cur := c.begin()
	cur.Full = true
	if from != "" {
		if cur, err = c.parseCursor(from); err != nil {
			return provider.Page{}, err
		}
	}
	ask := call{method: http.MethodGet, path: path + "/calendarView/delta", query: cur.first(), prefer: "odata.maxpagesize=" + strconv.Itoa(pageSize)}
	if cur.Link != "" {
		if ask.link, err = c.client.follow(cur.Link); err != nil {
			return provider.Page{}, err
		}
	}
	var answer rows
	res, err := c.client.do(ctx, ask, &answer)
	if err != nil && cur.Link != "" && lost(res) {
		return provider.Page{}, domain.E(domain.KindGoneToken, "Graph no longer knows the delta token")
	}
	if err != nil {
		return provider.Page{}, err
	}
	next, more, err := c.next(cur, answer)
	if err != nil {
		return provider.Page{}, err
	}
	page, err := c.read(ctx, cur, *answer.Value)
	if err != nil {
		return provider.Page{}, err
	}
	page.Next, page.More, page.Complete = next.String(), more, cur.Full && !more
	return page, nil
}

// lost reports whether a refusal means that the token is unknown.
func lost(res *httpx.Response) bool {
	if res == nil || res.Status/100 != 4 {
		return false
	}
	return res.Status == http.StatusGone || strings.EqualFold(code(res), "syncStateNotFound")
}

// next decides where to go on after an answer. Without a list and exactly one link an answer is not whole.
func (c *connection) next(cur cursor, answer rows) (next cursor, more bool, err error) {
	if answer.Value == nil || (answer.Next == "") == (answer.Delta == "") {
		return next, false, domain.E(domain.KindUnavailable, "Graph answered a delta without its list or link, so the answer proves nothing")
	}
	for _, link := range []string{answer.Next, answer.Delta} {
		if link != "" {
			if _, err := c.client.follow(link); err != nil {
				return next, false, err
			}
		}
	}
	next = cur
	switch {
	case answer.Next != "":
		next.Link = answer.Next
		return next, true, nil
	case cur.First && cur.Old != "":
		// What was changed or deleted while the new view was listed is known to the old one only.
		next.Link, next.Last, next.First, next.Old = cur.Old, answer.Delta, false, ""
		return next, true, nil
	case cur.Last != "":
		next.Link, next.Last = cur.Last, ""
		return next, false, nil
	case !cur.First && c.due(cur):
		next = c.begin()
		next.Old = answer.Delta
		return next, true, nil
	}
	next.Link, next.First, next.Full = answer.Delta, false, false
	return next, false, nil
}

// reading is a page while it is put together.
type reading struct {
	events  []event          // newest state of each, in the order of the page
	masters map[string]event // series of the page by id
	removed []string         // ids told as @removed
	gone    map[string]bool  // ids that the server does not know
}

func (c *connection) read(ctx context.Context, cur cursor, list []event) (provider.Page, error) {
	r, err := c.sort(list)
	if err != nil {
		return provider.Page{}, err
	}
	outside, err := c.confirm(ctx, cur, &r)
	if err != nil {
		return provider.Page{}, err
	}
	if err := c.complete(ctx, &r); err != nil {
		return provider.Page{}, err
	}
	if err := c.findMasters(ctx, &r); err != nil {
		return provider.Page{}, err
	}
	page := c.page(r)
	if !cur.Full {
		page.Look = c.look(r, outside)
	}
	return page, nil
}

// sort merges the rows by id. A delta may repeat an entity, older states too and in any order: the newest counts, and
// whether a removed one exists is asked for.
func (c *connection) sort(list []event) (reading, error) {
	r := reading{masters: map[string]event{}, gone: map[string]bool{}}
	at, removed := map[string]int{}, map[string]bool{}
	for _, e := range list {
		if e.ID == "" {
			return r, domain.E(domain.KindUnavailable, "Graph listed an event without an id")
		}
		if e.Removed != nil {
			if !removed[e.ID] {
				removed[e.ID] = true
				r.removed = append(r.removed, e.ID)
			}
			continue
		}
		if i, ok := at[e.ID]; !ok {
			at[e.ID] = len(r.events)
			r.events = append(r.events, e)
		} else if e.modified() >= r.events[i].modified() {
			r.events[i] = e
		}
	}
	kept := r.events[:0]
	for _, e := range r.events {
		switch {
		case removed[e.ID]:
		case e.Type == typeMaster:
			r.masters[e.ID] = e
		default:
			kept = append(kept, e)
		}
	}
	r.events = kept
	return r, nil
}

// confirm asks for every event that is told as removed. One that is still inside the window is read like any other; the
// ids of those outside are returned.
func (c *connection) confirm(ctx context.Context, cur cursor, r *reading) (outside []string, err error) {
	found := make([]*event, len(r.removed))
	err = together(len(r.removed), func(i int) error {
		e, err := c.get(ctx, r.removed[i])
		switch domain.KindOf(err) {
		case "":
			found[i] = &e
			return nil
		case domain.KindNotFound:
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	window := cur.window()
	for i, e := range found {
		id := r.removed[i]
		switch {
		case e == nil:
			r.gone[id] = true
		case e.Type == typeMaster:
			outside = append(outside, seriesID(id), id)
		default:
			w, _, err := c.when(*e)
			if err == nil && !w.Overlaps(window) {
				outside = append(outside, e.entry())
				continue
			}
			r.events = append(r.events, *e)
		}
	}
	return outside, nil
}

// complete reads what a delta does not show: the properties of copies of ours, and exceptions that came without their
// texts.
func (c *connection) complete(ctx context.Context, r *reading) error {
	var need []int
	for i, e := range r.events {
		ours := e.SeriesMasterID == "" && strings.HasPrefix(e.TransactionID, ourTransaction) && e.Properties == nil
		if ours || e.bare() && e.Type != typeOccurrence {
			need = append(need, i)
		}
	}
	err := together(len(need), func(n int) error {
		i := need[n]
		e, err := c.get(ctx, r.events[i].ID)
		switch domain.KindOf(err) {
		case "":
			r.events[i] = e
			return nil
		case domain.KindNotFound:
			r.events[i].Removed = &struct{}{}
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	kept := r.events[:0]
	for _, e := range r.events {
		switch {
		case e.Removed != nil:
			r.gone[e.ID] = true
		case e.Type == typeMaster:
			r.masters[e.ID] = e
		default:
			kept = append(kept, e)
		}
	}
	r.events = kept
	return nil
}

// findMasters reads the masters of occurrences that are not on the page.
func (c *connection) findMasters(ctx context.Context, r *reading) error {
	var missing []string
	seen := map[string]bool{}
	for _, e := range r.events {
		id := e.SeriesMasterID
		if _, ok := r.masters[id]; !ok && e.Type == typeOccurrence && id != "" && !seen[id] {
			seen[id] = true
			missing = append(missing, id)
		}
	}
	found := make([]*event, len(missing))
	err := together(len(missing), func(i int) error {
		e, err := c.get(ctx, missing[i])
		switch domain.KindOf(err) {
		case "":
			found[i] = &e
			return nil
		case domain.KindNotFound:
			return nil
		}
		return err
	})
	for i, e := range found {
		if e != nil {
			r.masters[missing[i]] = *e
		} else if err == nil {
			r.gone[missing[i]] = true
		}
	}
	return err
}

// page turns events into changes. Removals come first, so that an event that became a series, or was one, ends as it is.
func (c *connection) page(r reading) provider.Page {
	var page provider.Page
	told := map[string]bool{}
	remove := func(id string) {
		if !told[id] {
			told[id] = true
			page.Changes = append(page.Changes, domain.Change{Op: domain.OpRemove, ExternalID: id})
		}
	}
	for _, id := range r.removed {
		if r.gone[id] {
			remove(id)
			remove(seriesID(id))
		}
	}
	for _, e := range r.events {
		if r.gone[e.SeriesMasterID] && e.SeriesMasterID != "" {
			remove(seriesID(e.SeriesMasterID))
		}
	}
	for id := range r.gone {
		if !told[id] && !told[seriesID(id)] {
			remove(id)
		}
	}
	for _, e := range r.events {
		if r.gone[e.SeriesMasterID] && e.SeriesMasterID != "" {
			continue
		}
		ch, err := c.whole(r, e)
		if err != nil {
			page.Problems = append(page.Problems, provider.Problem{ExternalID: cut(e.entry(), domain.MaxExternalID), Err: err})
			continue
		}
		page.Changes = append(page.Changes, ch)
	}
	return page
}

// whole is the change of an event of the page, an occurrence with the rest from its master.
func (c *connection) whole(r reading, e event) (domain.Change, error) {
	if e.Type == typeOccurrence || e.Type == typeException {
		if e.SeriesMasterID == "" {
			return domain.Change{}, domain.Invalid("seriesMasterId", "is missing")
		}
		if e.Type == typeOccurrence {
			e = e.hydrated(r.masters[e.SeriesMasterID])
		}
	}
	return c.change(e)
}

// look names what only the caller's memory can place: occurrences that a series no longer has, events that became a
// series or were one, known events that were moved out of the window, and occurrences that were removed by their id.
func (c *connection) look(r reading, outside []string) []string {
	var out []string
	seen := map[string]bool{}
	add := func(ids ...string) {
		for _, id := range ids {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	add(outside...)
	for _, id := range r.removed {
		if r.gone[id] {
			add(id)
		}
	}
	for id := range r.masters {
		add(seriesID(id), id)
	}
	for _, e := range r.events {
		if e.SeriesMasterID != "" {
			add(seriesID(e.SeriesMasterID))
		} else {
			add(seriesID(e.ID))
		}
	}
	return out
}
