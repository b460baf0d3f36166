package caldav

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ical"
)

// The properties that mark a copy of ours.
const (
	propMarker   = "X-WEDSYNC-BOOKING"  // BOOKING/KEY/DIGEST
	propCategory = "X-WEDSYNC-CATEGORY" // the category that the booking had
)

// uidOf is the UID of the copy made under a key. It is never the UID of the source: a server may allow one UID only
// once among all calendars of an account.
func uidOf(key string) string { return "wedsync-" + key }

// nameOf is the name of the copy's resource.
func nameOf(key string) string { return "wedsync-" + key + ".ics" }

func checkKey(key string) error {
	bad := len(key) < 8 || len(key) > 64
	for _, b := range []byte(key) {
		bad = bad || !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-')
	}
	if bad {
		return domain.Invalid("key", "must have 8 to 64 letters, digits and hyphens")
	}
	return nil
}

func digest(booking domain.BookingID, key, uid string) string {
	sum := sha256.Sum256([]byte("wedsync origin\n" + string(booking) + "\n" + key + "\n" + uid))
	return hex.EncodeToString(sum[:8])
}

func marker(booking domain.BookingID, key string) string {
	return string(booking) + "/" + key + "/" + digest(booking, key, uidOf(key))
}

// readMarker returns the booking and category of a copy of ours. An entry that was duplicated from a copy carries the
// marker too, but another UID, and is not ours; its booking is told all the same.
func readMarker(comp *ical.Component, uid string) (domain.BookingID, domain.Category, bool) {
	booking, _, ok := markerKey(comp, uid)
	return booking, domain.Category(strings.ToLower(comp.Text(propCategory))), ok
}

func markerKey(comp *ical.Component, uid string) (booking domain.BookingID, key string, ok bool) {
	p := comp.Get(propMarker)
	if p == nil {
		return "", "", false
	}
	parts := strings.Split(strings.TrimSpace(p.Value), "/")
	if len(parts) != 3 {
		return "", "", false
	}
	booking, key = domain.BookingID(parts[0]), parts[1]
	if _, valid := domain.ParseUUID(parts[0]); !valid {
		return "", "", false
	}
	return booking, key, uid == uidOf(key) && parts[2] == digest(booking, key, uid)
}
