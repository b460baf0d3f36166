package calendartime

import (
	"strings"
	"sync"
)

//go:generate go run ../../../tools/zonetables zonetables.go

// WindowsZone returns the IANA name of a Windows zone such as "W. Europe Standard Time", in any case of letters: the
// one that CLDR gives for the territory 001, because a calendar does not say in which country it was written.
func WindowsZone(name string) (iana string, ok bool) {
	if iana, ok = windowsToIANA[name]; ok {
		return iana, true
	}
	iana, ok = foldedWindows()[strings.ToLower(name)]
	return iana, ok
}

// WindowsName returns the Windows name of an IANA zone, old names included. Several zones share one; there and back
// gives the main zone of the group.
func WindowsName(iana string) (windows string, ok bool) {
	windows, ok = ianaToWindows[iana]
	return windows, ok
}

var foldedWindows = sync.OnceValue(func() map[string]string {
	out := make(map[string]string, len(windowsToIANA))
	for name, iana := range windowsToIANA {
		out[strings.ToLower(name)] = iana
	}
	return out
})

// zoneSpellings maps IANA names in small letters to their spelling, for authors and systems that do not care.
var zoneSpellings = sync.OnceValue(func() map[string]string {
	out := make(map[string]string, len(ianaNames))
	for _, name := range ianaNames {
		out[strings.ToLower(name)] = name
	}
	return out
})

// displayNames are names that Windows shows to people and that old versions of Outlook and Exchange wrote into
// calendars, in small letters. CLDR does not have them.
var displayNames = map[string]string{
	"coordinated universal time":                                        "UTC",
	"(utc+00:00) dublin, edinburgh, lisbon, london":                     "Europe/London",
	"(gmt) greenwich mean time : dublin, edinburgh, lisbon, london":     "Europe/London",
	"greenwich mean time : dublin, edinburgh, lisbon, london":           "Europe/London",
	"(utc+01:00) amsterdam, berlin, bern, rome, stockholm, vienna":      "Europe/Berlin",
	"(gmt+01.00) amsterdam / berlin / bern / rome / stockholm / vienna": "Europe/Berlin",
	"amsterdam, berlin, bern, rome, stockholm, vienna":                  "Europe/Berlin",
	"amsterdam, berlin, bern, rom, stockholm, wien":                     "Europe/Berlin",
	"(utc+01:00) amsterdam, berlin, bern, rom, stockholm, wien":         "Europe/Berlin",
	"(utc+01:00) brussels, copenhagen, madrid, paris":                   "Europe/Paris",
	"(utc+01:00) belgrade, bratislava, budapest, ljubljana, prague":     "Europe/Budapest",
	"(utc+01:00) sarajevo, skopje, warsaw, zagreb":                      "Europe/Warsaw",
	"(utc+02:00) helsinki, kyiv, riga, sofia, tallinn, vilnius":         "Europe/Kiev",
	"(utc+02:00) athens, bucharest":                                     "Europe/Bucharest",
	"(utc+02:00) jerusalem":                                             "Asia/Jerusalem",
	"(utc+10:00) canberra, melbourne, sydney":                           "Australia/Sydney",
	"(utc+12:00) auckland, wellington":                                  "Pacific/Auckland",
	"(utc-04:00) atlantic time (canada)":                                "America/Halifax",
	"(utc-05:00) eastern time (us & canada)":                            "America/New_York",
	"(gmt-05.00) eastern time (us & canada)":                            "America/New_York",
	"eastern time (us & canada)":                                        "America/New_York",
	"(utc-06:00) central time (us & canada)":                            "America/Chicago",
	"central time (us & canada)":                                        "America/Chicago",
	"(utc-07:00) mountain time (us & canada)":                           "America/Denver",
	"mountain time (us & canada)":                                       "America/Denver",
	"(utc-08:00) pacific time (us & canada)":                            "America/Los_Angeles",
	"pacific time (us & canada)":                                        "America/Los_Angeles",
}
