package webhookauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// A reader of the two JSON objects of a token. It takes what encoding/json takes and is stricter in two ways: no member may
// be there twice, at any depth, and nesting is bounded. It keeps the members of the outermost object only, in a list and as
// they are written, because a token is read for each webhook and has a handful of them.

type memberKind byte

const (
	isNull memberKind = iota
	isBoolean
	isNumber
	isText
	isList
	isObject
)

// member is one of an object's. text is what a text says, and of anything else how it is written.
type member struct {
	name string
	kind memberKind
	text string
}

// members is an object. Its methods make it the claims that the library checks, which hold times as numbers only, since
// parse refuses tokens with others.
type members []member

// get returns a member, and one of kind null without a name if it is not there.
func (m members) get(name string) (member, bool) {
	for i := range m {
		if m[i].name == name {
			return m[i], true
		}
	}
	return member{}, false
}

// string returns a text and whether the member is there and is one.
func (m members) string(name string) (string, bool) {
	v, _ := m.get(name)
	if v.kind != isText {
		return "", false
	}
	return v.text, true
}

// number returns a number and whether the member is there and is one that can be held.
func (m members) number(name string) (float64, bool) {
	v, _ := m.get(name)
	if v.kind != isNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.text, 64)
	return f, err == nil
}

func (m members) date(name string) (*jwt.NumericDate, error) {
	v, there := m.get(name)
	if !there {
		return nil, nil
	}
	seconds, ok := m.number(v.name)
	if !ok {
		return nil, jwt.ErrInvalidType
	}
	whole, fraction := math.Modf(seconds)
	return jwt.NewNumericDate(time.Unix(int64(whole), int64(fraction*1e9))), nil
}

func (m members) GetExpirationTime() (*jwt.NumericDate, error) { return m.date("exp") }
func (m members) GetNotBefore() (*jwt.NumericDate, error)      { return m.date("nbf") }
func (m members) GetIssuedAt() (*jwt.NumericDate, error)       { return m.date("iat") }
func (m members) GetIssuer() (string, error)                   { return m.one("iss") }
func (m members) GetSubject() (string, error)                  { return m.one("sub") }

func (m members) one(name string) (string, error) {
	v, there := m.get(name)
	if there && v.kind != isText {
		return "", jwt.ErrInvalidType
	}
	return v.text, nil
}

// GetAudience returns the audiences: of a text one, of a list of texts all, of anything else none.
func (m members) GetAudience() (jwt.ClaimStrings, error) {
	switch v, _ := m.get("aud"); v.kind {
	case isText:
		return jwt.ClaimStrings{v.text}, nil
	case isList:
		return v.texts()
	}
	return nil, nil
}

// texts reads a list of texts. An entry that is none is an error.
func (v member) texts() (out []string, err error) {
	err = v.entries(func(kind memberKind, text string) error {
		if kind != isText {
			return jwt.ErrInvalidType
		}
		out = append(out, text)
		return nil
	})
	return out, err
}

// length is how many entries a list has.
func (v member) length() (n int) {
	_ = v.entries(func(memberKind, string) error { // it was read before
		n++
		return nil
	})
	return n
}

// entries goes through a list that was read before.
func (v member) entries(each func(memberKind, string) error) error {
	r := jsonReader{s: v.text}
	for r.at++; r.next() != ']'; {
		kind, text, err := r.value(1, nil)
		if err == nil {
			err = each(kind, text)
		}
		if err != nil {
			return err
		}
		if r.next() == ',' {
			r.at++
		}
	}
	return nil
}

// strictObject reads a base64url part that must be one JSON object, with no member twice and no deep nesting. room is
// memory to use.
func strictObject(part string, room members) (members, error) {
	var space [1024]byte
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(space[:0], []byte(part))
	if err != nil || strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("is not base64url")
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8")
	}
	r := jsonReader{s: string(raw)}
	object := room[:0]
	kind, _, err := r.value(0, &object)
	if err != nil {
		return nil, err
	}
	if r.next() != 0 || r.at < len(r.s) {
		return nil, errors.New("has something behind its end")
	}
	if kind != isObject {
		return nil, errors.New("is not an object")
	}
	return object, nil
}

var (
	errNotJSON = errors.New("is not JSON")
	errTwice   = errors.New("has a member twice")
	errDeep    = fmt.Errorf("is nested deeper than %d", maxClaimDepth)
)

// jsonReader reads JSON that is known to be UTF-8.
type jsonReader struct {
	s  string
	at int
}

