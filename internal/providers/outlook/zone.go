package outlook

import (
	"time"

	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// zoneOf reads the name of a time zone as Graph writes it, mostly a Windows name, and gives its IANA name. Zones that an
// old client defined itself ("tzone://Microsoft/Custom") have no name that says anything.
func zoneOf(name string) (iana string, loc *time.Location, ok bool) {
	z, err := calendartime.ResolveZoneName(name)
	return z.Name, z.Loc, err == nil
}
