// Package webhookauth decides whether a webhook really comes from the system it claims to come from.
//
// A [Config] names a scheme and its headers and is stored with the integration. [New] compiles it with the secrets into
// a [Verifier], which is kept and asked for every request:
//
//	v, err := webhookauth.New(cfg, webhookauth.Plain(current, previous), webhookauth.Options{})
//	result, err := v.Verify(webhookauth.Request{Header: r.Header, Body: raw}, now)
//
// The body must be the bytes as received, whole and within the caller's size cap; nothing is parsed, trimmed or decoded
// before it is verified. [Sign] makes the headers of a genuine request, for simulators, tests and outgoing hooks.
//
// # Schemes
//
//   - [StandardWebhooks]: version v1 of the Standard Webhooks specification. Other header names serve its relatives.
//   - [HMACSHA256]: HMAC-SHA256 of the body, or of "timestamp.body", in one header, as hex or base64.
//   - [JWTBearer]: a JSON Web Token with pinned algorithms, issuer, audience and exp; keys are credentials or come from
//     the configured address of a key set (package jwks), and never from the token.
//   - [Bearer], [Basic], [APIKey]: a secret shown with each request. The body is not signed; TLS alone protects it.
//   - [PathToken]: a secret part of the address, for senders that can do nothing else. Result.Hint says that the body
//     is no proof: read from the system what changed.
//   - [ClientCertificate]: mutual TLS, ended by a trusted proxy that hands the certificate on ([ParseClientCert]).
//
// Config.AllowAddresses narrows any of them to ranges of addresses. There is no scheme that lets everybody in.
//
// A further scheme is one file with a spec and a line in schemes.go.
//
// # Promises
//
//   - Anything missing, repeated, malformed or too long is refused; nothing is refused by a panic. There is no path on
//     which an absent header means "not signed, so pass".
//   - Any of the secrets may match, so that a secret can be replaced without losing events. Signatures are compared in
//     constant time, and shown secrets by their hashes, so that no length shows.
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
