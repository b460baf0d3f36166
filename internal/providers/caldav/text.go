package caldav

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Bounds of a resource that is read. They are far above what calendars hold.
const (
	maxResource = 4 << 20 // bytes
	maxParts    = 5000    // components of one resource
)

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
