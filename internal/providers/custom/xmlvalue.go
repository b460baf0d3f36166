package custom

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of an XML body beyond those of JSON.
const (
	maxXMLElements   = 50_000
	maxXMLAttributes = 100 // of one element
)

// parseXML reads one XML document into nested maps. The result has one member, the root element. An element is always a
// map, also when it holds only text, so that its shape does not depend on the data:
//
//	attributes under "@name", text under "#text", child elements under their names
//
// An element that occurs again beside another of its name makes a list of both. Namespaces are dropped and names are the
// local ones. Text is what stands directly in the element, all pieces joined, without white space around it; if nothing
// is left there is no "#text".
//
// Entities other than the five of XML, document types, and encodings other than UTF-8 are refused. So are two
// attributes that are one without their namespaces. Errors hold a position and never a piece of the text.
func parseXML(b []byte) (any, error) {
	p := xmlParser{d: xml.NewDecoder(bytes.NewReader(b))}
	p.d.Strict = true
	p.d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errCharset }
	doc := map[string]any{}
	var root string
	for {
		token, err := p.d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, p.wrong(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if root != "" {
				return nil, p.fail("a second element beside the root")
			}
			root = t.Name.Local
			v, err := p.element(t, 1)
			if err != nil {
				return nil, err
			}
			doc[root] = v
		case xml.EndElement:
			return nil, p.fail("an end without a begin")
		case xml.CharData:
			if len(bytes.TrimSpace(bytes.TrimPrefix(t, []byte("\ufeff")))) > 0 {
				return nil, p.fail("text outside of the root element")
			}
		case xml.Directive:
			return nil, p.fail("document types and other declarations are not accepted")
		}
	}
	if root == "" {
		return nil, p.fail("no element")
	}
	return doc, nil
}

var errCharset = errors.New("the encoding must be UTF-8")

type xmlParser struct {
	d        *xml.Decoder
	elements int
}

func (p *xmlParser) fail(reason string) error {
	return &jsonError{offset: int(p.d.InputOffset()), reason: reason}
}

// wrong leaves out what the library says, which may quote the text.
func (p *xmlParser) wrong(err error) error {
	if errors.Is(err, errCharset) || strings.Contains(err.Error(), "encoding") {
		return p.fail(errCharset.Error())
	}
	return p.fail("not well-formed XML")
}

// element reads up to the end of an element that has begun.
func (p *xmlParser) element(start xml.StartElement, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, p.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	if p.elements++; p.elements > maxXMLElements {
		return nil, p.fail(fmt.Sprintf("more than %d elements", maxXMLElements))
	}
	if len(start.Attr) > maxXMLAttributes {
		return nil, p.fail(fmt.Sprintf("more than %d attributes", maxXMLAttributes))
	}
	// The reader reuses its memory for text, but names are strings of their own.
	out := make(map[string]any, len(start.Attr))
	for _, a := range start.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		name := "@" + a.Name.Local
		if _, twice := out[name]; twice {
			return nil, p.fail("an attribute occurs twice in one element")
		}
		out[name] = a.Value
	}
	var text []byte
	for {
		token, err := p.d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil, p.fail("the XML text ends inside an element")
		}
		if err != nil {
			return nil, p.wrong(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			v, err := p.element(t, depth+1)
			if err != nil {
				return nil, err
			}
			switch had := out[t.Name.Local].(type) {
			case nil:
				out[t.Name.Local] = v
			case []any:
				out[t.Name.Local] = append(had, v)
			default:
				out[t.Name.Local] = []any{had, v}
			}
		case xml.EndElement:
			if t.Name != start.Name {
				return nil, p.fail("an element ends under another name")
			}
			if trimmed := strings.TrimSpace(string(text)); trimmed != "" {
				out["#text"] = trimmed
			}
			return out, nil
		case xml.CharData:
			text = append(text, t...)
		case xml.Directive:
			return nil, p.fail("document types and other declarations are not accepted")
		}
	}
}
