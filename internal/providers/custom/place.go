package custom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDefinition is the largest definition file in bytes, samples included.
const maxDefinition = 1 << 20

// spot is where a value stands in a file. Lines and columns count from 1.
type spot struct {
	line, column       int
	keyLine, keyColumn int        // of its name; 0 in lists
	style              yaml.Style // of a text in YAML
	quoted             bool       // one character stands before the text
}

// document is a parsed file: its value in the forms of parseJSON, and the places of everything in it.
type document struct {
	text   []byte
	value  any
	lines  []int           // offsets at which lines begin
	places map[string]spot // by path without the leading "settings.", such as list.paging.kind or errors[0].when
	last   struct{ line, offset, runes int }
}

// syntaxError is a file that is no document.
type syntaxError struct {
	line, column int
	text         string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.line, e.column, e.text)
}

// readDocument reads JSON, or YAML without anchors, aliases and tags of its own. All errors are *syntaxError.
func readDocument(text []byte) (*document, error) {
	if len(text) > maxDefinition {
		return nil, &syntaxError{1, 1, fmt.Sprintf("at most %d bytes, has %d", maxDefinition, len(text))}
	}
	d := &document{text: text, places: map[string]spot{}}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		v, err := parseJSON(text)
		if err == nil {
			d.value = v
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.UseNumber() // one that is too large for a float is a text to us
			d.index(dec, "", spot{})
			return d, nil
		}
		// A JSON file is told about in the words of JSON; flow style of YAML also begins with a brace.
		if d.yaml(text) == nil {
			return d, nil
		}
		var bad *jsonError
		if errors.As(err, &bad) {
			line, column := position(text, bad.offset)
			return nil, &syntaxError{line, column, bad.reason}
		}
		return nil, &syntaxError{1, 1, err.Error()}
	}
	if err := d.yaml(text); err != nil {
		return nil, err
	}
	return d, nil
}

// index notes the places of a JSON value; the decoder stands before it. The text was parsed before, so it is valid; if the
// decoder thinks otherwise, the rest has no places of its own.
func (d *document) index(dec *json.Decoder, path string, key spot) (ok bool) {
	at := int(dec.InputOffset())
	for at < len(d.text) && strings.IndexByte(" \t\r\n:,", d.text[at]) >= 0 {
		at++
	}
	key.line, key.column = d.position(at)
	key.quoted = at < len(d.text) && d.text[at] == '"'
	d.places[path] = key
	open, err := dec.Token()
	if err != nil {
		return false
	}
	for n := 0; dec.More() && (open == json.Delim('{') || open == json.Delim('[')); n++ {
		if open == json.Delim('[') {
			if !d.index(dec, path+"["+strconv.Itoa(n)+"]", spot{}) {
				return false
			}
			continue
		}
		from := int(dec.InputOffset())
		for from < len(d.text) && d.text[from] != '"' {
			from++
		}
		name, err := dec.Token()
		text, ok := name.(string)
		if err != nil || !ok {
			return false
		}
		var child spot
		child.keyLine, child.keyColumn = d.position(from)
		if !d.index(dec, join2(path, text), child) {
			return false
		}
	}
	if open == json.Delim('{') || open == json.Delim('[') {
		if _, err := dec.Token(); err != nil {
			return false
		}
	}
	return true
}

// position is position, quick for many offsets of one text.
func (d *document) position(offset int) (line, column int) {
	if d.lines == nil {
		d.lines = []int{0}
		for i, c := range d.text {
			if c == '\n' {
				d.lines = append(d.lines, i+1)
			}
		}
	}
	offset = min(offset, len(d.text))
	line, found := slices.BinarySearch(d.lines, offset)
	if !found {
		line--
	}
	// A file may be one long line: what was counted of it is not counted again.
	from, runes := d.lines[line], 0
	if d.last.line == line && d.last.offset <= offset && d.last.offset >= from {
		from, runes = d.last.offset, d.last.runes
	}
	runes += utf8.RuneCount(d.text[from:offset])
	d.last.line, d.last.offset, d.last.runes = line, offset, runes
	return line + 1, runes + 1
}

