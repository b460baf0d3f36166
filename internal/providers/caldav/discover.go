package caldav

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const accountProps = `<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop>` +
	`<current-user-principal/><C:calendar-home-set/><resourcetype/></prop></propfind>`

// Onboard checks the credentials and finds the calendar. With a calendar in the settings it checks that one. Without,
// it looks for the account's calendars for events; the only one that fits is filled in, and if several do, the error
// lists their paths. An integration that exports needs a calendar that can be written to.
func (c *connection) Onboard(ctx context.Context) (json.RawMessage, error) {
	s := c.settings
	if c.collection != nil {
		p, err := c.collectionProps(ctx, c.collection)
		if err != nil {
			return nil, domain.E(domain.KindOf(err), "look at the calendar: %w", err)
		}
		if !p.events() {
			return nil, domain.Invalid("settings.calendar", "holds no events, only other entries")
		}
		if c.exports && !p.writable() {
			return nil, domain.Invalid("settings.calendar", "is read-only, and the integration writes to it")
		}
		s.Calendar = c.collection.String()
		return json.Marshal(s)
	}
	home, err := c.homeSets(ctx)
	if err != nil {
		return nil, domain.E(domain.KindOf(err), "find the account's calendars: %w", err)
	}
	found := map[string]bool{} // address -> writable
	for _, at := range home {
		if err := c.calendars(ctx, at, found); err != nil {
			return nil, domain.E(domain.KindOf(err), "list the account's calendars: %w", err)
		}
	}
	choices := slices.Sorted(maps.Keys(found))
	writable := slices.DeleteFunc(slices.Clone(choices), func(u string) bool { return !found[u] })
	if len(writable) > 0 || c.exports {
		// A calendar that cannot be written to is left out while there is another: birthdays, holidays.
		choices = writable
	}
	switch len(choices) {
	case 0:
		return nil, domain.Invalid("settings.calendar", "the account has no calendar for events that fits the direction")
	case 1:
		s.Calendar = choices[0]
		return json.Marshal(s)
	}
	paths := make([]string, len(choices))
	for i, choice := range choices {
		paths[i] = choice
		if u, err := url.Parse(choice); err == nil {
			paths[i] = u.EscapedPath()
		}
	}
	return nil, domain.Invalid("settings.calendar", "choose one of %d: %s", len(paths), strings.Join(paths, ", "))
}

// homeSets walks from the given address to the places where calendars are kept. Servers differ in which hop knows
// what, so every answer is asked for both properties.
func (c *connection) homeSets(ctx context.Context) ([]*url.URL, error) {
	wellKnown := *c.server
	wellKnown.Path, wellKnown.RawPath = "/.well-known/caldav", ""
	starts := []*url.URL{c.server, &wellKnown}
	if c.server.Path == "/" {
		starts = []*url.URL{&wellKnown, c.server}
	}
	var last error
	for _, at := range starts {
		homes, err := c.homeSetsFrom(ctx, at)
		if len(homes) > 0 {
			return homes, nil
		}
		switch domain.KindOf(err) {
		case domain.KindUnauthenticated, domain.KindRateLimited, domain.KindUnavailable:
			return nil, err
		}
		if last == nil {
			last = err
		}
	}
	if last != nil {
		return nil, last
	}
	return nil, domain.Invalid("settings.url", "leads to no CalDAV account")
}

func (c *connection) homeSetsFrom(ctx context.Context, at *url.URL) ([]*url.URL, error) {
	seen := map[string]bool{}
	for hop := 0; hop < 3 && !seen[at.String()]; hop++ {
		seen[at.String()] = true
		ms, res, err := c.ask(ctx, call{method: "PROPFIND", url: at, body: accountProps, follow: true}, "0")
		if err != nil {
			return nil, err
		}
		var principal *url.URL
		for _, r := range ms.Responses {
			p, ok := r.found()
			if !ok {
				continue
			}
			if p.HomeSet != nil {
				var homes []*url.URL
				for _, href := range p.HomeSet.Hrefs {
					home, err := c.resolve(res.URL, href)
					if err != nil {
						return nil, err
					}
					homes = append(homes, home)
				}
				if len(homes) > 0 {
					return homes, nil
				}
			}
			if p.Principal != nil && p.Principal.Href != "" {
				if principal, err = c.resolve(res.URL, p.Principal.Href); err != nil {
					return nil, err
				}
			}
		}
		if principal == nil {
			return nil, nil
		}
		at = principal
	}
	return nil, nil
}

// resolve reads an address that a server named. One to which the credentials may not go is refused.
func (c *connection) resolve(base *url.URL, href string) (*url.URL, error) {
	u, err := base.Parse(strings.TrimSpace(href))
	if err != nil || u.User != nil || u.Hostname() == "" {
		return nil, domain.E(domain.KindPermanent, "the server names an address that cannot be read")
	}
	u.RawQuery, u.Fragment = "", ""
	if !c.allowed(u) {
		return nil, domain.E(domain.KindPermanent, "the server sends the account to host %s, which is not under the domain of settings.url", u.Host)
	}
	return u, nil
}

// calendars adds the calendars for events below a home to found.
func (c *connection) calendars(ctx context.Context, home *url.URL, found map[string]bool) error {
	ms, res, err := c.ask(ctx, call{method: "PROPFIND", url: home, body: collectionProps, follow: true}, "1")
	if err != nil {
		return err
	}
	for _, r := range ms.Responses {
		p, ok := r.found()
		if !ok || len(r.Hrefs) == 0 || !p.ResourceType.has(caldavNS, "calendar") || !p.events() {
			continue
		}
		at, err := c.resolve(res.URL, r.Hrefs[0])
		if err != nil {
			return err
		}
		found[at.String()] = p.writable()
	}
	return nil
}

// Identity is the address of the calendar, whoever signs in to it.
func (c *connection) Identity() string {
	if c.collection == nil {
		return ""
	}
	return provider.IdentityOf(strings.ToLower(c.collection.Host), strings.Trim(c.collection.EscapedPath(), "/"))
}
