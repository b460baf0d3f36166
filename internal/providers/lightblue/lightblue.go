// Package lightblue connects to Light Blue, the photographers' studio program (a desktop program with online services).
//
// # What the vendor offers
//
// Inwards there is a documented API: a message to the studio's Inbox, which a person turns into a record. Outwards there
// is a calendar feed with a user name and a password, and the publishing of events to a Google calendar. There is no API
// by which records can be read, changed or deleted, no webhook, and no page of the vendor that lists clients or shoots.
// So a connection has the abilities of its direction and no more:
//
//	export         Writer and Prober over the API
//	import         Puller, Reader and Prober over the feed, or over pages that a recipe describes
//	bidirectional  all of them; what was put into the Inbox is never listed, see Unlisted
//
// # Writing
//
// A copy is a message in the Inbox. It carries ID and Source, which Light Blue keeps unique together: a message that comes
// again is answered as a duplicate, which is success, so that a lost answer costs nothing. The ID holds a digest of what
// the message says and of the message before it. A changed booking is therefore a further message that says so and names the
// same reference, and so is a removed one: nothing can be taken back from an Inbox. A booking that goes while nobody knows
// whether its message arrived is told as removed too (Foretold), and after a change without an answer what holds now is sent even
// if the last known message says it (provider.Write.Unsure). The ExternalID is "inbox:" and the key of the write, and the Revision
// holds those digests. A source entry cannot be moved; that is KindPermanent, and a person does it.
//
// An answer is a status code in the body, over HTTP 200. 0 is success and -4 a duplicate. The code of a refused key is not
// documented, so that after any other code the key is checked, and KindUnauthenticated is answered where it is refused.
//
// # Reading
//
// The feed is read by package ics, whose promises hold. The pages of a portal are read by package scrape (providers), whose
// promises hold. Neither is a page of Light Blue itself: the vendor has none to read; see docs/lightblue.md.
//
// # Testing
//
// The suite in providertest runs over the directions against sim/lightbluesim, whose comment says what is documented.
package lightblue

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "lightblue",
	Title: "Light Blue",
	Doc:   "Light Blue studio management: bookings go into its Inbox by the documented API; its calendar feed is read. It offers no API for reading.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "The calendar feed is read whole, or pages of a portal by a recipe; Light Blue has no API and no page of its own for it."},
		{Name: provider.CanRead, Has: true, How: "An entry is looked for in the feed or the pages as they are now; what lies in the Inbox cannot be asked for."},
		{Name: provider.CanHear, How: "Light Blue tells nobody of changes; it is read every few minutes."},
		{Name: provider.CanWrite, Has: true, How: "By the documented API as messages into the Inbox, which a person there turns into records; changes and removals are further messages."},
		{Name: provider.CanMove, How: "The API changes no records; a person has to do it in Light Blue."},
		{Name: provider.CanCheck, Has: true, How: "The API key is checked, and the feed or the first page is asked for."},
		{Name: provider.CanLead, How: "Enquiries reach Light Blue by its own contact forms."},
	},
	Limits: []string{
		"Nothing can be read, changed or deleted by the API; what a person makes of a message is not known.",
		"Times go as clocks of the resource's zone, because the API ignores offsets.",
		"The vendor's list of status codes was seen in part only, and no limit of requests is published.",
		"Built against the vendor's documentation and a simulator, and not tried with a real studio.",
	},
	SettingsSchema: settingsSchema,
	Secrets: []provider.SecretField{
		{Name: secretKey, Doc: "API key (Preferences, Integrations, API & Zapier). Needed for writing."},
		{Name: secretFeedURL, Doc: "Address of the calendar feed. Needed for reading the feed."},
		{Name: secretFeedUser, Doc: "User name of the calendar feed."},
		{Name: secretFeedPassword, Doc: "Password of the calendar feed."},
		{Name: secretPortalUser, Doc: "User name for the log-in of settings.recipe."},
		{Name: secretPortalPassword, Doc: "Password for the log-in of settings.recipe."},
	},
	Validate: validate,
	Open:     open,
}

// source is how a connection reads.
type source interface {
	provider.Puller
	provider.Reader
	provider.Prober
}

// both reads and writes.
type both struct {
	source
	*inbox
}

// Probe asks both ways.
func (b both) Probe(ctx context.Context) error {
	if err := b.inbox.Probe(ctx); err != nil {
		return err
	}
	return b.source.Probe(ctx)
}

// Read asks for an entry of the feed. What lies in the Inbox cannot be asked for, see Unlisted.
func (b both) Read(ctx context.Context, externalID string) (domain.Change, error) {
	if b.Unlisted(externalID) {
		return domain.Change{}, domain.E(domain.KindPermanent, "Light Blue shows nobody what lies in its Inbox")
	}
	return b.source.Read(ctx, externalID)
}

var (
	_ provider.Writer     = (*inbox)(nil)
	_ provider.Prober     = (*inbox)(nil)
	_ provider.Unlister   = (*inbox)(nil)
	_ provider.Foreteller = (*inbox)(nil)
	_ source              = both{}
)

func open(c provider.Connection) (any, error) {
	if c.HTTP == nil {
		return nil, domain.E(domain.KindInternal, "open Light Blue: no HTTP client given")
	}
	s, err := parseSettings(c.Integration.Settings)
	if err != nil {
		return nil, err
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	var (
		writes *inbox
		reads  source
	)
	if c.Integration.Direction.Exports() {
		if writes, err = newInbox(c, s); err != nil {
			return nil, err
		}
	}
	if c.Integration.Direction.Imports() {
		if reads, err = s.source(c); err != nil {
			return nil, err
		}
	}
	switch {
	case writes == nil && reads == nil:
		return nil, domain.E(domain.KindPermanent, "the direction must be import, export or bidirectional")
	case writes == nil:
		return reads, nil
	case reads == nil:
		return writes, nil
	}
	return both{reads, writes}, nil
}
