package scrape

import (
	"strings"
	"time"
	"unicode"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// tokens of formats, the longest first, with what package time calls them.
var tokens = []struct{ ours, theirs string }{
	{"YYYY", "2006"}, {"YY", "06"}, {"MMMM", "January"}, {"MMM", "Jan"}, {"MM", "01"}, {"M", "1"}, {"DD", "02"}, {"D", "2"},
	{"dddd", "Monday"}, {"ddd", "Mon"}, {"HH", "15"}, {"H", "15"}, {"hh", "03"}, {"h", "3"}, {"mm", "04"}, {"ss", "05"}, {"A", "PM"}, {"a", "pm"}, {"Z", "Z07:00"},
}

// layout turns a format such as DD/MM/YYYY HH:mm into one of package time. Letters that are no token stand in brackets, such
// as YYYY-MM-DD[T]HH:mm.
func layout(path, format string) (string, error) {
	if err := text(path, format, 1, 60); err != nil {
		return "", err
	}
	var b strings.Builder
next:
	for rest := format; rest != ""; {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 0 || strings.ContainsFunc(rest[1:end], func(r rune) bool { return unicode.IsDigit(r) || r == '_' }) {
				return "", domain.Invalid(path, "has a bracket that is not closed, or digits in brackets")
			}
			for _, word := range []string{"Jan", "Mon", "MST", "PM", "pm"} { // they mean something to package time
				if strings.Contains(rest[1:end], word) {
					return "", domain.Invalid(path, "must not have %s in brackets", word)
				}
			}
			b.WriteString(rest[1:end])
			rest = rest[end+1:]
			continue
		}
		for _, t := range tokens {
			if strings.HasPrefix(rest, t.ours) {
				b.WriteString(t.theirs)
				rest = rest[len(t.ours):]
				continue next
			}
		}
		if c := rest[0]; !strings.ContainsRune(" /-.,:", rune(c)) {
			return "", domain.Invalid(path, "may hold YYYY YY MMMM MMM MM M DD D dddd ddd HH H hh h mm ss A a Z, blanks and /-.,: and other letters in [brackets]")
		}
		b.WriteByte(rest[0])
		rest = rest[1:]
	}
	return b.String(), nil
}

// squeeze makes one blank of many, and none at the ends. No-break blanks count.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// read turns what stands in a page into a value. why says what is wrong with it, without repeating it.
func (f *field) read(raw string, zone *time.Location) (value, why string) {
	raw = squeeze(raw)
	if f.pattern != nil {
		m := f.pattern.FindStringSubmatch(raw)
		switch {
		case m == nil:
			return "", "does not fit the pattern"
		case len(m) > 1:
			raw = squeeze(m[1])
		default:
			raw = squeeze(m[0])
		}
	}
	if f.mapped != nil {
		to, known := f.mapped[strings.ToLower(raw)]
		if known {
			raw = to
		} else if raw != "" && f.Type == TypeText {
			return "", "is not among the mapped values"
		}
	}
	if raw == "" {
		return "", ""
	}
	switch f.Type {
	case TypeNumber:
		return number(raw)
	case TypeDate, TypeTime, TypeDateTime:
		for _, l := range f.layouts {
			if out, ok := moment(f.Type, l, raw, zone); ok {
				return out, ""
			}
		}
		return "", "fits none of the formats"
	case TypeText:
	}
	return raw, ""
}

// moment reads a date or time in one layout.
func moment(kind Type, layout, raw string, zone *time.Location) (string, bool) {
	t, err := time.Parse(layout, raw)
	if err != nil {
		return "", false
	}
	switch kind {
	case TypeDate:
		return t.Format(time.DateOnly), true
	case TypeTime:
		return t.Format("15:04"), true
	}
	if strings.Contains(layout, "Z07:00") {
		return t.UTC().Format(time.RFC3339), true
	}
	wall := calendartime.WallOf(t, time.UTC)
	return calendartime.Resolve(wall, zone).UTC().Format(time.RFC3339), true
}

// number reads digits with at most one sign; blanks, commas and apostrophes between thousands are left out. A point ends
// the whole part.
func number(raw string) (string, string) {
	const not = "is no number"
	var b strings.Builder
	point := false
	for i, r := range raw {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '-' && i == 0:
			b.WriteRune(r)
		case r == '.' && !point && b.Len() > 0:
			point = true
			b.WriteRune(r)
		case strings.ContainsRune(" ,'’", r) && !point && b.Len() > 0:
		default:
			return "", not
		}
	}
	if out := strings.TrimSuffix(b.String(), "."); out != "" && out != "-" && len(out) <= 30 {
		return out, ""
	}
	return "", not
}
