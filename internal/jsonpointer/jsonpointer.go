// Package jsonpointer reads one scalar out of a JSON text by its pointer (RFC 6901), such as /data/0/id, without
// building the rest:
//
//	p, err := jsonpointer.Parse("/data/id")
//	key, ok := p.Scalar(body)
//
// It reads in one pass and keeps nothing but its place. Only what lies on the way is looked at: whether the text behind the
// value is JSON is not told. Of members with one name the first counts. To test: go test ./internal/jsonpointer, and
// go test -fuzz FuzzScalar.
package jsonpointer

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a pointer, and of the value that it leads to.
const (
	MaxPointer = 256 // bytes
	MaxSteps   = 16
	MaxValue   = 1024 // bytes
	maxDepth   = 64
)

// Pointer is a parsed pointer. Make one with [Parse].
type Pointer struct{ steps []string }

// Parse reads a pointer. Errors are of kind invalid and say what it must be.
func Parse(s string) (Pointer, error) {
	if s == "" || s[0] != '/' || len(s) > MaxPointer {
		return Pointer{}, domain.Invalid("pointer", "must begin with / and have at most %d bytes, such as /data/id", MaxPointer)
	}
	steps := strings.Split(s[1:], "/")
	if len(steps) > MaxSteps {
		return Pointer{}, domain.Invalid("pointer", "may have at most %d steps, has %d", MaxSteps, len(steps))
	}
	for i, step := range steps {
		for n := 0; n < len(step); n++ {
			if step[n] != '~' {
				continue
			}
			if n++; n == len(step) || step[n] != '0' && step[n] != '1' {
				return Pointer{}, domain.Invalid("pointer", "step %d: ~ must be followed by 0 (for ~) or 1 (for /)", i+1)
			}
		}
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	return Pointer{steps: steps}, nil
}

// Scalar returns the text, number, true or false that the pointer leads to, with a letter in front that tells the kinds
// apart (s, n, b). It is not ok when there is nothing, null, an object, an array, an empty text or one of more than
// MaxValue bytes, or when the text is no JSON up to there.
func (p Pointer) Scalar(body []byte) (value string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for _, step := range p.steps {
		t, err := d.Token()
		switch {
		case err != nil:
			return "", false
		case t == json.Delim('{'):
			ok = member(d, step)
		case t == json.Delim('['):
			ok = element(d, step)
		default:
			return "", false
		}
		if !ok {
			return "", false
		}
	}
	t, err := d.Token()
	if err != nil {
		return "", false
	}
	switch v := t.(type) {
	case string:
		value = "s" + v
	case json.Number:
		value = "n" + v.String()
	case bool:
		value = "b" + strconv.FormatBool(v)
	}
	return value, len(value) > 1 && len(value) <= MaxValue+1
}

// member goes on to the value of a name.
func member(d *json.Decoder, name string) bool {
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return false
		}
		if t == name {
			return true
		}
		if !skip(d) {
			return false
		}
	}
	return false
}

// element goes on to the value at an index.
func element(d *json.Decoder, index string) bool {
	n, err := strconv.ParseUint(index, 10, 31)
	if err != nil || len(index) > 1 && index[0] == '0' {
		return false
	}
	for ; d.More(); n-- {
		if n == 0 {
			return true
		}
		if !skip(d) {
			return false
		}
	}
	return false
}

// skip reads over one value.
func skip(d *json.Decoder) bool {
	depth := 0
	for {
		t, err := d.Token()
		if err != nil {
			return false
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return false
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return true
		}
	}
}
