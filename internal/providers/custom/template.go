package custom

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxBody is the largest request body that templates may make, in bytes.
const maxBody = 256 << 10

// template is compiled text with expressions in it.
type template struct {
	path  string
	parts []part
}

type part struct {
	literal string
	prg     *program // nil for a literal
}

// whole reports whether the text is one expression and nothing else, so that its value keeps its type.
func (t *template) whole() bool { return len(t.parts) == 1 && t.parts[0].prg != nil }

// compileTemplate reads text with ${expression} parts.
func compileTemplate(src, path string, s scope) (*template, error) {
	t := &template{path: path}
	var literal strings.Builder
	for i := 0; i < len(src); {
		switch {
		case strings.HasPrefix(src[i:], "$${"):
			literal.WriteString("${")
			i += 3
		case strings.HasPrefix(src[i:], "${"):
			end := closingBrace(src, i+2)
			line, column := position([]byte(src), i)
			if end < 0 {
				return nil, domain.Invalid(path, "line %d, column %d: ${ without its }", line, column)
			}
			offset := 0
			if line == 1 {
				offset = utf8.RuneCountInString(src[:i+2])
			}
			p, err := compile(src[i+2:end], path, offset, s, wantAny, nil)
			if err != nil {
				return nil, err
			}
			if literal.Len() > 0 {
				t.parts = append(t.parts, part{literal: literal.String()})
				literal.Reset()
			}
			t.parts = append(t.parts, part{prg: p})
			i = end + 1
		default:
			literal.WriteByte(src[i])
			i++
		}
	}
	if literal.Len() > 0 {
		t.parts = append(t.parts, part{literal: literal.String()})
	}
	return t, nil
}

// closingBrace finds the } that ends an expression, stepping over texts and braces inside it.
func closingBrace(s string, from int) int {
	depth := 0
	for i := from; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '"':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// text fills the template. Each value goes through escape.
func (t *template) text(w *work, escape func(string) (string, error)) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.prg == nil {
			b.WriteString(p.literal)
			continue
		}
		v, err := w.eval(p.prg)
		if err != nil {
			return "", err
		}
		s, ok := plainText(v)
		if !ok {
			return "", domain.Invalid(t.path, "a value in a text must be a text, number, boolean or timestamp, is %s", valueWord(v))
		}
		if s, err = escape(s); err != nil {
			return "", err
		}
		b.WriteString(s)
	}
	if b.Len() > maxText {
		return "", domain.Invalid(t.path, "at most %d bytes, gives %d", maxText, b.Len())
	}
	return b.String(), nil
}

func plainText(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case types.String:
		return string(v), true
	case types.Int:
		return strconv.FormatInt(int64(v), 10), true
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), true
	case types.Double:
		return strconv.FormatFloat(float64(v), 'f', -1, 64), true
	case types.Bool:
		return strconv.FormatBool(bool(v)), true
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339), true
	}
	return "", false
}

func asIs(s string) (string, error) { return s, nil }

// pathSegment escapes a value so that it stays one segment of a path. An empty one and the two that mean another
// folder would ask for something else than was meant.
func pathSegment(s string) (string, error) {
	if s == "" || s == "." || s == ".." {
		return "", domain.Invalid("path", "a value in a path must not be empty, . or ..")
	}
	return url.PathEscape(s), nil
}

// headerText refuses what would end a header line.
func headerText(s string) (string, error) {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", domain.Invalid("headers", "a value in a header must not hold control characters")
		}
	}
	return s, nil
}

// bodyTemplate is a compiled JSON body: a *template, a map, a list or a plain value.
type bodyTemplate struct{ root any }

func compileBody(raw json.RawMessage, path string, s scope) (*bodyTemplate, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := parseJSON(raw)
	if err != nil {
		return nil, domain.Invalid(path, "must be JSON")
	}
	root, err := compileNode(v, path, s)
	if err != nil {
		return nil, err
	}
	return &bodyTemplate{root: root}, nil
}

func compileNode(v any, path string, s scope) (any, error) {
	switch v := v.(type) {
	case string:
		return compileTemplate(v, path, s)
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range sortedKeys(v) {
			node, err := compileNode(v[name], path+"."+safeName(name), s)
			if err != nil {
				return nil, err
			}
			out[name] = node
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = compileNode(v[i], path+"["+strconv.Itoa(i)+"]", s); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// json fills the body.
func (b *bodyTemplate) json(w *work) ([]byte, error) {
	v, _, err := fill(b.root, w)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, domain.E(domain.KindInternal, "write request body: %w", err)
	}
	if out.Len() > maxBody {
		return nil, domain.Invalid("body", "at most %d bytes, has %d", maxBody, out.Len())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// fill gives the value of a node; keep is false for an absent optional.
func fill(node any, w *work) (v any, keep bool, err error) {
	switch n := node.(type) {
	case *template:
		if !n.whole() {
			s, err := n.text(w, asIs)
			return s, true, err
		}
		val, err := w.evalAsIs(n.parts[0].prg)
		if err != nil {
			return nil, false, err
		}
		return native(val, n.path, 0)
	case map[string]any:
		out := make(map[string]any, len(n))
		for name, child := range n {
			v, keep, err := fill(child, w)
			if err != nil {
				return nil, false, err
			}
			if keep {
				out[name] = v
			}
		}
		return out, true, nil
	case []any:
		out := make([]any, 0, len(n))
		for _, child := range n {
			v, keep, err := fill(child, w)
			if err != nil {
				return nil, false, err
			}
			if keep {
				out = append(out, v)
			}
		}
		return out, true, nil
	}
	return node, true, nil
}

// native turns a value of an expression into what encoding/json writes.
func native(v ref.Val, path string, depth int) (any, bool, error) {
	if depth > maxDepth {
		return nil, false, domain.Invalid(path, "nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case *types.Optional:
		if !v.HasValue() {
			return nil, false, nil
		}
		return native(v.GetValue(), path, depth+1)
	case types.Null:
		return nil, true, nil
	case types.Int:
		return int64(v), true, nil
	case types.Uint:
		return uint64(v), true, nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, false, domain.Invalid(path, "JSON has no such number")
		}
		return float64(v), true, nil
	case types.Bool:
		return bool(v), true, nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			e, keep, err := native(it.Next(), path, depth+1)
			if err != nil {
				return nil, false, err
			}
			if keep {
				list = append(list, e)
			}
		}
		return list, true, nil
	case traits.Mapper:
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, false, domain.Invalid(path, "the keys of an object must be texts")
			}
			e, keep, err := native(v.Get(key), path, depth+1)
			if err != nil {
				return nil, false, err
			}
			if keep {
				m[string(name)] = e
			}
		}
		return m, true, nil
	}
	if s, ok := plainText(v); ok {
		return s, true, nil
	}
	return nil, false, domain.Invalid(path, "%s cannot be written as JSON; use string()", valueWord(v))
}
