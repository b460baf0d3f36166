package calendartime

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
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

// The years that ZoneDataVersion compares: bookings lie in them.
const firstComparedYear, lastComparedYear = 2000, 2045

// ZoneDataVersion names the time zone rules that this process works by: a digest of when every zone changes its clock
// by how much. It differs exactly when an expansion may come out differently, whichever copy of the database (the
// machine's or the one in the program) is in use. Whoever keeps expanded series keeps it beside them, and expands anew
// when it changes. The first call takes some tens of milliseconds.
func ZoneDataVersion() string { return zoneDataVersion() }

var zoneDataVersion = sync.OnceValue(func() string {
	h := sha256.New()
	end := time.Date(lastComparedYear+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range ianaNames {
		_, _ = io.WriteString(h, "\n"+name) // a hash takes everything
		loc, err := LoadZone(name)
		if err != nil {
			continue // that it is not there is part of the version
		}
		for t := time.Date(firstComparedYear, 1, 1, 0, 0, 0, 0, time.UTC); !t.IsZero() && t.Before(end); {
			t = t.In(loc)
			_, offset := t.Zone()
			_, _ = io.WriteString(h, strconv.FormatInt(t.Unix(), 36)+"="+strconv.Itoa(offset)+";")
			_, next := t.ZoneBounds()
			if !next.After(t) {
				next = t.Add(24 * time.Hour) // a bound in the past, which the library gives on the last day of leap years
			}
			t = next
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
})
