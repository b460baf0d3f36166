package caldav

import (
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// zone is a TZID resolved. name is the IANA name, or "UTC" for a zone that only the resource itself defines: its
// instants are right, but nobody else knows the name.
type zone struct {
	name string
	loc  *time.Location
}

// zoneSet resolves the TZIDs of one resource.
type zoneSet struct {
	embedded map[string]*ical.Component // VTIMEZONE by TZID
	known    map[string]zone
}

func newZoneSet(cal *ical.Calendar) *zoneSet {
	z := &zoneSet{embedded: map[string]*ical.Component{}, known: map[string]zone{}}
	for _, comp := range cal.Children {
		if comp.Name == ical.CompTimezone {
			if p := comp.Props.Get(ical.PropTimezoneID); p != nil {
				z.embedded[p.Value] = comp
			}
		}
	}
	return z
}

// resolve reads a TZID: an IANA name, a Windows name, a name behind a vendor's prefix
// ("/example.org/20250101/Europe/London"), or one whose rules the resource carries itself. Names come first because
// the rules that programs embed are often those of one year only.
func (z *zoneSet) resolve(tzid string) (zone, error) {
	if known, ok := z.known[tzid]; ok {
		return known, nil
	}
	found, err := z.find(tzid)
	if err != nil {
		return zone{}, err
	}
	z.known[tzid] = found
	return found, nil
}

func (z *zoneSet) find(tzid string) (zone, error) {
	name := strings.Trim(tzid, "\" ")
	if loc, err := calendartime.LoadZone(name); err == nil {
		return zone{name, loc}, nil
	}
	if iana, ok := windowsZones[name]; ok {
		if loc, err := calendartime.LoadZone(iana); err == nil {
			return zone{iana, loc}, nil
		}
	}
	parts := strings.Split(strings.Trim(name, "/"), "/")
	for n := 3; n >= 2; n-- { // America/Indiana/Knox, Europe/London
		if len(parts) > n {
			tail := strings.Join(parts[len(parts)-n:], "/")
			if loc, err := calendartime.LoadZone(tail); err == nil {
				return zone{tail, loc}, nil
			}
		}
	}
	if comp, ok := z.embedded[tzid]; ok {
		loc, err := embeddedZone(comp)
		if err != nil {
			return zone{}, err
		}
		return zone{"UTC", loc}, nil
	}
	return zone{}, domain.Invalid("tzid", "names a time zone that is neither in the IANA database nor defined by the resource")
}

// windowsZones maps the Windows names in use to the IANA zone of their main territory, after the CLDR table
// windowsZones (territory 001). Old display names that Outlook wrote into files are at the end.
var windowsZones = map[string]string{
	"Dateline Standard Time":          "Etc/GMT+12",
	"UTC-11":                          "Etc/GMT+11",
	"Hawaiian Standard Time":          "Pacific/Honolulu",
	"Alaskan Standard Time":           "America/Anchorage",
	"Pacific Standard Time":           "America/Los_Angeles",
	"Pacific Standard Time (Mexico)":  "America/Tijuana",
	"US Mountain Standard Time":       "America/Phoenix",
	"Mountain Standard Time":          "America/Denver",
	"Mountain Standard Time (Mexico)": "America/Mazatlan",
	"Central America Standard Time":   "America/Guatemala",
	"Central Standard Time":           "America/Chicago",
	"Central Standard Time (Mexico)":  "America/Mexico_City",
	"Canada Central Standard Time":    "America/Regina",
	"SA Pacific Standard Time":        "America/Bogota",
	"Eastern Standard Time":           "America/New_York",
	"US Eastern Standard Time":        "America/Indianapolis",
	"Atlantic Standard Time":          "America/Halifax",
	"Venezuela Standard Time":         "America/Caracas",
	"SA Western Standard Time":        "America/La_Paz",
	"Pacific SA Standard Time":        "America/Santiago",
	"Newfoundland Standard Time":      "America/St_Johns",
	"E. South America Standard Time":  "America/Sao_Paulo",
	"Argentina Standard Time":         "America/Buenos_Aires",
	"SA Eastern Standard Time":        "America/Cayenne",
	"Greenland Standard Time":         "America/Godthab",
	"Montevideo Standard Time":        "America/Montevideo",
	"UTC-02":                          "Etc/GMT+2",
	"Azores Standard Time":            "Atlantic/Azores",
	"Cape Verde Standard Time":        "Atlantic/Cape_Verde",
	"Coordinated Universal Time":      "UTC",
	"GMT Standard Time":               "Europe/London",
	"Greenwich Standard Time":         "Atlantic/Reykjavik",
	"Morocco Standard Time":           "Africa/Casablanca",
	"W. Europe Standard Time":         "Europe/Berlin",
	"Central Europe Standard Time":    "Europe/Budapest",
	"Romance Standard Time":           "Europe/Paris",
	"Central European Standard Time":  "Europe/Warsaw",
	"W. Central Africa Standard Time": "Africa/Lagos",
	"GTB Standard Time":               "Europe/Bucharest",
	"E. Europe Standard Time":         "Europe/Chisinau",
	"FLE Standard Time":               "Europe/Kiev",
	"Kaliningrad Standard Time":       "Europe/Kaliningrad",
	"Egypt Standard Time":             "Africa/Cairo",
	"South Africa Standard Time":      "Africa/Johannesburg",
	"Israel Standard Time":            "Asia/Jerusalem",
	"Middle East Standard Time":       "Asia/Beirut",
	"Turkey Standard Time":            "Europe/Istanbul",
	"Arab Standard Time":              "Asia/Riyadh",
	"Arabic Standard Time":            "Asia/Baghdad",
	"Russian Standard Time":           "Europe/Moscow",
	"Belarus Standard Time":           "Europe/Minsk",
	"E. Africa Standard Time":         "Africa/Nairobi",
	"Iran Standard Time":              "Asia/Tehran",
	"Arabian Standard Time":           "Asia/Dubai",
	"Azerbaijan Standard Time":        "Asia/Baku",
	"Georgian Standard Time":          "Asia/Tbilisi",
	"Caucasus Standard Time":          "Asia/Yerevan",
	"Afghanistan Standard Time":       "Asia/Kabul",
	"West Asia Standard Time":         "Asia/Tashkent",
	"Pakistan Standard Time":          "Asia/Karachi",
	"India Standard Time":             "Asia/Calcutta",
	"Sri Lanka Standard Time":         "Asia/Colombo",
	"Nepal Standard Time":             "Asia/Katmandu",
	"Bangladesh Standard Time":        "Asia/Dhaka",
	"Myanmar Standard Time":           "Asia/Rangoon",
	"SE Asia Standard Time":           "Asia/Bangkok",
	"China Standard Time":             "Asia/Shanghai",
	"Singapore Standard Time":         "Asia/Singapore",
	"Taipei Standard Time":            "Asia/Taipei",
	"W. Australia Standard Time":      "Australia/Perth",
	"Tokyo Standard Time":             "Asia/Tokyo",
	"Korea Standard Time":             "Asia/Seoul",
	"Cen. Australia Standard Time":    "Australia/Adelaide",
	"AUS Central Standard Time":       "Australia/Darwin",
	"E. Australia Standard Time":      "Australia/Brisbane",
	"AUS Eastern Standard Time":       "Australia/Sydney",
	"Tasmania Standard Time":          "Australia/Hobart",
	"West Pacific Standard Time":      "Pacific/Port_Moresby",
	"New Zealand Standard Time":       "Pacific/Auckland",
	"Fiji Standard Time":              "Pacific/Fiji",
	"Tonga Standard Time":             "Pacific/Tongatapu",
	"Samoa Standard Time":             "Pacific/Apia",

	"(UTC+00:00) Dublin, Edinburgh, Lisbon, London":                "Europe/London",
	"(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna": "Europe/Berlin",
	"(UTC+01:00) Brussels, Copenhagen, Madrid, Paris":              "Europe/Paris",
	"(UTC-05:00) Eastern Time (US & Canada)":                       "America/New_York",
	"(UTC-06:00) Central Time (US & Canada)":                       "America/Chicago",
	"(UTC-07:00) Mountain Time (US & Canada)":                      "America/Denver",
	"(UTC-08:00) Pacific Time (US & Canada)":                       "America/Los_Angeles",
	"Amsterdam, Berlin, Bern, Rom, Stockholm, Wien":                "Europe/Berlin",
	"Greenwich Mean Time : Dublin, Edinburgh, Lisbon, London":      "Europe/London",
}
