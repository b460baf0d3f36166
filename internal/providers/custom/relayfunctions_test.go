package custom

import (
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// shown is a value as an expression would see it.
func shown(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Timestamp:
		return "at " + v.UTC().Format(time.RFC3339)
	case *types.Err:
		return "error"
	}
	return "something else"
}

func TestTimesAreReadInUsualNotations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2027-06-05": "2027-06-05", "2027-06-05T14:00": "2027-06-05T14:00", "2027-06-05 14:00:30": "2027-06-05T14:00:30", " 2027-06-05T14:00:00.000Z ": "2027-06-05T14:00:00Z",
		"2027-06-05T14:00:00+0200": "2027-06-05T14:00:00+02:00", "6/5/2027": "2027-06-05", "06/05/27": "2027-06-05", "6.5.2027": "2027-06-05", "6-5-2027": "2027-06-05",
		"June 5, 2027": "2027-06-05", "Jun 5 2027": "2027-06-05", "june 5th, 2027": "2027-06-05", "Saturday, June 5, 2027": "2027-06-05", "5 June 2027": "2027-06-05", "Sat 5 Jun 2027": "2027-06-05",
		"6/5/2027 3:00 PM": "2027-06-05T15:00", "6/5/2027 3 pm": "2027-06-05T15:00", "June 5, 2027 at 12:30 AM": "2027-06-05T00:30", "5 June 2027, 15:00": "2027-06-05T15:00",
		"2027-06-05 3:00 PM": "2027-06-05T15:00", "6/5/2027 12 PM": "2027-06-05T12:00", "": "", "  ": "",
		"13/5/2027": "error", "2027-02-30": "error", "2/30/2027": "error", "June 2027": "error", "5": "error", "tomorrow": "error", "6/5/2027 25:00": "error", "6/5/2027 13:00 PM": "error",
		"6/5/2027 15": "error", "Juno 5, 2027": "error", strings.Repeat("6", 100): "error",
	} {
		if got := shown(readTime(types.String(text), "MDY")); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if got := shown(readTime(types.String("5/6/2027"), "DMY")); got != "2027-06-05" {
		t.Errorf("the day first: %s", got)
	}
	for _, bad := range []ref.Val{types.String(""), types.String("5/6/2027")} {
		if got := shown(readTime(bad, "YMD")); got != "error" {
			t.Errorf("an unknown order gives %s", got)
		}
	}
	if got := shown(readTime(types.Timestamp{Time: time.Date(2027, 6, 5, 14, 0, 0, 0, time.UTC)}, "MDY")); got != "2027-06-05T14:00:00Z" {
		t.Errorf("a timestamp: %s", got)
	}
}

func TestDaysStayThoseThatWereWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"6/5/2027": "2027-06-06", "2027-06-05T00:00:00Z": "2027-06-06", "2027-06-05T00:00:00-07:00": "2027-06-06", "2027-06-05T23:59": "2027-06-06",
		"2027-06-04T23:00:00Z": "at 2027-06-05T23:00:00Z", "": "", "soon": "error",
	} {
		if got := shown(readDay(types.String(text), "MDY", 1)); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if got := shown(readDay(types.String("6/5/2027"), "MDY", 50_000)); got != "error" {
		t.Errorf("many days later: %s", got)
	}
}

func TestTextsAndDigests(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]ref.Val{"x": types.String(" x\n"), "7": types.Int(7), "true": types.True, "error": types.NewDynamicList(types.DefaultTypeAdapter, []any{1})} {
		if got := shown(asText(v)); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for name, v := range map[string]ref.Val{"null": types.NullValue, "no optional": types.OptionalNone} {
		if got := shown(asText(v)); got != "" {
			t.Errorf("%s is %q", name, got)
		}
	}
	one, same, other := shown(digest("a")), shown(digest("a")), shown(digest("b"))
	if len(one) != 32 || one != same || one == other {
		t.Errorf("digests %s, %s and %s", one, same, other)
	}
}

// FuzzReadTime checks that whatever is read is what start and end understand.
func FuzzReadTime(f *testing.F) {
	for _, seed := range []string{"", "2027-06-05", "6/5/2027 3:00 PM", "Saturday, June 5, 2027 at 12 AM", "2027-06-05T14:00:00.000+0200", "99/99/99", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, order := range []string{"MDY", "DMY"} {
			got, ok := readTime(types.String(text), order).(types.String)
			if !ok || got == "" {
				continue
			}
			if m, err := readTimeText("start", string(got)); err != nil && m.wall.Year >= 1900 && m.wall.Year <= 2999 {
				t.Errorf("%q is read as %q, which is not understood: %v", text, got, err)
			}
			if day, is := readDay(types.String(text), order, 0).(types.String); is {
				if _, err := readTimeText("start", string(day)); err != nil && !strings.Contains(err.Error(), "years") {
					t.Errorf("%q is the day %q, which is not understood: %v", text, day, err)
				}
			}
		}
	})
}
