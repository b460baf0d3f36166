package caldav

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const memberProps = `<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><getetag/><resourcetype/><CS:getctag/></prop></propfind>`

// pullETags reads a calendar of a server without sync-collection: nothing if the change tag is the same, else a list
// of all ETags, and of the resources only those whose ETag is another.
func (c *connection) pullETags(ctx context.Context, at *url.URL, cur cursor) (provider.Page, error) {
	turn := func(done *cursor) {
		done.Base, done.BaseDigest = cur.Next, cur.NextDigest
		done.Next, done.NextDigest = "", nil
	}
	if cur.After != "" {
		if l := keptListings.get(c.keyOf(at, cur), c.now()); l != nil {
			return c.page(ctx, at, cur, l, turn)
		}
	}
	if !cur.Full && cur.After == "" && cur.Base != "" {
		p, err := c.collectionProps(ctx, at)
		if err != nil {
			return provider.Page{}, err
		}
		if p.CTag != nil && *p.CTag == cur.Base {
			return provider.Page{Next: cur.String()}, nil
		}
	}
	members, tag, err := c.listMembers(ctx, at)
	if err != nil {
		return provider.Page{}, err
	}
	if cur.After == "" {
		cur.Next = tag
		cur.NextDigest, cur.Over = nil, cur.Over && !cur.Full
	}
	if !cur.Full {
		if cur.Over {
			return provider.Page{}, domain.E(domain.KindGoneToken, "the calendar changed and has too many entries to tell which by ETags")
		}
		known := recall(cur.BaseDigest)
		present := map[string]bool{}
		for _, m := range members {
			d := digestOf(m)
			present[string(d[:digestHalf])] = true
		}
		for path := range known {
			if !present[path] {
				return provider.Page{}, domain.E(domain.KindGoneToken, "entries were removed, and ETags do not tell which")
			}
		}
		if cur.After == "" {
			cur.NextDigest, cur.Over = remember(members)
		}
		members = slices.DeleteFunc(members, func(m member) bool {
			d := digestOf(m)
			return known[string(d[:digestHalf])] == string(d[digestHalf:])
		})
	} else if cur.After == "" {
		cur.NextDigest, cur.Over = remember(members)
	}
	return c.page(ctx, at, cur, listingOf(members), turn)
}

// listMembers lists the resources of the collection with their ETags, and its change tag ("" when it has none).
func (c *connection) listMembers(ctx context.Context, at *url.URL) ([]member, string, error) {
	ms, _, err := c.ask(ctx, call{method: "PROPFIND", url: at, body: memberProps}, "1")
	if err != nil {
		return nil, "", err
	}
	var members []member
	tag, itself := "", false
	for _, r := range ms.Responses {
		p, err := r.path()
		if err != nil {
			return nil, "", err
		}
		if strings.TrimSuffix(p, "/") == strings.TrimSuffix(at.Path, "/") {
			found, ok := r.found()
			itself = ok && found.ResourceType.has(caldavNS, "calendar")
			if found.CTag != nil {
				tag = strings.TrimSpace(*found.CTag)
			}
			continue
		}
		m, use, err := memberOf(at, p, r)
		if err != nil {
			return nil, "", err
		}
		if use && !m.gone {
			members = append(members, m)
		}
	}
	if !itself {
		return nil, "", domain.E(domain.KindUnavailable, "the server listed members without the calendar itself, so the answer proves nothing")
	}
	return members, tag, nil
}
