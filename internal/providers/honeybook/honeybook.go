// Package honeybook takes what the customer's own step at Zapier or Make relays from HoneyBook, which publishes no API.
//
// HoneyBook's app at Zapier has six triggers. A step behind each posts to the integration's webhook address and names the
// trigger. What the triggers themselves send is documented nowhere, so the fields of a post are ours, and the step fills
// them; whoever sends others writes expressions for them. Nothing can be listed, read, checked or written by an API, and
// what is removed in HoneyBook is told by nothing.
//
// # Reading a post
//
// The body is a JSON object or a form. First the trigger is found (settings.trigger) and the rules are asked, then the
// mapping of that trigger reads the one entry: ours (triggers.go) with the customer's expressions over it, field by field.
// All expressions are those of package custom, with its bounds and errors. Times without an offset are those of the
// integration's resource. A post stands for its whole entry: a field that it leaves out empties it.
//
// # Order and repeats
//
// Decode depends on the delivery alone. A repeat is known by message_id of the body, else by the hash of the body. The
// same project has the same ExternalID in every trigger: by project_id, else by a digest of mail address and name.
// occurred_at orders the posts of one entry; without it the last to come counts.
//
// # Path tokens
//
// A post that proves no more than that its sender knows the address cannot be checked by asking HoneyBook. Such posts take
// time tentatively and cancel nothing.
//
// # Leads
//
// With settings.lead_form the value is a provider.LeadSender too: it posts the studio's contact form, as sites do. That is
// undocumented, has no key against repeats, and its answer confirms nothing.
//
// Tests run against internal/sim/honeybooksim.
package honeybook

import (
	"encoding/json"

	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "honeybook",
	Title: "HoneyBook",
	Doc:   "HoneyBook by the customer's own Zapier or Make step, since it publishes no API: six triggers become bookings by mappings that can be changed; nothing can be listed or written back.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, How: "HoneyBook publishes no API, so nothing can be listed: what was there before the relay was set up is not known, and what a relay loses is not found."},
		{Name: provider.CanRead, How: "No project can be asked for, so nothing that is relayed can be checked."},
		{Name: provider.CanHear, Has: true, How: "A step of yours at Zapier or Make posts each of the six triggers to the webhook address."},
		{Name: provider.CanWrite, How: "There is no way to write or remove a project or a meeting. Zapier's action Create Project is a step that you can add yourself."},
		{Name: provider.CanMove, How: "A decision about a conflict must be carried out in HoneyBook by hand."},
		{Name: provider.CanCheck, How: "There is nothing to ask. Whether the relay works shows in the time of the last webhook."},
		{Name: provider.CanLead, Has: true, How: "Only with settings.lead_form.enabled: an enquiry is posted by the studio's contact form, which HoneyBook does not document and does not confirm."},
	},
	Limits: []string{
		"No public API, no OAuth, no webhooks and no signatures of HoneyBook's own.",
		"Six triggers: client created, new inquiry, project booked, payment paid, project stage changed, meeting scheduled. There is none for a changed date or a deleted project, which are seen with the next post about the project at the earliest.",
		"What fields the triggers carry is not documented: the relay step names them, and the mapping can be changed.",
		"The portal that couples use is not read: it is the client's view, needs their sign-in, and is not meant for this.",
		"Tried with a simulator of the relay only.",
	},
	SettingsSchema: json.RawMessage(settingsSchema),
	Secrets: []provider.SecretField{
		{Name: custom.SecretWebhook, Doc: "What the relay step shows or signs with: a key of 16 to 512 characters you made up (api-key, bearer), user:password (basic), a signing secret (hmac, standard-webhooks) or the end of the address (path-token). Several, separated by spaces or line ends, while one is being replaced.", Required: true},
	},
	Validate: validate,
	Trial:    trial,
	Mappings: mappings,
	Open:     open,
}
