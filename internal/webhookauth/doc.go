// Package webhookauth decides whether a webhook really comes from the system it claims to come from.
//
// A [Config] names a scheme and its headers and is stored with the integration. [New] compiles it with the secrets into
// a [Verifier], which is kept and asked for every request:
//
//	v, err := webhookauth.New(cfg, webhookauth.Plain(current, previous), webhookauth.Options{})
//	result, err := v.Verify(ctx, webhookauth.Request{Header: r.Header, Body: raw}, now)
//
// The body must be the bytes as received, whole and within the caller's size cap; nothing is parsed, trimmed or decoded
// before it is verified. [Sign] makes the headers of a genuine request, for simulators, tests and outgoing hooks.
//
// # Schemes
//
//   - [StandardWebhooks]: versions v1 and v1a of the Standard Webhooks specification. Credentials of both kinds may stand
//     side by side. Other header names serve its relatives; [Svix] has them.
//   - [HMAC]: HMAC with any hash, encoding, prefix and content template, in one header or in a list such as "t=…,v1=…".
//     A template that would let characters move between two of its fields is refused. [HMACSHA256] is the smaller
//     scheme of stored settings.
//   - [Stripe], [GitHub], [Slack], [Shopify], [Square], [HubSpotV3], [Calendly], [Acuity], [CalCom], [Tripleseat],
//     [Zoom]: presets of HMAC with everything fixed. [Twilio] is a scheme of its own.
//   - [MessageSignatures]: HTTP Message Signatures (RFC 9421) by hmac-sha256 or ed25519 over at least a Content-Digest.
//   - [JWTBearer]: a JSON Web Token with pinned algorithms, issuer, audience and exp; keys are credentials or come from
//     the configured address of a key set (package jwks), and never from the token.
//   - [Bearer], [Basic], [APIKey]: a secret shown with each request. The body is not signed; TLS alone protects it.
//   - [PathToken]: a secret part of the address, for senders that can do nothing else. Result.Hint says that the body
//     is no proof: read from the system what changed.
//   - [ClientCertificate]: mutual TLS, ended by a trusted proxy that hands the certificate on ([ParseClientCert]).
//
// Config.AllowAddresses narrows any of them to ranges of addresses. There is no scheme that lets everybody in.
//
// [Schemes] lists them all with what each needs. A further scheme is one file with a spec and a line in schemes.go.
//
// # Handshakes
//
// Some senders test an address before they use it. Config.Challenge says how; [Verifier.Challenge] answers before
// anything else is done with a request, [Verifier.SignedChallenge] after it was verified. Answers are short, never HTML,
// and never a signature of something that could be a body.
//
// # Promises
//
//   - Anything missing, repeated, malformed or too long is refused; nothing is refused by a panic. There is no path on
//     which an absent header means "not signed, so pass".
//   - Any of the secrets may match, so that a secret can be replaced without losing events. Signatures are compared in
//     constant time, and shown secrets by their hashes, so that no length shows.
//   - An address that is signed is the registered one of Config.URL, not what the request says of itself, so that no
//     characters move between the two. [MessageSignatures], whose fields cannot run together, may take the request's.
//   - A field of Config that the scheme does not use is refused, since whoever set it relies on it.
//   - A signed timestamp must be within the tolerance on both sides of now, counted in whole seconds: with the default
//     of 300 a stamp exactly 300 seconds away passes and one 301 seconds away fails. The fraction of now is dropped.
//   - Verify never reads a clock, the network or anything but its arguments, and may be called by many goroutines. The
//     one exception is Options.KeySets, which a JWT scheme with jwks_url asks for keys.
//   - A refusal is a [*Reason] for the operator. The sender should learn no more than "401": texts name headers and
//     limits but hold no secret, signature or body.
//
// # Replay
//
// Within the tolerance a captured request verifies again; so does any body-only signature, forever. Deduplication is
// the caller's part: use Result.MessageID when Result.IDSigned is true, else a digest of the body, since an id that is
// not signed can be changed by whoever replays.
//
// # Testing
//
// Tests need no server. Known answers come from the published examples in the test file and, where the folder is
// present, from ../shared/vectors/webhooks.json beside the checkout; the official library serves as an oracle.
package webhookauth
