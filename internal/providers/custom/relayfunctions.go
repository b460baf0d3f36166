package custom

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// relayFunctions are for posts that people put together by hand in a tool between two systems: every value may be missing,
// numbers come as texts, and dates in whatever notation the tool shows them.
func relayFunctions() []cel.EnvOption {
	one := func(name string, args []*cel.Type, result *cel.Type, f func([]ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.Overload("wedsync_"+name+strconv.Itoa(len(args)), args, result,
			cel.FunctionBinding(func(vals ...ref.Val) ref.Val { return f(vals) })))
	}
	text, dyn, num := cel.StringType, cel.DynType, cel.IntType
	return []cel.EnvOption{
		one("text", []*cel.Type{dyn}, text, func(a []ref.Val) ref.Val { return asText(a[0]) }),
		one("digest", []*cel.Type{text}, text, func(a []ref.Val) ref.Val { return digest(str(a[0])) }),
		one("read_time", []*cel.Type{dyn, text}, text, func(a []ref.Val) ref.Val { return readTime(a[0], str(a[1])) }),
		one("read_day", []*cel.Type{dyn, text}, dyn, func(a []ref.Val) ref.Val { return readDay(a[0], str(a[1]), 0) }),
		one("read_day", []*cel.Type{dyn, text, num}, dyn, func(a []ref.Val) ref.Val { return readDay(a[0], str(a[1]), whole(a[2])) }),
	}
}

// asText is a value as a text without white space around it, and empty where there is no value.
func asText(v ref.Val) ref.Val {
	switch v := present(v).(type) {
	case nil:
		return types.String("")
	case types.String:
		return types.String(strings.TrimSpace(string(v)))
	case types.Bool, types.Int, types.Uint, types.Double, types.Timestamp:
		return v.ConvertToType(types.StringType)
	default:
		return types.NewErr("text: the value is a list or an object")
	}
}

// digest makes an id of texts where a system has none: 32 hexadecimal digits of SHA-256. Who can guess the text can know
// it again, so it keeps names out of lists and logs, and keeps no secret.
func digest(s string) ref.Val {
	sum := sha256.Sum256([]byte(s))
	return types.String(hex.EncodeToString(sum[:16]))
}

// maxTimeText bounds what is read as a time, in bytes.
const maxTimeText = 60