func join2(path, name string) string {
	if path == "" {
		return safeName(name)
	}
	return path + "." + safeName(name)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s+)?(?:line (\d+): )?(.*)`)

func (d *document) yaml(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := dec.Decode(&root); err != nil {
		m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
		if m == nil {
			return &syntaxError{1, 1, "is neither JSON nor YAML"}
		}
		line, _ := strconv.Atoi(m[1]) // 0 where the library names none
		return &syntaxError{max(line, 1), 1, m[2]}
	}
	if dec.Decode(&more) == nil {
		return &syntaxError{max(more.Line, 1), 1, "a file holds one document"}
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return &syntaxError{1, 1, "is empty"}
	}
	nodes := 0
	v, err := d.node(root.Content[0], "", spot{}, 0, &nodes)
	d.value = v
	return err
}

func (d *document) node(n *yaml.Node, path string, at spot, depth int, nodes *int) (any, error) {
	at.line, at.column, at.style = n.Line, n.Column, n.Style
	at.quoted = n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
	d.places[path] = at
	fail := func(format string, args ...any) error {
		return &syntaxError{n.Line, n.Column, fmt.Sprintf(format, args...)}
	}
	if *nodes++; *nodes > maxNodes || depth > maxDepth {
		return nil, fail("at most %d values, nested at most %d deep", maxNodes, maxDepth)
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return nil, fail("anchors and aliases are not taken: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return nil, fail("tags are not taken")
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "" {
				return nil, &syntaxError{key.Line, key.Column, "a name must be a plain text"}
			}
			if _, twice := out[key.Value]; twice {
				return nil, &syntaxError{key.Line, key.Column, "the name occurs twice here"}
			}
			v, err := d.node(value, join2(path, key.Value), spot{keyLine: key.Line, keyColumn: key.Column}, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			out[key.Value] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := []any{}
		for i, child := range n.Content {
			v, err := d.node(child, path+"["+strconv.Itoa(i)+"]", spot{}, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.ScalarNode:
	case yaml.DocumentNode, yaml.AliasNode:
		return nil, fail("is no value")
	}
	switch n.Tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE", nil
	case "!!int":
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return nil, fail("write a whole number in decimal digits, at most 64 bits; anything else in quotes")
		}
		return v, nil
	case "!!float":
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fail("is no number that JSON has; write it in quotes")
		}
		return v, nil
	case "!!str", "!!timestamp":
		if strings.ContainsRune(n.Value, '\uFFFD') {
			return nil, fail("the text is not UTF-8")
		}
		return n.Value, nil
	}
	return nil, fail("a value must be a text, a number, true, false or null")
}

// find gives the place of a path, or of what is nearest around it.
func (d *document) find(path string) (at spot, exact bool) {
	for exact = true; ; exact = false {
		if at, ok := d.places[path]; ok {
			return at, exact
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return d.places[""], false
		}
		path = path[:cut]
	}
}

var inExpression = regexp.MustCompile(`^line (\d+), column (\d+): `)

// locate gives the place of a fault, of which the text may begin with a place in an expression, and the text without it.
func (d *document) locate(path, text string) (line, column int, rest string) {
	at, exact := d.find(path)
	line, column = at.line, at.column
	if strings.HasPrefix(text, "unknown field") && at.keyLine > 0 {
		return at.keyLine, at.keyColumn, text
	}
	m := inExpression.FindStringSubmatch(text)
	if m == nil || !exact {
		return line, column, text
	}
	rest = text[len(m[0]):]
	l, _ := strconv.Atoi(m[1]) // digits, by the pattern
	c, _ := strconv.Atoi(m[2])
	switch {
	case at.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		// The text begins on the next line; a folded one has lines of its own, of which only the first is where it says.
		first := d.line(at.line + 1)
		indent := len(first) - len(strings.TrimLeft(first, " "))
		if at.style&yaml.LiteralStyle != 0 || l == 1 {
			return at.line + l, indent + c, rest
		}
		return at.line + 1, indent + 1, rest
	case l == 1:
		if at.quoted {
			c++
		}
		return line, column + c - 1, rest
	}
	return line, column, rest
}

func (d *document) line(n int) string {
	lines := bytes.Split(d.text, []byte("\n"))
	if n < 1 || n > len(lines) {
		return ""
	}
	return string(lines[n-1])
}
