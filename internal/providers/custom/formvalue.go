package custom

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxFormFields is the most fields of a form.
const maxFormFields = 10_000

// parseForm reads application/x-www-form-urlencoded into a map of field names to texts. A name that occurs again has the
// list of its values, in order. Brackets in names have no meaning.
//
// It is stricter than browsers are: an escape that is none, and text that is not UTF-8, are refused, since guessing
// would turn into wrong bookings in silence. Errors hold a position and never a piece of the text.
func parseForm(b []byte) (any, error) {
	out := map[string]any{}
	fields := 0
	for at := 0; at < len(b); {
		end := len(b)
		if i := bytes.IndexByte(b[at:], '&'); i >= 0 {
			end = at + i
		}
		if end > at {
			if fields++; fields > maxFormFields {
				return nil, &jsonError{offset: at, reason: fmt.Sprintf("more than %d form fields", maxFormFields)}
			}
			middle := end
			if i := bytes.IndexByte(b[at:end], '='); i >= 0 {
				middle = at + i
			}
			name, err := formText(b, at, middle)
			if err != nil {
				return nil, err
			}
			value, err := formText(b, min(middle+1, end), end)
			if err != nil {
				return nil, err
			}
			switch had := out[name].(type) {
			case nil:
				out[name] = value
			case string:
				out[name] = []any{had, value}
			case []any:
				out[name] = append(had, value)
			}
		}
		at = end + 1
	}
	return out, nil
}

// formText decodes b[from:to].
func formText(b []byte, from, to int) (string, error) {
	out := make([]byte, 0, to-from)
	for i := from; i < to; i++ {
		switch c := b[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= to {
				return "", &jsonError{offset: i, reason: "an escape is cut off"}
			}
			high, low := hexDigit(b[i+1]), hexDigit(b[i+2])
			if high < 0 || low < 0 {
				return "", &jsonError{offset: i, reason: "an escape is not two hexadecimal digits"}
			}
			out = append(out, byte(high<<4|low))
			i += 2
		default:
			out = append(out, c)
		}
	}
	if !utf8.Valid(out) {
		return "", &jsonError{offset: from, reason: "not UTF-8"}
	}
	return string(out), nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
