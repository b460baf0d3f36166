package clientaddr

import "strings"

// element is one proxy's entry in Forwarded, RFC 7239 section 4.
type element struct{ from, host, proto string }

// forwarded walks the elements from the right. Each trusted proxy wrote whom it got the request from, and how.
func (r *Resolver) forwarded(s *Sender, values []string) {
	elements, ok := parseForwarded(joined(values))
	if !ok {
		return
	}
	for hops := 0; len(elements) > 0 && hops < maxHops; hops++ {
		e := elements[len(elements)-1]
		elements = elements[:len(elements)-1]
		if p := strings.ToLower(e.proto); p == "http" || p == "https" {
			s.Scheme = p
		}
		if validHost(e.host) {
			s.Host = e.host
		}
		a, ok := nodeAddr(e.from)
		if !ok {
			return // "unknown" or a made-up name: the way is not told beyond this proxy
		}
		s.Addr = a
		if !r.trusts(a) {
			return
		}
	}
}

// parseForwarded reads a whole header, and none of one that is malformed, has a parameter twice or more elements than
// proxies could have written.
func parseForwarded(text string) ([]element, bool) {
	var out []element
	var e element
	seen := map[string]bool{}
	p := forwardedParser{text: text}
	for {
		p.space()
		if p.end() {
			break
		}
		if p.take(',') {
			out, e = append(out, e), element{}
			clear(seen)
			if len(out) > 4*maxHops {
				return nil, false
			}
			continue
		}
		if p.take(';') {
			continue
		}
		name, ok := p.token()
		if !ok || !p.take('=') {
			return nil, false
		}
		value, ok := p.value()
		name = strings.ToLower(name)
		if !ok || seen[name] {
			return nil, false
		}
		seen[name] = true
		switch name {
		case "for":
			e.from = value
		case "host":
			e.host = value
		case "proto":
			e.proto = value
		}
		if p.space(); !p.end() && p.text[p.i] != ',' && p.text[p.i] != ';' {
			return nil, false
		}
	}
	if text == "" {
		return nil, true
	}
	return append(out, e), true
}

type forwardedParser struct {
	text string
	i    int
}

func (p *forwardedParser) end() bool { return p.i >= len(p.text) }

func (p *forwardedParser) space() {
	for !p.end() && (p.text[p.i] == ' ' || p.text[p.i] == '\t') {
		p.i++
	}
}

func (p *forwardedParser) take(c byte) bool {
	if p.end() || p.text[p.i] != c {
		return false
	}
	p.i++
	return true
}

// token reads a token of RFC 9110. Values of for= with a colon must be quoted there, but many proxies do not, so that
// value reads them too.
func (p *forwardedParser) token() (string, bool) {
	start := p.i
	for !p.end() && tokenByte(p.text[p.i]) {
		p.i++
	}
	return p.text[start:p.i], p.i > start
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func (p *forwardedParser) value() (string, bool) {
	if !p.take('"') {
		start := p.i
		for !p.end() && (tokenByte(p.text[p.i]) || strings.IndexByte(":[]", p.text[p.i]) >= 0) {
			p.i++
		}
		return p.text[start:p.i], p.i > start
	}
	var out []byte
	for !p.end() {
		c := p.text[p.i]
		p.i++
		switch {
		case c == '"':
			return string(out), true
		case c == '\\':
			if p.end() {
				return "", false
			}
			out = append(out, p.text[p.i])
			p.i++
		default:
			out = append(out, c)
		}
	}
	return "", false
}
