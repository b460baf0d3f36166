package webhookauth

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// A reader of Structured Field Values (RFC 9651, before it RFC 8941) as far as message signatures and digests need
// them: dictionaries of byte sequences and of inner lists, with parameters. It is stricter than the RFC where that
// leaves less to disagree about: a key or parameter that is there twice is refused rather than the last one taken.
// Decimals, dates and display strings have no use here and are refused.

// Limits of a structured field.
const (
	maxFieldMembers = 16
	maxFieldItems   = 32 // of an inner list
	maxFieldParams  = 16
)

type fieldKind byte

const (
	fieldString fieldKind = iota + 1
	fieldInteger
	fieldToken
	fieldBytes
	fieldBoolean
	fieldList
)

type fieldValue struct {
	kind   fieldKind
	text   string // of a string or token
	number int64
	yes    bool
	bytes  []byte
	list   []fieldValue
	params []fieldParam // of an item or of a list
}

type fieldParam struct {
	name  string
	value fieldValue
}

type fieldMember struct {
	name  string
	value fieldValue
}

func (v *fieldValue) param(name string) (fieldValue, bool) {
	for _, p := range v.params {
		if p.name == name {
			return p.value, true
		}
	}
	return fieldValue{}, false
}

type fieldReader struct {
	s  string
	at int
}

// parseDictionary reads a dictionary whole or not at all.
func parseDictionary(s string) ([]fieldMember, bool) {
	r := &fieldReader{s: strings.Trim(s, " ")}
	var members []fieldMember
	for {
		name, ok := r.key()
		if !ok || len(members) == maxFieldMembers {
			return nil, false
		}
		for _, m := range members {
			if m.name == name {
				return nil, false
			}
		}
		m := fieldMember{name: name}
		if r.take('=') {
			m.value, ok = r.itemOrList()
		} else {
			m.value = fieldValue{kind: fieldBoolean, yes: true}
			m.value.params, ok = r.parameters()
		}
		if !ok {
			return nil, false
		}
		members = append(members, m)
		r.blanks()
		if r.at == len(r.s) {
			return members, true
		}
		if !r.take(',') {
			return nil, false
		}
		r.blanks()
	}
}

func (r *fieldReader) peek() byte {
	if r.at < len(r.s) {
		return r.s[r.at]
	}
	return 0
}

func (r *fieldReader) take(b byte) bool {
	if r.at < len(r.s) && r.s[r.at] == b {
		r.at++
		return true
	}
	return false
}

func (r *fieldReader) blanks() {
	for r.take(' ') || r.take('\t') {
	}
}

