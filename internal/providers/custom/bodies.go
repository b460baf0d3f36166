package custom

import (
	"mime"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxDelivery is the largest body that is converted, in bytes. The server's own limit is usually lower.
const maxDelivery = 4 << 20

// format is the notation of a body.
type format int

const (
	formatJSON format = iota
	formatForm
	formatXML
)

func (f format) String() string { return [...]string{"JSON", "form", "XML"}[f] }

const typeForm = "application/x-www-form-urlencoded"

// formatOf tells the notation of a media type without parameters. What is neither a form nor XML is JSON: systems send
// JSON under many names.
func formatOf(mediaType string) format {
	switch {
	case mediaType == typeForm:
		return formatForm
	case mediaType == "application/xml", mediaType == "text/xml", strings.HasSuffix(mediaType, "+xml"):
		return formatXML
	}
	return formatJSON
}

// formatFor chooses the notation of a delivery: by its Content-Type where content_types lists that, else by the first
// type listed. So a system that sends JSON under the name of a form needs no exception.
func (p *webhookPart) formatFor(contentType string) (format, error) {
	listed := p.intake.ContentTypes
	if len(listed) == 0 {
		return formatJSON, nil
	}
	f := formatOf(strings.ToLower(listed[0]))
	name, params, err := mime.ParseMediaType(contentType)
	if err == nil && slices.ContainsFunc(listed, func(l string) bool { return strings.EqualFold(l, name) }) {
		f = formatOf(name)
	}
	if charset := params["charset"]; f != formatJSON && charset != "" && !isUTF8(charset) {
		return f, domain.Invalid("body", "must be in UTF-8; its Content-Type names another charset")
	}
	return f, nil
}

// isUTF8 accepts ASCII as well, which is a part of it.
func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8") || strings.EqualFold(charset, "us-ascii")
}

// parseBody converts a body into the value that expressions see as body.
func parseBody(f format, b []byte) (v any, err error) {
	if len(b) > maxDelivery {
		return nil, domain.Invalid("body", "at most %d bytes, has %d", maxDelivery, len(b))
	}
	switch f {
	case formatForm:
		v, err = parseForm(b)
	case formatXML:
		v, err = parseXML(b)
	case formatJSON:
		v, err = parseJSON(b)
	}
	if err != nil {
		return nil, domain.Invalid("body", "%s", err)
	}
	return v, nil
}
