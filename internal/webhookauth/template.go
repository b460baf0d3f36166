package webhookauth

import (
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxTemplate is the longest content template in bytes.
const MaxTemplate = 200

// contentTemplate is what a signature covers, in order. It is parsed once, when a verifier is made.
type contentTemplate struct {
	before, after []contentPart // of the body
	timestamp, id bool
	url           bool
	idStops       string // bytes that an id may not hold, because they part it from its neighbours
}

type contentPart struct {
	field   contentField
	literal string
}

type contentField byte

const (
	literalPart contentField = iota
	timestampPart
	idPart
	urlPart
	methodPart
	bodyPart
)

var contentFields = map[string]contentField{
	"timestamp": timestampPart, "id": idPart, "url": urlPart, "method": methodPart, "body": bodyPart,
}

// parseTemplate reads a template such as "v0:{timestamp}:{body}". Two requests with different fields must not have the
// same signed bytes, or a captured signature would fit a request that was never sent. The body is there once; the
// address is fixed by the config; a timestamp is of plain digits, and one digit more or less is far from now. That
// leaves the id, which must therefore be parted from its neighbours by a character that it does not hold.
func parseTemplate(content Content) (contentTemplate, error) {
	var t contentTemplate
	fault := func(at int, format string, args ...any) (contentTemplate, error) {
		return contentTemplate{}, domain.Invalid("content", "position %d: "+format, append([]any{at + 1}, args...)...)
	}
	s := string(content)
	if len(s) > MaxTemplate {
		return fault(MaxTemplate, "longer than %d bytes", MaxTemplate)
	}
	var parts []contentPart
	var places []int
	seen := map[contentField]bool{}
	for i := 0; i < len(s); {
		if s[i] != '{' {
			end := strings.IndexByte(s[i:], '{')
			if end < 0 {
				end = len(s) - i
			}
			for j, b := range []byte(s[i : i+end]) {
				if b == '}' {
					return fault(i+j, "a } without a {")
				}
				if (b < ' ' || b > '~') && b != '\n' {
					return fault(i+j, "want visible ASCII characters, blanks and line feeds between the fields")
				}
			}
			parts, places = append(parts, contentPart{literal: s[i : i+end]}), append(places, i)
			i += end
			continue
		}
		name, _, closed := strings.Cut(s[i+1:], "}")
		if !closed {
			return fault(i, "a { without a }")
		}
		field, ok := contentFields[name]
		if !ok {
			return fault(i, "unknown field; want {body}, {timestamp}, {id}, {url} or {method}")
		}
		if seen[field] {
			return fault(i, "{%s} is there twice", name)
		}
		seen[field] = true
		parts, places = append(parts, contentPart{field: field}), append(places, i)
		i += len(name) + 2
	}
	if !seen[bodyPart] {
		return fault(len(s), "{body} is missing, so that anybody could replace the body")
	}
	for i, part := range parts {
		if part.field != idPart {
			continue
		}
		if i > 0 {
			if parts[i-1].field != literalPart {
				return fault(places[i], "{id} touches another field, so that characters could move between them; put one between them")
			}
			l := parts[i-1].literal
			t.idStops += l[len(l)-1:]
		}
		if i+1 < len(parts) {
			if parts[i+1].field != literalPart {
				return fault(places[i+1], "{id} touches another field, so that characters could move between them; put one between them")
			}
			t.idStops += parts[i+1].literal[:1]
		}
	}
	t.timestamp, t.id, t.url = seen[timestampPart], seen[idPart], seen[urlPart]
	for i, part := range parts {
		if part.field == bodyPart {
			t.before, t.after = parts[:i], parts[i+1:]
		}
	}
	return t, nil
}

// values are what the fields of a template stand for.
type values struct {
	timestamp, id, url, method string
}

func (v *values) appendTo(b []byte, parts []contentPart) []byte {
	for i := range parts {
		switch parts[i].field {
		case literalPart:
			b = append(b, parts[i].literal...)
		case timestampPart:
			b = append(b, v.timestamp...)
		case idPart:
			b = append(b, v.id...)
		case urlPart:
			b = append(b, v.url...)
		case methodPart:
			b = append(b, v.method...)
		}
	}
	return b
}

// computeContent leaves the code of a template's content in s.sum.
func (s *macState) computeContent(t *contentTemplate, v *values, body []byte) {
	s.head = v.appendTo(s.head[:0], t.before)
	s.begin(body)
	if len(t.after) > 0 {
		s.head = v.appendTo(s.head[:0], t.after)
		s.hash.Write(s.head)
	}
	s.hash.Sum(s.sum[:0])
}
