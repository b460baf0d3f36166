package icsfeed

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// UID is the UID of a booking in every feed.
func UID(id domain.BookingID) string { return "wedsync-" + string(id) }

// Marker is the origin marker of a booking in a feed, in the form BOOKING/KEY/DIGEST in which the calendar providers
// mark and recognise copies; the key is the booking itself.
func Marker(id domain.BookingID) string {
	return string(id) + "/" + string(id) + "/" + digest(id, string(id), UID(id))
}

// ReadMarker returns the booking that a marker names, if it belongs to the entry with this UID. An entry that a person
// duplicated has another UID and is the person's own.
func ReadMarker(value, uid string) (domain.BookingID, bool) {
	parts := strings.Split(strings.TrimSpace(value), "/")
	if len(parts) != 3 {
		return "", false
	}
	booking, key := domain.BookingID(parts[0]), parts[1]
	if _, valid := domain.ParseUUID(parts[0]); !valid || uid != "wedsync-"+key || parts[2] != digest(booking, key, uid) {
		return "", false
	}
	return booking, true
}

func digest(booking domain.BookingID, key, uid string) string {
	sum := sha256.Sum256([]byte("wedsync origin\n" + string(booking) + "\n" + key + "\n" + uid))
	return hex.EncodeToString(sum[:8])
}
