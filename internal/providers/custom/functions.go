package custom

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// maxText is the longest text, in bytes, that a function of an expression gives. CEL counts the cost of a call only
// after it was made, so a call that multiplies its input must be bounded by itself.
const maxText = 64 << 10

// maxParts is the most parts that split gives.
const maxParts = 10_000

// functions are what expressions can call beside the standard ones of CEL. The text functions have the names and
// meaning of the usual CEL string extension, as far as they go, and are bounded.
func functions() []cel.EnvOption {
	text, list, num := cel.StringType, cel.ListType(cel.StringType), cel.IntType
	member := func(name string, args []*cel.Type, result *cel.Type, f func([]ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("wedsync_"+name+fmt.Sprint(len(args)), args, result,
			cel.FunctionBinding(func(vals ...ref.Val) ref.Val { return f(vals) })))
	}
	global := func(name string, args []*cel.Type, result *cel.Type, f func([]ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload("wedsync_"+name+fmt.Sprint(len(args)), args, result,
			cel.FunctionBinding(func(vals ...ref.Val) ref.Val { return f(vals) })))
	}
	return []cel.EnvOption{
		member("lowerAscii", []*cel.Type{text}, text, func(a []ref.Val) ref.Val { return bounded(asciiCase(str(a[0]), 'A', 'Z', 32)) }),
		member("upperAscii", []*cel.Type{text}, text, func(a []ref.Val) ref.Val { return bounded(asciiCase(str(a[0]), 'a', 'z', -32)) }),
		member("trim", []*cel.Type{text}, text, func(a []ref.Val) ref.Val { return types.String(strings.TrimSpace(str(a[0]))) }),
		member("replace", []*cel.Type{text, text, text}, text, func(a []ref.Val) ref.Val { return replace(str(a[0]), str(a[1]), str(a[2])) }),
		member("split", []*cel.Type{text, text}, list, func(a []ref.Val) ref.Val { return split(str(a[0]), str(a[1])) }),
		member("join", []*cel.Type{list, text}, text, func(a []ref.Val) ref.Val { return join(a[0], str(a[1])) }),
		member("indexOf", []*cel.Type{text, text}, num, func(a []ref.Val) ref.Val { return indexOf(str(a[0]), str(a[1])) }),
		member("substring", []*cel.Type{text, num}, text, func(a []ref.Val) ref.Val { return substring(str(a[0]), whole(a[1]), -1) }),
		member("substring", []*cel.Type{text, num, num}, text, func(a []ref.Val) ref.Val {
			if whole(a[2]) < 0 {
				return types.NewErr("substring: end before the text")
			}
			return substring(str(a[0]), whole(a[1]), whole(a[2]))
		}),
		global("truncate", []*cel.Type{text, num}, text, func(a []ref.Val) ref.Val { return truncate(str(a[0]), whole(a[1])) }),
		global("parse_time", []*cel.Type{text, text}, text, func(a []ref.Val) ref.Val { return parseTime(str(a[0]), str(a[1])) }),
		global("add_days", []*cel.Type{text, num}, text, func(a []ref.Val) ref.Val { return addDays(str(a[0]), whole(a[1])) }),
		global("as_list", []*cel.Type{cel.DynType}, cel.ListType(cel.DynType), func(a []ref.Val) ref.Val { return asList(a[0]) }),
		global("unix_ms", []*cel.Type{cel.TimestampType}, num, func(a []ref.Val) ref.Val {
			t, _ := a[0].(types.Timestamp)
			return types.Int(t.UnixMilli())
		}),
		global("from_unix_ms", []*cel.Type{num}, cel.TimestampType, func(a []ref.Val) ref.Val {
			ms := whole(a[0])
			if ms < 0 || ms > maxUnixMilli {
				return types.NewErr("from_unix_ms: outside 1970 to 9999")
			}
			return types.Timestamp{Time: time.UnixMilli(ms).UTC()}
		}),
	}
}

// asList makes a list of one value, so that an element or field that may be repeated is always a list.
func asList(v ref.Val) ref.Val {
	if v = present(v); v == nil {
		return types.NewDynamicList(types.DefaultTypeAdapter, []any{})
	}
	if list, ok := v.(traits.Lister); ok {
		return list
	}
	return types.NewRefValList(types.DefaultTypeAdapter, []ref.Val{v})
}

// maxUnixMilli is the last millisecond of the year 9999.
const maxUnixMilli = 253402300799999

// The checker proves the argument types, except where a value is dynamic; there cel-go matches the overload at run
// time by these same types before it calls.
func str(v ref.Val) string  { s, _ := v.(types.String); return string(s) }
func whole(v ref.Val) int64 { n, _ := v.(types.Int); return int64(n) }

func bounded(s string) ref.Val {
	if len(s) > maxText {
		return types.NewErr("text of more than %d bytes", maxText)
	}
	return types.String(s)
}

func asciiCase(s string, from, to byte, shift int) string {
	b := []byte(s)
	for i, c := range b {
		if c >= from && c <= to {
			b[i] = byte(int(c) + shift)
		}
	}
	return string(b)
}

func replace(s, old, with string) ref.Val {
	if n := strings.Count(s, old); len(s)+n*(len(with)-len(old)) > maxText {
		return types.NewErr("text of more than %d bytes", maxText)
	}
	return types.String(strings.ReplaceAll(s, old, with))
}

