package outlook

import (
	"time"

	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// zoneOf reads the name of a time zone as Graph writes it and gives its IANA name.
func zoneOf(name string) (iana string, loc *time.Location, ok bool) {
	loc, err := calendartime.LoadZone(name)
	return name, loc, err == nil
}
