package calendartime

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // containers often come without zone tables

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxZoneName is the longest zone name accepted, in bytes. The longest in the IANA database has 32.
const MaxZoneName = 64

// zones caches loaded tables. Only names that exist enter it, so it holds at most a few hundred.
var zones sync.Map

// LoadZone returns the zone of an IANA name such as "Europe/London", or UTC. It refuses, as domain.KindInvalid, an
// empty name, "Local" and the other names whose meaning depends on the machine, and anything that is not in the
// database; Windows names must be translated before. The error does not repeat the name, which comes from outside.
func LoadZone(name string) (*time.Location, error) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if !zoneNameOK(name) {
		return nil, domain.Invalid("zone", "must be an IANA zone name of 1 to %d characters, such as Europe/London", MaxZoneName)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, domain.Invalid("zone", "is not in the IANA time zone database")
	}
	zones.Store(name, loc)
	return loc, nil
}

func zoneNameOK(name string) bool {
	if name == "" || len(name) > MaxZoneName || strings.HasPrefix(name, "/") {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '+', c == '/':
		default:
			return false
		}
	}
	switch name {
	case "Local", "localtime", "posixrules", "Factory":
		return false
	}
	// These folders of a system's copy hold the same zones counted with leap seconds, or twice.
	return !strings.HasPrefix(name, "right/") && !strings.HasPrefix(name, "posix/")
}
