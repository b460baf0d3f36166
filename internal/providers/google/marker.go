package google

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
)

// The private extended properties of a copy. Google allows names of 44 and values of 1,024 characters.
const (
	propBooking  = "wedsyncBooking"
	propKey      = "wedsyncKey"
	propProof    = "wedsyncProof"
	propCategory = "wedsyncCategory"
	propContact  = "wedsyncContact"
)

// generations is how many ids a copy may use. Another than the first is needed only where Google keeps the id of a deleted
// event and does not give the event back.
const generations = 4

// copyID is the id of the copy made under a key: lower-case base32hex, as Google demands.
func copyID(key string, generation int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "wedsync google copy\n%s\n%d", key, generation))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

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

// proof binds a marker to the event that it was written on.
func proof(booking domain.BookingID, key, event string) string {
	sum := sha256.Sum256([]byte("wedsync google origin\n" + string(booking) + "\n" + key + "\n" + event))
	return hex.EncodeToString(sum[:16])
}

// marker is what the properties of a copy say.
type marker struct {
	booking  domain.BookingID
	key      string
	category domain.Category
	contact  string
}

// readMarker returns the marker of a copy of ours. A duplicate that a person made carries the properties too, but on
// another id, and is not ours; its booking is told all the same. An instance of a series is never ours.
func readMarker(ev *calendar.Event) (marker, bool) {
	if ev.ExtendedProperties == nil {
		return marker{}, false
	}
	p := ev.ExtendedProperties.Private
	m := marker{domain.BookingID(p[propBooking]), p[propKey], domain.Category(p[propCategory]), p[propContact]}
	if _, valid := domain.ParseUUID(p[propBooking]); !valid {
		return marker{}, false
	}
	return m, ev.RecurringEventId == "" && p[propProof] == proof(m.booking, m.key, ev.Id)
}