// next skips blanks and returns the byte behind them, 0 at the end.
func (r *jsonReader) next() byte {
	for ; r.at < len(r.s); r.at++ {
		switch b := r.s[r.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// value reads a value. Of an object it leaves the members in *keep, unless keep is nil.
func (r *jsonReader) value(depth int, keep *members) (memberKind, string, error) {
	b := r.next()
	start := r.at
	switch {
	case b == '"':
		text, err := r.text()
		return isText, text, err
	case (b == '{' || b == '[') && depth == maxClaimDepth:
		return 0, "", errDeep
	case b == '{':
		err := r.object(depth, keep)
		return isObject, r.s[start:r.at], err
	case b == '[':
		err := r.list(depth)
		return isList, r.s[start:r.at], err
	case b == '-' || digit(b):
		ok := r.numeral()
		return isNumber, r.s[start:r.at], notJSONUnless(ok)
	case r.word("null"):
		return isNull, "", nil
	case r.word("true"), r.word("false"):
		return isBoolean, r.s[start:r.at], nil
	}
	return 0, "", errNotJSON
}

func notJSONUnless(ok bool) error {
	if ok {
		return nil
	}
	return errNotJSON
}

func (r *jsonReader) take(b byte) bool {
	if r.at < len(r.s) && r.s[r.at] == b {
		r.at++
		return true
	}
	return false
}

func (r *jsonReader) word(w string) bool {
	if !strings.HasPrefix(r.s[r.at:], w) {
		return false
	}
	r.at += len(w)
	return true
}

// digits skips digits and reports whether there were any.
func (r *jsonReader) digits() bool {
	start := r.at
	for r.at < len(r.s) && digit(r.s[r.at]) {
		r.at++
	}
	return r.at > start
}

func (r *jsonReader) numeral() bool {
	r.take('-')
	if !r.take('0') && !r.digits() {
		return false
	}
	if r.take('.') && !r.digits() {
		return false
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		return r.digits()
	}
	return true
}

func (r *jsonReader) list(depth int) error {
	r.at++
	if r.next() == ']' {
		r.at++
		return nil
	}
	for {
		if _, _, err := r.value(depth+1, nil); err != nil {
			return err
		}
		b := r.next()
		if b != ',' && b != ']' {
			return errNotJSON
		}
		r.at++
		if b == ']' {
			return nil
		}
	}
}

func (r *jsonReader) object(depth int, keep *members) error {
	r.at++
	if r.next() == '}' {
		r.at++
		return nil
	}
	var seen names
	for {
		if r.next() != '"' {
			return errNotJSON
		}
		name, err := r.text()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return errTwice
		}
		if r.next() != ':' {
			return errNotJSON
		}
		r.at++
		kind, text, err := r.value(depth+1, nil)
		if err != nil {
			return err
		}
		if keep != nil {
			*keep = append(*keep, member{name: name, kind: kind, text: text})
		}
		b := r.next()
		if b != ',' && b != '}' {
			return errNotJSON
		}
		r.at++
		if b == '}' {
			return nil
		}
	}
}

// names is a set that needs no memory of its own while it is small, and is not slow when a stranger makes it large.
type names struct {
	few  [12]string
	n    int
	many map[string]struct{}
}

// add reports whether the name is new.
func (s *names) add(name string) bool {
	if slices.Contains(s.few[:s.n], name) {
		return false
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if _, there := s.many[name]; there {
		return false
	}
	if s.many == nil {
		s.many = map[string]struct{}{}
	}
	s.many[name] = struct{}{}
	return true
}

// text reads a text, which begins here.
func (r *jsonReader) text() (string, error) {
	r.at++
	start := r.at
	for r.at < len(r.s) {
		switch b := r.s[r.at]; {
		case b == '"':
			r.at++
			return r.s[start : r.at-1], nil
		case b == '\\':
			return r.escaped(start)
		case b < ' ':
			return "", errNotJSON
		}
		r.at++
	}
	return "", errNotJSON
}

// escaped reads the rest of a text with escapes, of which there are few: encoding/json says what they mean.
func (r *jsonReader) escaped(start int) (string, error) {
	for r.at < len(r.s) {
		switch r.s[r.at] {
		case '"':
			r.at++
			var text string
			if json.Unmarshal([]byte(r.s[start-1:r.at]), &text) != nil {
				return "", errNotJSON
			}
			return text, nil
		case '\\':
			r.at++ // what is behind it is not the end
		}
		r.at = min(r.at+1, len(r.s))
	}
	return "", errNotJSON
}
