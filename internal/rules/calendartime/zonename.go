package calendartime

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// NamedZone is a zone with its names.
type NamedZone struct {
	// Name is one that every system can load: an IANA name, or "UTC" for rules that no IANA name has. Loc has the
	// right instants in either case.
	Name    string
	Loc     *time.Location
	Written string // as the author named it, for writing it back; "" when nothing was written
}

// UTC is Coordinated Universal Time.
var UTC = NamedZone{Name: "UTC", Loc: time.UTC}

// ResolveZoneName reads the name of a zone as calendars write it: an IANA name, a Windows name, an IANA name behind a
// vendor's prefix ("/freeassociation.sourceforge.net/Europe/Berlin"), an offset ("UTC+02:00", "GMT-0500"), each with
// or without quotes and in any case of letters. An offset is a fixed one, as there is nothing that says when it would
// change. Names that stand for rules given elsewhere, such as "tzone://Microsoft/Custom" and "Customized Time Zone",
// and unknown ones are domain.KindInvalid on field "tzid".
func ResolveZoneName(written string) (NamedZone, error) {
	name := strings.Trim(written, "\"' \t")
	if z, ok := resolveName(name); ok {
		z.Written = written
		return z, nil
	}
	return NamedZone{}, domain.Invalid("tzid", "must be an IANA or a Windows name of a time zone, or an offset from UTC")
}

const maxWrittenZone = 255 // bytes of a name that is looked at

func resolveName(name string) (NamedZone, bool) {
	if len(name) > maxWrittenZone {
		return NamedZone{}, false
	}
	if z, ok := ianaZone(name); ok {
		return z, true
	}
	if iana, ok := WindowsZone(name); ok {
		return ianaZone(iana)
	}
	if iana, ok := displayNames[strings.ToLower(name)]; ok {
		return ianaZone(iana)
	}
	if z, ok := offsetZone(name); ok {
		return z, true
	}
	parts := strings.Split(strings.Trim(name, "/"), "/")
	for n := 3; n >= 1; n-- { // America/Indiana/Knox, Europe/London, UTC
		if len(parts) <= n {
			continue
		}
		if z, ok := ianaZone(strings.Join(parts[len(parts)-n:], "/")); ok {
			return z, true
		}
	}
	return NamedZone{}, false
}

func ianaZone(name string) (NamedZone, bool) {
	if loc, err := LoadZone(name); err == nil {
		return NamedZone{Name: name, Loc: loc}, true
	}
	if known, ok := zoneSpellings()[strings.ToLower(name)]; ok {
		if loc, err := LoadZone(known); err == nil {
			return NamedZone{Name: known, Loc: loc}, true
		}
	}
	return NamedZone{}, false
}

var offsetName = regexp.MustCompile(`^(?i:UTC|GMT)? ?([+-])([0-9]{1,2})(?::?([0-9]{2}))?$`)

// offsetZone reads an offset from UTC: "UTC+02:00" is two hours ahead of it. The IANA names of whole hours have the
// opposite sign.
func offsetZone(name string) (NamedZone, bool) {
	m := offsetName.FindStringSubmatch(name)
	if m == nil {
		return NamedZone{}, false
	}
	hours, _ := strconv.Atoi(m[2]) // the expression lets only digits through
	minutes, _ := strconv.Atoi("0" + m[3])
	if hours > 14 || minutes > 59 || hours == 14 && minutes > 0 {
		return NamedZone{}, false
	}
	seconds := hours*3600 + minutes*60
	if seconds == 0 {
		return UTC, true
	}
	if m[1] == "-" {
		seconds = -seconds
	}
	if minutes == 0 && seconds >= -12*3600 {
		sign := map[string]string{"+": "-", "-": "+"}[m[1]]
		return ianaZone("Etc/GMT" + sign + strconv.Itoa(hours))
	}
	return NamedZone{Name: "UTC", Loc: time.FixedZone(fmt.Sprintf("UTC%s%02d:%02d", m[1], hours, minutes), seconds)}, true
}
