package domain

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Typed identifiers. All are UUIDs in canonical lower-case text form; new ones are version 7 (RFC 9562), so they
// sort by the time they were made. They name no person and may appear in logs, URLs and workflow histories.
type (
	OrgID          string
	ResourceID     string
	IntegrationID  string
	DeliveryID     string
	BookingID      string
	AllocationID   string
	LinkID         string
	ConflictID     string
	EditConflictID string
	// ConflictPolicyID names an organisation's rule for conflicts of two categories.
	ConflictPolicyID string
	PushID           string
	SyncRunID        string
	// SubscriptionID names a receiver of outgoing webhooks.
	SubscriptionID string
	// AttemptID names one request to such a receiver.
	AttemptID string
	ReplayID  string
	// WatchID names an address that an outside system posts to.
	WatchID string
)

// AnyID is the set of identifier types.
type AnyID interface{ ~string }

// NewID makes an identifier from a clock reading. It panics only if the system has no randomness.
func NewID[T AnyID](now time.Time) T {
	return NewIDFrom[T](now, func(b []byte) {
		if _, err := rand.Read(b); err != nil {
			panic("read randomness for an id: " + err.Error())
		}
	})
}

// NewIDFrom is NewID with its random bits from elsewhere: fill is called once with 10 bytes. What must happen the same way
// twice, such as a test's history, draws them from a seed; nothing else should.
func NewIDFrom[T AnyID](now time.Time, fill func([]byte)) T {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	b[0], b[1], b[2], b[3], b[4], b[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	fill(b[6:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return T(FormatUUID(b))
}

// FormatUUID writes 16 bytes in the canonical text form.
func FormatUUID(b [16]byte) string {
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	out[8] = '-'
	hex.Encode(out[9:13], b[4:6])
	out[13] = '-'
	hex.Encode(out[14:18], b[6:8])
	out[18] = '-'
	hex.Encode(out[19:23], b[8:10])
	out[23] = '-'
	hex.Encode(out[24:36], b[10:16])
	return string(out[:])
}

// ParseUUID reads the canonical text form; ok is false for anything else. Upper case is refused so that one
// identifier has one spelling.
func ParseUUID(s string) (b [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, false
	}
	j := 0
	for i := 0; i < 36; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
			continue
		}
		hi, lo := nibble(s[i]), nibble(s[i+1])
		if hi > 15 || lo > 15 {
			return [16]byte{}, false
		}
		b[j] = hi<<4 | lo
		j++
		i += 2
	}
	return b, true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// ParseID reads an identifier from outside; field names it in the error.
func ParseID[T AnyID](field, s string) (T, error) {
	if _, ok := ParseUUID(s); !ok {
		return "", Invalid(field, "must be a UUID in lower-case canonical form (36 characters)")
	}
	return T(s), nil
}
