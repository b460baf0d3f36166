// Package vault seals small secrets before they are stored: tokens and passwords of integrations, webhook secrets,
// bodies of deliveries, whatever names a person.
//
// A [Keyring] holds the master keys, one of which is active. For every organisation it derives a [Sealer] whose data
// keys belong to that organisation alone, so a row that ends up under another organisation cannot be read there:
//
//	ring, err := vault.ParseKeys(os.Getenv(vault.EnvKeys))
//	sealed := ring.Org(orgID).Seal(token, "integration", "credentials", integrationID)
//	token, err := ring.Org(orgID).Open(sealed, "integration", "credentials", integrationID)
//
// The strings after the text are its place: table, column and row id. They are not stored, only bound, and the same
// ones must be given to open. A sealed value that was moved to another row, column or organisation does not open.
//
// # Form
//
// A sealed value is
//
//	version (1 byte, 0x01) | length of key id (1) | key id | key check (4) | nonce (12) | ciphertext | tag (16)
//
// The cipher is AES-256-GCM. The key check is derived from the master key and tells "the right id with the wrong
// bytes", which is a mistake in the deployment, from a damaged value. Everything before the nonce is authenticated too.
//
// # Promises
//
//   - A value sealed under any key still in the ring opens; only the active key seals.
//   - Nothing is returned from a value that fails authentication, not even a part of it.
//   - Errors say what kind of fault it is ([ErrFormat], [ErrUnknownKey], [ErrWrongKey], [ErrTampered]) and name the key
//     id, never the key, the place or the content.
//   - A Keyring never prints its keys, whatever the formatting verb.
//   - Keyring and Sealer may be used by many goroutines at once.
//
// # Limits
//
// Nonces are 96 random bits. NIST SP 800-38D allows 2^32 values under one key for a chance of a repeated nonce below
// 2^-32. The key here is one per organisation and master key, so one organisation may seal 4,294,967,296 values before
// the master key must be rotated: 136 a second for a whole year. Rotate at least yearly.
//
// # Rotation
//
// Put a new key in front ([Keyring.WithNewKey], [RotateFile]), restart, then go over the rows: [Sealer.NeedsRotation]
// tells which are due and [Sealer.Reseal] moves them. Drop the old key when none is left.
//
// # Testing
//
// The package needs no clock, network or database; tests make a ring with [GenerateKey] and [ParseKeys].
package vault
