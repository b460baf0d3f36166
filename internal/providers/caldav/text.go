package caldav

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a resource that is read. They are far above what calendars hold.
const (
	maxResource = 4 << 20 // bytes
	maxNesting  = 8       // components inside components
	maxParts    = 5000    // components of one resource
)

// parseCalendar reads a resource. The decoder recurses with the nesting and panics on some broken lines, so both are
// caught here.
func parseCalendar(raw []byte) (cal *ical.Calendar, err error) {
	if len(raw) > maxResource {
		return nil, domain.E(domain.KindTooLarge, "resource is larger than %d bytes", maxResource)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	depth, parts := 0, 0
	for line := range bytes.Lines(raw) {
		switch {
		case len(line) >= 6 && bytes.EqualFold(line[:6], []byte("BEGIN:")):
			depth++
			parts++
		case len(line) >= 4 && bytes.EqualFold(line[:4], []byte("END:")):
			depth--
		}
		if depth > maxNesting || parts > maxParts {
			return nil, domain.Invalid("calendar-data", "at most %d components, nested at most %d deep", maxParts, maxNesting)
		}
	}
	bad := domain.Invalid("calendar-data", "is not a calendar resource")
	defer func() {
		if recover() != nil {
			cal, err = nil, bad
		}
	}()
	cal, err = ical.NewDecoder(bytes.NewReader(raw)).Decode()
	if err != nil {
		return nil, bad
	}
	return cal, nil
}

// text reads a TEXT property. Backslashes before other characters and bare commas are common in the wild and are
// taken as they stand.
func text(comp *ical.Component, name string) string {
	p := comp.Props.Get(name)
	if p == nil {
		return ""
	}
	return clean(unescape(p.Value))
}

// texts reads all values of a property, such as CATEGORIES.
func texts(comp *ical.Component, name string) []string {
	var out []string
	for _, p := range comp.Props.Values(name) {
		out = append(out, clean(unescape(p.Value)))
	}
	return out
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n', 'N':
			b.WriteByte('\n')
		case '\\', ';', ',':
			b.WriteByte(s[i])
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// clean makes text that every system in between can keep: valid UTF-8, no control characters but line breaks and
// tabs, no white space around it.
func clean(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// cut shortens text to at most limit bytes, between characters.
func cut(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len(mark)]
	for len(s) > 0 {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return strings.TrimSpace(s) + mark
}

func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

// fold breaks content lines longer than 75 bytes, between characters.
func fold(raw []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		limit := 75
		for len(line) > limit {
			at := limit
			for at > 1 && !utf8.RuneStart(line[at]) {
				at--
			}
			b.Write(line[:at])
			b.WriteString("\r\n ")
			line, limit = line[at:], 74
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.Bytes()
}
