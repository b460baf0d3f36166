package custom

import "strings"

// nextLink returns the target of the link with the relation "next" in the values of Link headers (RFC 8288), "" if there
// is none. What cannot be read ends the header it is in: a half-understood link must not lead anywhere.
func nextLink(headers []string) string {
	for _, h := range headers {
		for rest := h; ; {
			target, params, after, ok := cutLink(rest)
			if !ok {
				break
			}
			if hasRel(params, "next") {
				return target
			}
			rest = after
		}
	}
	return ""
}

// param is a parameter of a link.
type param struct{ name, value string }

// cutLink takes the first link off a header's value.
func cutLink(s string) (target string, params []param, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	if !strings.HasPrefix(s, "<") {
		return "", nil, "", false
	}
	end := strings.IndexByte(s, '>')
	if end < 0 {
		return "", nil, "", false
	}
	target, s = strings.TrimSpace(s[1:end]), s[end+1:]
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			return target, params, s, true
		}
		if s[0] != ';' {
			return "", nil, "", false
		}
		s = strings.TrimLeft(s[1:], " \t")
		n := strings.IndexAny(s, "=;, \t")
		if n < 0 {
			n = len(s)
		}
		p := param{name: strings.ToLower(s[:n])}
		s = strings.TrimLeft(s[n:], " \t")
		if strings.HasPrefix(s, "=") {
			s = strings.TrimLeft(s[1:], " \t")
			if p.value, s, ok = cutValue(s); !ok {
				return "", nil, "", false
			}
		}
		params = append(params, p)
	}
}

// cutValue takes a token or a quoted text off.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexAny(s, ";, \t")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// hasRel reports whether the first rel of a link holds a relation; RFC 8288 section 3.3 ignores further ones.
func hasRel(params []param, rel string) bool {
	for _, p := range params {
		if p.name != "rel" {
			continue
		}
		for _, one := range strings.Fields(p.value) {
			if strings.EqualFold(one, rel) {
				return true
			}
		}
		return false
	}
	return false
}
