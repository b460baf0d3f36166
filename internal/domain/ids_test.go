package domain

import (
	"strings"
	"testing"
)

func TestOnlyCanonicalUUIDsAreRead(t *testing.T) {
	t.Parallel()
	const good = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
	if b, ok := ParseUUID(good); !ok || FormatUUID(b) != good {
		t.Errorf("%s is read as %x, %v", good, b, ok)
	}
	for _, s := range []string{
		"", good[:35], good + "0", strings.ToUpper(good), "{" + good[1:35] + "}", strings.ReplaceAll(good, "-", "0"),
		"00000000-0000-0000-0000-000000-00000", "-0000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000-",
		"00000000--000-0000-0000-000000000000", "0000000--0000-0000-0000-000000000000", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5g",
	} {
		if b, ok := ParseUUID(s); ok || b != [16]byte{} {
			t.Errorf("%q is taken for a UUID", s)
		}
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
	f.Add("00000000-0000-0000-0000-000000-00000")
	f.Fuzz(func(t *testing.T, s string) {
		if b, ok := ParseUUID(s); ok && FormatUUID(b) != s {
			t.Errorf("%q is read as %x", s, b)
		}
	})
}
