package custom

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of a JSON text from outside. The byte size is capped before it gets here.
const (
	maxDepth = 64      // nested arrays and objects
	maxNodes = 100_000 // values of any kind
)

// jsonError says why a text is not JSON that we accept. It holds a position and never a piece of the text.
type jsonError struct {
	offset int
	reason string
}

func (e *jsonError) Error() string { return fmt.Sprintf("%s (byte %d)", e.reason, e.offset) }

// parseJSON reads exactly one JSON value into nil, bool, string, int64, uint64, float64, []any and map[string]any:
// the forms that expressions read without conversion.
//
// Numbers keep their kind: an integer stays one, whatever its size up to 64 bits; a longer one is given as its
// digits in a string, because rounding would make two ids equal. A number with a fraction or exponent is a float.
// An object with two members of one name is refused: its reader and its signer may have seen different ones. So is
// text that is not UTF-8. Both would otherwise turn into wrong bookings in silence.
func parseJSON(b []byte) (any, error) {
	p := jsonParser{b: b}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i != len(b) {
		return nil, p.fail("more text after the JSON value")
	}
	return v, nil
}

type jsonParser struct {
	b     []byte
	i     int
	nodes int
}

func (p *jsonParser) fail(reason string) error { return &jsonError{offset: p.i, reason: reason} }

func (p *jsonParser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *jsonParser) value(depth int) (any, error) {
	if p.i >= len(p.b) {
		return nil, p.fail("the JSON text ends too early")
	}
	if p.nodes++; p.nodes > maxNodes {
		return nil, p.fail(fmt.Sprintf("more than %d JSON values", maxNodes))
	}
	switch c := p.b[p.i]; {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return p.string()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return nil, p.fail("not a JSON value")
}

func (p *jsonParser) word(w string) error {
	if len(p.b)-p.i < len(w) || string(p.b[p.i:p.i+len(w)]) != w {
		return p.fail("not a JSON value")
	}
	p.i += len(w)
	return nil
}

func (p *jsonParser) object(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	p.i++
	m := map[string]any{}
	p.space()
	if p.i < len(p.b) && p.b[p.i] == '}' {
		p.i++
		return m, nil
	}
	for {
		if p.i >= len(p.b) || p.b[p.i] != '"' {
			return nil, p.fail("a member name is missing")
		}
		at := p.i
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			p.i = at
			return nil, p.fail("a member name occurs twice in one object")
		}
		p.space()
		if p.i >= len(p.b) || p.b[p.i] != ':' {
			return nil, p.fail("a colon is missing")
		}
		p.i++
		p.space()
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		m[name] = v
		done, err := p.next('}')
		if done || err != nil {
			return m, err
		}
	}
}

func (p *jsonParser) array(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	p.i++
	list := []any{}
	p.space()
	if p.i < len(p.b) && p.b[p.i] == ']' {
		p.i++
		return list, nil
	}
	for {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		done, err := p.next(']')
		if done || err != nil {
			return list, err
		}
	}
}

// next steps over a comma (done false) or the closing byte (done true).
func (p *jsonParser) next(closing byte) (done bool, err error) {
	p.space()
	if p.i >= len(p.b) {
		return false, p.fail("the JSON text ends too early")
	}
	switch p.b[p.i] {
	case ',':
		p.i++
		p.space()
		return false, nil
	case closing:
		p.i++
		return true, nil
	}
	return false, p.fail("a comma or closing bracket is missing")
}

func (p *jsonParser) string() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			s := string(p.b[start:p.i])
			p.i++
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("a control character in a string")
		case c < utf8.RuneSelf:
			p.i++
		default:
			if err := p.rune(); err != nil {
				return "", err
			}
		}
	}
	return "", p.fail("the JSON text ends inside a string")
}

func (p *jsonParser) rune() error {
	r, n := utf8.DecodeRune(p.b[p.i:])
	if r == utf8.RuneError && n == 1 {
		return p.fail("not UTF-8")
	}
	p.i += n
	return nil
}

// escaped finishes a string that has escapes; the part since start is taken as it is.
func (p *jsonParser) escaped(start int) (string, error) {
	out := append(make([]byte, 0, p.i-start+32), p.b[start:p.i]...)
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return string(out), nil
		case c == '\\':
			if p.i+1 >= len(p.b) {
				return "", p.fail("the JSON text ends inside a string")
			}
			p.i++
			e := p.b[p.i]
			p.i++
			switch e {
			case '"', '\\', '/':
				out = append(out, e)
			case 'b':
				out = append(out, '\b')
			case 'f':
				out = append(out, '\f')
			case 'n':
				out = append(out, '\n')
			case 'r':
				out = append(out, '\r')
			case 't':
				out = append(out, '\t')
			case 'u':
				r, err := p.hex4()
				if err != nil {
					return "", err
				}
				if utf16.IsSurrogate(r) {
					r = p.low(r)
				}
				out = utf8.AppendRune(out, r)
			default:
				p.i--
				return "", p.fail("an unknown escape in a string")
			}
		case c < ' ':
			return "", p.fail("a control character in a string")
		case c < utf8.RuneSelf:
			out = append(out, c)
			p.i++
		default:
			at := p.i
			if err := p.rune(); err != nil {
				return "", err
			}
			out = append(out, p.b[at:p.i]...)
		}
	}
	return "", p.fail("the JSON text ends inside a string")
}

// low reads the second half of a surrogate pair; a half that stands alone becomes U+FFFD.
func (p *jsonParser) low(high rune) rune {
	if len(p.b)-p.i >= 6 && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
		at := p.i
		p.i += 2
		if second, err := p.hex4(); err == nil {
			if r := utf16.DecodeRune(high, second); r != utf8.RuneError {
				return r
			}
		}
		p.i = at
	}
	return utf8.RuneError
}

func (p *jsonParser) hex4() (rune, error) {
	if len(p.b)-p.i < 4 {
		return 0, p.fail("the JSON text ends inside an escape")
	}
	var r rune
	for range 4 {
		c := p.b[p.i]
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.fail("an escape needs four hexadecimal digits")
		}
		p.i++
	}
	return r, nil
}

func (p *jsonParser) number() (any, error) {
	start := p.i
	if p.b[p.i] == '-' {
		p.i++
	}
	switch digits := p.digits(); {
	case digits == 0:
		return nil, p.fail("a number has no digits")
	case digits > 1 && p.b[p.i-digits] == '0':
		return nil, p.fail("a number begins with 0")
	}
	whole := true
	if p.i < len(p.b) && p.b[p.i] == '.' {
		whole = false
		p.i++
		if p.digits() == 0 {
			return nil, p.fail("a number has no digits after its point")
		}
	}
	if p.i < len(p.b) && (p.b[p.i] == 'e' || p.b[p.i] == 'E') {
		whole = false
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if p.digits() == 0 {
			return nil, p.fail("a number has no digits in its exponent")
		}
	}
	text := string(p.b[start:p.i])
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
		return text, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, p.fail("a number is out of range")
	}
	return f, nil
}

func (p *jsonParser) digits() int {
	start := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i - start
}
