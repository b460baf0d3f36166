package provider

import "strings"

// Identifier is implemented by systems of which it can be told to which account, and which calendar in it, a connection
// leads, so that one place is not connected twice by mistake.
type Identifier interface {
	// Identity returns the same text for every connection that leads to the same place, whatever its other settings are;
	// "" as long as that is not known, such as before Onboard has completed the settings. It makes no network call. The text
	// may name a person: callers keep a keyed hash and nothing else.
	Identity() string
}

var identityEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// IdentityOf joins the parts of an identity; "" when one of them is not known. No two lists of parts give the same text.
func IdentityOf(parts ...string) string {
	escaped := make([]string, len(parts))
	for n, p := range parts {
		if p == "" {
			return ""
		}
		escaped[n] = identityEscapes.Replace(p)
	}
	return strings.Join(escaped, "\n")
}