func split(s, sep string) ref.Val {
	n := strings.Count(s, sep) + 1
	if sep == "" {
		n = utf8.RuneCountInString(s)
	}
	if n > maxParts {
		return types.NewErr("split: more than %d parts", maxParts)
	}
	return types.NewStringList(types.DefaultTypeAdapter, strings.Split(s, sep))
}

func join(v ref.Val, sep string) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		return types.NewErr("join: not a list")
	}
	var b strings.Builder
	for i, it := 0, list.Iterator(); it.HasNext() == types.True; i++ {
		part, ok := it.Next().(types.String)
		if !ok {
			return types.NewErr("join: not a list of texts")
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(string(part))
		if b.Len() > maxText {
			return types.NewErr("text of more than %d bytes", maxText)
		}
	}
	return types.String(b.String())
}

// indexOf counts in characters, as substring does.
func indexOf(s, part string) ref.Val {
	i := strings.Index(s, part)
	if i < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:i]))
}

// substring counts in characters; end -1 is the end of the text.
func substring(s string, from, end int64) ref.Val {
	at, begin, stop := int64(0), -1, -1
	for i := range s {
		if at == from {
			begin = i
		}
		if at == end {
			stop = i
		}
		at++
	}
	if from == at {
		begin = len(s)
	}
	if end < 0 || end == at {
		stop = len(s)
	}
	if begin < 0 || stop < 0 || begin > stop {
		return types.NewErr("substring: outside the text")
	}
	return types.String(s[begin:stop])
}

// truncate cuts to at most n bytes and never inside a character.
func truncate(s string, n int64) ref.Val {
	if n < 0 {
		return types.NewErr("truncate: negative length")
	}
	if int64(len(s)) <= n {
		return types.String(s)
	}
	cut := int(n)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return types.String(s[:cut])
}

// layoutWords are the parts of a parse_time layout, longer ones first where one begins another.
var layoutWords = []struct{ word, layout string }{
	{"YYYY", "2006"}, {"YY", "06"}, {"MMMM", "January"}, {"MMM", "Jan"}, {"MM", "01"}, {"M", "1"},
	{"DD", "02"}, {"D", "2"}, {"HH", "15"}, {"hh", "03"}, {"h", "3"}, {"mm", "04"}, {"ss", "05"},
	{"A", "PM"}, {"Z", "Z07:00"},
}

// layout is a parse_time layout made ready.
type layout struct {
	text              string
	hasTime, hasZone  bool
	day, month, years bool
}

// readLayout understands words such as YYYY-MM-DD; everything else stands for itself. A letter that is no word is an
// error, since it would silently be taken literally; text in [brackets] is literal.
func readLayout(s string) (layout, error) {
	var l layout
	var b strings.Builder
next:
	for len(s) > 0 {
		if s[0] == '[' {
			if literal, rest, ok := strings.Cut(s[1:], "]"); ok {
				b.WriteString(literal)
				s = rest
				continue
			}
		}
		for _, w := range layoutWords {
			if strings.HasPrefix(s, w.word) {
				b.WriteString(w.layout)
				l.note(w.word)
				s = s[len(w.word):]
				continue next
			}
		}
		if c := s[0]; c >= 'a' && c <= 'z' && c != 'T' || c >= 'A' && c <= 'Z' && c != 'T' || c >= '0' && c <= '9' {
			return l, fmt.Errorf("layout: %q is none of YYYY YY MMMM MMM MM M DD D HH hh h mm ss A Z T", c)
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	if !l.day || !l.month || !l.years {
		return l, fmt.Errorf("layout: needs a day, a month and a year")
	}
	l.text = b.String()
	return l, nil
}

func (l *layout) note(word string) {
	switch word[0] {
	case 'Y':
		l.years = true
	case 'M':
		l.month = true
	case 'D':
		l.day = true
	case 'H', 'h', 'm', 's':
		l.hasTime = true
	case 'Z':
		l.hasZone = true
	}
}

// parseTime rewrites a date or time in another notation into the one that start and end understand.
func parseTime(s, words string) ref.Val {
	l, err := readLayout(words)
	if err != nil {
		return types.NewErr("parse_time: %s", err)
	}
	t, err := time.Parse(l.text, strings.TrimSpace(s))
	if err != nil || t.Year() < 1 {
		return types.NewErr("parse_time: the text does not have this layout")
	}
	switch {
	case l.hasZone:
		return types.String(t.Format(time.RFC3339))
	case l.hasTime:
		return types.String(t.Format("2006-01-02T15:04:05"))
	}
	return types.String(t.Format(time.DateOnly))
}

// addDays moves the date of a date or a local time; what follows the date stays.
func addDays(s string, n int64) ref.Val {
	if len(s) < len(time.DateOnly) || n < -40_000 || n > 40_000 {
		return types.NewErr("add_days: needs a date and at most 40000 days")
	}
	d, err := calendartime.ParseDate(s[:len(time.DateOnly)])
	if err != nil {
		return types.NewErr("add_days: not a date")
	}
	moved := d.AddDays(int(n))
	if moved.Year < 1 || moved.Year > 9999 {
		return types.NewErr("add_days: outside the years 1 to 9999")
	}
	return types.String(moved.String() + s[len(time.DateOnly):])
}
