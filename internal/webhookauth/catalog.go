package webhookauth

import "slices"

// SchemeInfo describes a scheme to operators.
type SchemeInfo struct {
	Scheme Scheme
	About  string // one sentence
	Secret string // what is given as the secret; "" for nothing
	// Required and Optional are the JSON names of the Config fields that the scheme reads, beside those that every
	// scheme has.
	Required, Optional []string
}

// Schemes returns every scheme, sorted by name.
func Schemes() []SchemeInfo {
	var out []SchemeInfo
	for _, name := range schemeNames() {
		s := schemes[Scheme(name)]
		info := SchemeInfo{Scheme: Scheme(name), About: s.about, Secret: s.secret, Required: slices.Clone(s.required)}
		for _, field := range s.fields {
			if !slices.Contains(s.required, field) {
				info.Optional = append(info.Optional, field)
			}
		}
		out = append(out, info)
	}
	return out
}