func lowerOrStar(b byte) bool { return b >= 'a' && b <= 'z' || b == '*' }
func digit(b byte) bool       { return b >= '0' && b <= '9' }
func letter(b byte) bool      { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

func (r *fieldReader) key() (string, bool) {
	start := r.at
	if !lowerOrStar(r.peek()) {
		return "", false
	}
	for b := r.peek(); lowerOrStar(b) || digit(b) || b == '_' || b == '-' || b == '.'; b = r.peek() {
		r.at++
	}
	return r.s[start:r.at], true
}

func (r *fieldReader) itemOrList() (v fieldValue, ok bool) {
	if !r.take('(') {
		return r.item()
	}
	v.kind = fieldList
	for {
		for r.take(' ') {
		}
		if r.take(')') {
			v.params, ok = r.parameters()
			return v, ok
		}
		if len(v.list) == maxFieldItems {
			return v, false
		}
		item, ok := r.item()
		if !ok || r.peek() != ' ' && r.peek() != ')' {
			return v, false
		}
		v.list = append(v.list, item)
	}
}

func (r *fieldReader) item() (v fieldValue, ok bool) {
	if v, ok = r.bare(); ok {
		v.params, ok = r.parameters()
	}
	return v, ok
}

func (r *fieldReader) parameters() ([]fieldParam, bool) {
	var params []fieldParam
	for r.take(';') {
		for r.take(' ') {
		}
		name, ok := r.key()
		if !ok || len(params) == maxFieldParams {
			return nil, false
		}
		for _, p := range params {
			if p.name == name {
				return nil, false
			}
		}
		p := fieldParam{name: name, value: fieldValue{kind: fieldBoolean, yes: true}}
		if r.take('=') {
			if p.value, ok = r.bare(); !ok {
				return nil, false
			}
		}
		params = append(params, p)
	}
	return params, true
}

func (r *fieldReader) bare() (fieldValue, bool) {
	switch b := r.peek(); {
	case b == '"':
		return r.quoted()
	case b == ':':
		return r.binary()
	case b == '-' || digit(b):
		return r.integer()
	case b == '?':
		r.at++
		if r.take('1') {
			return fieldValue{kind: fieldBoolean, yes: true}, true
		}
		return fieldValue{kind: fieldBoolean}, r.take('0')
	case b == '*' || letter(b):
		start := r.at
		for b := r.peek(); b != 0 && (letter(b) || digit(b) || strings.IndexByte("!#$%&'*+-.^_`|~:/", b) >= 0); b = r.peek() {
			r.at++
		}
		return fieldValue{kind: fieldToken, text: r.s[start:r.at]}, true
	}
	return fieldValue{}, false
}

func (r *fieldReader) quoted() (fieldValue, bool) {
	r.at++
	var text []byte
	for r.at < len(r.s) {
		b := r.s[r.at]
		r.at++
		switch {
		case b == '"':
			return fieldValue{kind: fieldString, text: string(text)}, true
		case b == '\\':
			if b = r.peek(); b != '"' && b != '\\' {
				return fieldValue{}, false
			}
			r.at++
		case b < ' ' || b > '~':
			return fieldValue{}, false
		}
		text = append(text, b)
	}
	return fieldValue{}, false
}

func (r *fieldReader) binary() (fieldValue, bool) {
	r.at++
	end := strings.IndexByte(r.s[r.at:], ':')
	if end < 0 {
		return fieldValue{}, false
	}
	text := r.s[r.at : r.at+end]
	r.at += end + 1
	// The decoder skips line breaks, which no header has.
	if strings.ContainsAny(text, "\r\n") {
		return fieldValue{}, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	return fieldValue{kind: fieldBytes, bytes: raw}, err == nil
}

func (r *fieldReader) integer() (fieldValue, bool) {
	start := r.at
	r.take('-')
	first := r.at
	for digit(r.peek()) {
		r.at++
	}
	if n := r.at - first; n == 0 || n > 15 || r.peek() == '.' {
		return fieldValue{}, false
	}
	n, err := strconv.ParseInt(r.s[start:r.at], 10, 64)
	return fieldValue{kind: fieldInteger, number: n}, err == nil
}

// appendValue writes a value in its one canonical form, parameters included.
func appendValue(b []byte, v *fieldValue) []byte {
	switch v.kind {
	case fieldString:
		b = append(b, '"')
		for i := range len(v.text) {
			if v.text[i] == '"' || v.text[i] == '\\' {
				b = append(b, '\\')
			}
			b = append(b, v.text[i])
		}
		b = append(b, '"')
	case fieldInteger:
		b = strconv.AppendInt(b, v.number, 10)
	case fieldToken:
		b = append(b, v.text...)
	case fieldBytes:
		b = append(base64.StdEncoding.AppendEncode(append(b, ':'), v.bytes), ':')
	case fieldBoolean:
		if b = append(b, '?', '0'); v.yes {
			b[len(b)-1] = '1'
		}
	case fieldList:
		b = append(b, '(')
		for i := range v.list {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendValue(b, &v.list[i])
		}
		b = append(b, ')')
	}
	for i := range v.params {
		p := &v.params[i]
		b = append(append(b, ';'), p.name...)
		if p.value.kind != fieldBoolean || !p.value.yes {
			b = appendValue(append(b, '='), &p.value)
		}
	}
	return b
}