var (
	isoTime   = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:[.,]\d+)?\s?([Zz]|[+-]\d{2}:?\d{2})?)?$`)
	numbers   = regexp.MustCompile(`^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})$`)
	monthDay  = regexp.MustCompile(`^(?:\pL+, )?(\pL+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})$`)
	dayMonth  = regexp.MustCompile(`^(?:\pL+,? )?(\d{1,2})(?:st|nd|rd|th)? (\pL+)\.?,? (\d{4})$`)
	clockTail = regexp.MustCompile(`^(.+?)(?:,| at|) +(\d{1,2})(?::(\d{2}))?(?::\d{2})? ?([AaPp])?\.?[Mm]?\.?$`)
)

// writtenTime is a time as it was written, part by part.
type writtenTime struct {
	date, clock, zone string // 2027-06-05, 15:00 or 15:00:00, Z or +02:00; clock and zone may be empty
}

// readUsual understands dates and times in the notations that people and tools use. order says which number of 6/5/2027 is
// the month, MDY or DMY; a year that comes first needs no telling.
func readUsual(s, order string) (writtenTime, string) {
	const none = "the text is no date or time in a usual notation"
	if order != "MDY" && order != "DMY" {
		return writtenTime{}, "the order must be MDY or DMY"
	}
	if len(s) > maxTimeText {
		return writtenTime{}, none
	}
	if m := isoTime.FindStringSubmatch(s); m != nil {
		if _, err := time.Parse(time.DateOnly, m[1]); err != nil {
			return writtenTime{}, none
		}
		zone := strings.ToUpper(m[3])
		if len(zone) == 5 {
			zone = zone[:3] + ":" + zone[3:]
		}
		return writtenTime{m[1], m[2], zone}, ""
	}
	date, ok := readUsualDate(s, order)
	if ok {
		return writtenTime{date: date}, ""
	}
	m := clockTail.FindStringSubmatch(s)
	if m == nil || m[3] == "" && m[4] == "" {
		return writtenTime{}, none
	}
	if date, ok = readUsualDate(m[1], order); !ok {
		if iso := isoTime.FindStringSubmatch(m[1]); iso == nil || iso[2] != "" {
			return writtenTime{}, none
		}
		date = m[1]
	}
	hour, _ := strconv.Atoi(m[2])
	minute := m[3]
	if minute == "" {
		minute = "00"
	}
	switch half := strings.ToUpper(m[4]); {
	case half != "" && (hour < 1 || hour > 12):
		return writtenTime{}, none
	case half == "P" && hour < 12:
		hour += 12
	case half == "A" && hour == 12:
		hour = 0
	}
	clock := strconv.Itoa(100 + hour)[1:] + ":" + minute
	if _, err := time.Parse("15:04", clock); err != nil {
		return writtenTime{}, none
	}
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return writtenTime{}, none
	}
	return writtenTime{date: date, clock: clock}, ""
}

// readUsualDate reads a date alone. A year of two digits is in this century.
func readUsualDate(s, order string) (string, bool) {
	var day, month, year string
	if m := numbers.FindStringSubmatch(s); m != nil {
		day, month, year = m[2], m[1], m[3]
		if order == "DMY" {
			day, month = month, day
		}
		if len(year) == 2 {
			year = "20" + year
		}
	} else if m := monthDay.FindStringSubmatch(s); m != nil {
		month, day, year = m[1], m[2], m[3]
	} else if m := dayMonth.FindStringSubmatch(s); m != nil {
		day, month, year = m[1], m[2], m[3]
	}
	for _, layout := range []string{"2 1 2006", "2 January 2006", "2 Jan 2006"} {
		if d, err := time.Parse(layout, day+" "+month+" "+year); err == nil && d.Year() > 0 {
			return d.Format(time.DateOnly), true
		}
	}
	return "", false
}

// readTime gives a date or a time in the notation that start and end understand, and an empty text for no value.
func readTime(v ref.Val, order string) ref.Val {
	t, reason := readWritten(v, order)
	switch {
	case reason != "":
		return types.NewErr("read_time: %s", reason)
	case t.clock == "":
		return types.String(t.date)
	}
	return types.String(t.date + "T" + t.clock + t.zone)
}

// readDay gives the day of an entry of whole days, later by n days. What is written without an offset, or as midnight with
// one, is the date as written. Another instant stays one: it is a day only if it is midnight where the resource is.
func readDay(v ref.Val, order string, n int64) ref.Val {
	t, reason := readWritten(v, order)
	switch {
	case reason != "":
		return types.NewErr("read_day: %s", reason)
	case n < -40_000 || n > 40_000:
		return types.NewErr("read_day: at most 40000 days")
	case t.date == "":
		return types.String("")
	case t.zone == "" || strings.Trim(t.clock, "0:") == "":
		return addDays(t.date, n)
	}
	clock := t.clock
	if len(clock) == len("15:04") {
		clock += ":00"
	}
	at, err := time.Parse(time.RFC3339, t.date+"T"+clock+t.zone)
	if err != nil {
		return types.NewErr("read_day: the text is no date or time in a usual notation")
	}
	return types.Timestamp{Time: at.UTC().AddDate(0, 0, int(n))}
}

func readWritten(v ref.Val, order string) (writtenTime, string) {
	if at, is := present(v).(types.Timestamp); is {
		v = types.String(at.UTC().Format(time.RFC3339))
	}
	s, is := asText(v).(types.String)
	if !is {
		return writtenTime{}, "the value is a list or an object"
	}
	if s == "" {
		if order != "MDY" && order != "DMY" {
			return writtenTime{}, "the order must be MDY or DMY"
		}
		return writtenTime{}, ""
	}
	return readUsual(string(s), order)
}
