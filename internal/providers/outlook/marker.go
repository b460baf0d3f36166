package outlook

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// The extended properties of a copy of ours. The key is looked for when an answer was lost; the origin leads back to the
// booking.
const (
	propertySet    = "{35cd4ed0-317a-4b2c-bc1c-45253ef0f61d}"
	keyProperty    = "String " + propertySet + " Name WedSyncKey"    // BOOKING/KEY
	originProperty = "String " + propertySet + " Name WedSyncOrigin" // BOOKING/KEY/CATEGORY/DIGEST, no digest until bound
)

// expand asks for both properties of single events; a delta does not take it.
var expand = url.Values{"$expand": {"singleValueExtendedProperties($filter=id eq '" + keyProperty + "' or id eq '" + originProperty + "')"}}

// ourTransaction begins the transactionId of every copy of ours. Deltas show it, so that only such events are asked for
// their properties.
const ourTransaction = "wedsync-"

// transaction is the transactionId of the n-th creation under a key. A later one is needed only where the server keeps
// the id of a copy that was deleted.
func transaction(key string, n int) string {
	if n == 0 {
		return ourTransaction + key
	}
	return ourTransaction + key + "-" + strconv.Itoa(n)
}

// marker is what a copy says of itself.
type marker struct {
	booking  domain.BookingID
	key      string
	category domain.Category
}

func (m marker) keyValue() string { return string(m.booking) + "/" + m.key }

// origin is the value that binds the marker to an event; id "" is the form before the event has an id.
func (m marker) origin(id string) string {
	digest := ""
	if id != "" {
		sum := sha256.Sum256([]byte("wedsync origin\n" + m.keyValue() + "\n" + string(m.category) + "\n" + id))
		digest = hex.EncodeToString(sum[:8])
	}
	return m.keyValue() + "/" + string(m.category) + "/" + digest
}

func (m marker) extensions(id string) []extension {
	return []extension{{keyProperty, m.keyValue()}, {originProperty, m.origin(id)}}
}

// marker reads the marker of an event that is a copy of ours. One that a person duplicated has another id than the
// marker is bound to. A copy that was not bound yet is known by its transactionId, which nobody can set later.
func (e event) marker() (marker, bool) {
	value := ""
	for _, p := range e.Properties {
		if p.ID == originProperty {
			value = p.Value
		}
	}
	parts := strings.Split(value, "/")
	if len(parts) != 4 || e.SeriesMasterID != "" {
		return marker{}, false
	}
	m := marker{domain.BookingID(parts[0]), parts[1], domain.Category(parts[2])}
	if _, valid := domain.ParseUUID(parts[0]); !valid || m.key == "" {
		return marker{}, false
	}
	if parts[3] != "" {
		return m, value == m.origin(e.ID)
	}
	first := transaction(m.key, 0)
	return m, e.TransactionID == first || strings.HasPrefix(e.TransactionID, first+"-")
}

// checkKey refuses keys that would not fit into markers and filters.
func checkKey(w string) error {
	bad := len(w) < 8 || len(w) > 64
	for _, b := range []byte(w) {
		bad = bad || !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-')
	}
	if bad {
		return domain.Invalid("key", "must have 8 to 64 letters, digits and hyphens")
	}
	return nil
}
