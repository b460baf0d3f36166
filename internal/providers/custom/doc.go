// Package custom connects systems that WedSync does not know by name: the owner describes the system's JSON API in
// settings, and expressions in CEL turn its entries into changes and bookings into its requests. Nothing of it is
// code, so nothing needs a release.
//
// An integration has any of five parts: webhook, list, read, write, probe. The value that Registration.Open returns
// implements exactly the abilities of the parts that are there, so a system without a listing is not a
// provider.Puller. docs/custom-provider.md tells how to write the settings and holds a complete example.
//
// # What is checked when
//
// Validate and Open compile everything: an unknown field, a wrong type, a name that does not exist or a constant that
// is no category is refused with the path of the field, the line and column in the expression, and the line of the
// settings when the document has lines. What depends on data is found when data comes: Decode then answers
// KindInvalid with the field and the reason, never with the value; Pull reports the entry as a Problem and goes on.
//
// # Definitions
//
// People keep settings in files, with a name, an explanation and samples. Lint checks such a file without asking anybody
// and tells every fault with its place; Scaffold writes a first draft of one; DefinitionSchema is its JSON Schema.
//
// # Listings
//
// Pages follow each other by Paging or by templates. A listing that ends with Page.Complete named every entry that there
// was, as far as the system tells enough to know: an entry met twice, a total that changes or is not reached, or an overlap
// that is not there make it one that proves nothing. A cursor is a few hundred bytes, whatever the length of the listing.
//
// # Bounds
//
// An expression has at most 4 KiB and evaluates within a cost limit, a delivery or page within a total of it; loops
// end with their context; texts that functions make, request bodies, items and pages are capped. An expression of one
// customer can therefore waste only a little of everybody's time.
//
// # Order and repeats
//
// Decode depends on the delivery alone. Pull with the same cursor asks for the same page again. A cursor carries a
// fingerprint of the settings it was made under; after a change of them it is a gone token. A create is sent under the
// idempotency key, or looked for before, so a lost answer is adopted. Errors of calls have the kinds of
// internal/httpx.
//
// Settings are meant to grow: parts and fields may be added, none changes its meaning.
//
// Tests run against internal/sim/crmsim, restsim and tavesim, also through internal/providers/providertest.
package custom

import (
	_ "embed" // for the schema
	"encoding/json"

	"github.com/wedsync/wedsync/internal/provider"
)

//go:embed settings.schema.json
var schema []byte

// The names of the secrets.
const (
	SecretWebhook  = "webhook_secret" // one or more, separated by spaces or line ends, of which any may match
	SecretAPIKey   = "api_key"        // for auth kinds header and query
	SecretToken    = "token"          // for auth kind bearer
	SecretPassword = "password"       // for auth kind basic
	SecretClient   = "client_secret"  // for auth kind oauth2

	// SecretVerifyToken is what the sender shows in the handshake meta.
	SecretVerifyToken = "webhook_verify_token"
)

// Registration describes the provider.
var Registration = provider.Registration{
	Name:  "custom",
	Title: "Custom system",
	Doc:   "Any system with a JSON API or webhooks, described by declarative settings and CEL expressions; it can do what its settings describe: receive webhooks, list, read, write, probe.",
	Abilities: []provider.Ability{
		{Name: provider.CanList, Has: true, How: "With the part list, page by page, and what changed since if the system can tell."},
		{Name: provider.CanRead, Has: true, How: "With the part read."},
		{Name: provider.CanHear, Has: true, How: "With the part webhook, verified by any of the schemes of docs/webhooks.md."},
		{Name: provider.CanWrite, Has: true, How: "With the part write, under an idempotency key or after a lookup."},
		{Name: provider.CanMove, Has: true, How: "With the parts write and read, as far as the system's requests can."},
		{Name: provider.CanCheck, Has: true, How: "With the part probe."},
		{Name: provider.CanLead, How: "A request of the part write does it."},
	},
	Limits: []string{
		"A connection can do what its settings describe and no more.",
		"Bodies are JSON, forms or XML; requests are JSON.",
	},
	SettingsSchema:   json.RawMessage(schema),
	DefinitionSchema: DefinitionSchema(),
	Secrets: []provider.SecretField{
		{Name: SecretWebhook, Doc: "Signing secret of the webhooks; several, separated by spaces or line ends, while one is being replaced (passwords: line ends only; PEM keys as they are). Required with the part webhook, except with jwks_url or a CA."},
		{Name: SecretVerifyToken, Doc: "Verify token that you made up and told the sender, 16 to 512 characters. Required with webhook.verify.challenge meta."},
		{Name: SecretAPIKey, Doc: "Key for requests. Required with auth kinds header and query."},
		{Name: SecretToken, Doc: "Bearer token for requests. Required with auth kind bearer."},
		{Name: SecretPassword, Doc: "Password for requests. Required with auth kind basic."},
		{Name: SecretClient, Doc: "Secret of the client id, as the system gave it to you. Required with auth kind oauth2."},
	},
	Validate:    Validate,
	Trial:       trial,
	Open:        open,
	Rates:       rates,
	OAuth:       consent,
	ByConsent:   byConsent,
	OAuthClient: oauthClient,
}
