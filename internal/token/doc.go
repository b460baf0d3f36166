// Package token mints and verifies the bearer tokens of the admin API: JSON Web Tokens signed with HMAC-SHA-256.
//
//	issuer, err := token.NewIssuer("wedsync", token.Key{ID: "2026-11", Secret: secret})
//	raw, err := issuer.Mint(token.Grant{Org: org, Role: domain.RoleOperator, Subject: "ops@example.test"}, time.Hour, now)
//
//	verifier, err := token.NewVerifier(token.Options{Issuer: "wedsync", Keys: []token.Key{current, previous}})
//	claims, err := verifier.Verify(raw, now)
//
// # Promises
//
//   - The algorithm is pinned to HS256, whatever a token's header says.
//   - A key is found by the token's "kid" only, so keys are rotated by listing the new one and the old one until the
//     last token of the old one has expired.
//   - iss, aud "wedsync", iat, exp, sub, org and role are all required. A token may not live longer than MaxLifetime.
//   - Every refusal is a domain error of kind unauthenticated whose text never quotes the token.
//   - An empty or short key is refused when the verifier or issuer is made, so there is no key that means "everybody".
//
// Issuer and Verifier may be used by many goroutines at once.
//
// # Testing
//
// Everything takes the time as an argument; tests need nothing else.
package token
