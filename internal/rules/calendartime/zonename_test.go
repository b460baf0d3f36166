package calendartime_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// windowsNames reads the names from the generated table, so that a test need not have a list of its own.
func windowsNames(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("zonetables.go")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)var windowsToIANA = .*?\n}`).Find(source)
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t"([^"]+)":\s+"([^"]+)",$`).FindAllStringSubmatch(string(table), -1) {
		out[m[1]] = m[2]
	}
	if len(out) < 130 {
		t.Fatalf("only %d Windows names", len(out))
	}
	return out
}

func TestEveryWindowsNameLeadsToAZoneAndBack(t *testing.T) {
	t.Parallel()
	for name, iana := range windowsNames(t) {
		if got, ok := calendartime.WindowsZone(name); !ok || got != iana {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
		if _, err := calendartime.LoadZone(iana); err != nil {
			t.Errorf("%s: %s: %v", name, iana, err)
		}
		if back, ok := calendartime.WindowsName(iana); !ok || back != name {
			t.Errorf("%s: %s leads back to %q", name, iana, back)
		}
	}
	if calendartime.CLDRVersion == "" || calendartime.TableZonesVersion == "" {
		t.Error("the versions of the tables are not recorded")
	}
}

func TestNewerNamesOfAZoneHaveAWindowsNameToo(t *testing.T) {
	t.Parallel()
	for iana, want := range map[string]string{
		"Asia/Kolkata": "India Standard Time", "Europe/Kyiv": "FLE Standard Time", "Europe/Amsterdam": "W. Europe Standard Time",
		"America/Argentina/Buenos_Aires": "Argentina Standard Time", "UTC": "UTC", "US/Eastern": "Eastern Standard Time",
	} {
		if got, ok := calendartime.WindowsName(iana); !ok || got != want {
			t.Errorf("%s: %q, want %q", iana, got, want)
		}
	}
	if got, ok := calendartime.WindowsName("Mars/Olympus"); ok {
		t.Errorf("Mars has the Windows name %q", got)
	}
}

func TestZoneIsResolvedFromEveryNameInUse(t *testing.T) {
	t.Parallel()
	summer := time.Date(2027, 7, 1, 12, 0, 0, 0, time.UTC)
	for written, want := range map[string]struct{ name, offset string }{
		"Europe/Berlin":           {"Europe/Berlin", "+02:00"},
		`"Europe/Berlin"`:         {"Europe/Berlin", "+02:00"},
		"europe/berlin":           {"Europe/Berlin", "+02:00"},
		"America/Indiana/Knox":    {"America/Indiana/Knox", "-05:00"},
		"W. Europe Standard Time": {"Europe/Berlin", "+02:00"},
		"w. europe standard time": {"Europe/Berlin", "+02:00"},
		"UTC-08":                  {"Etc/GMT+8", "-08:00"},
		"(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna": {"Europe/Berlin", "+02:00"},
		"/freeassociation.sourceforge.net/Europe/Berlin":               {"Europe/Berlin", "+02:00"},
		"/freeassociation.sourceforge.net/Tzfile/Europe/Berlin":        {"Europe/Berlin", "+02:00"},
		"/mozilla.org/20050126_1/America/Indiana/Knox":                 {"America/Indiana/Knox", "-05:00"},
		"/softwarestudio.org/Olson_20011030_5/America/Chicago":         {"America/Chicago", "-05:00"},
		"/example.org/UTC":         {"UTC", "Z"},
		"UTC":                      {"UTC", "Z"},
		"Z":                        {"", ""},
		"UTC+02:00":                {"Etc/GMT-2", "+02:00"},
		"GMT-0500":                 {"Etc/GMT+5", "-05:00"},
		"GMT+1":                    {"Etc/GMT-1", "+01:00"},
		"+05:30":                   {"UTC", "+05:30"},
		"UTC-03:30":                {"UTC", "-03:30"},
		"UTC-13":                   {"UTC", "-13:00"},
		"UTC+00:00":                {"UTC", "Z"},
		"UTC+15:00":                {"", ""},
		"UTC+02:60":                {"", ""},
		"tzone://Microsoft/Custom": {"", ""},
		"Customized Time Zone":     {"", ""},
		"Local":                    {"", ""},
		"/etc/localtime":           {"", ""},
		"../../etc/passwd":         {"", ""},
		"":                         {"", ""},
	} {
		z, err := calendartime.ResolveZoneName(written)
		if want.name == "" {
			if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "tzid" {
				t.Errorf("%q: %+v, %v; want KindInvalid on tzid", written, z, err)
			}
			continue
		}
		if err != nil || z.Name != want.name || z.Written != written || summer.In(z.Loc).Format("Z07:00") != want.offset {
			t.Errorf("%q: %+v, %v; want %s at %s", written, z, err, want.name, want.offset)
		}
	}
}

func TestZoneDataHasOneVersion(t *testing.T) {
	t.Parallel()
	v := calendartime.ZoneDataVersion()
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(v) || v != calendartime.ZoneDataVersion() {
		t.Errorf("version %q", v)
	}
}
