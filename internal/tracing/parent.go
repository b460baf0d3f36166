package tracing

import (
	"encoding/hex"

	"github.com/wedsync/wedsync/internal/domain"
)

// ParseParent reads the header traceparent of W3C Trace Context, level 1: version, trace id, span id and flags in lower-case
// hexadecimal, with dashes between. A later version may go on behind a further dash. recorded tells whether the caller recorded
// its span. ok is false for anything else, which is then as if no header had come. The header tracestate is never read: it
// holds whatever its writers like.
func ParseParent(header string) (parent domain.Trace, recorded, ok bool) {
	const size = len("00-00112233445566778899aabbccddeeff-0011223344556677-00")
	if len(header) < size || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return domain.Trace{}, false, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		from string
	}{{version[:], header[:2]}, {parent.ID[:], header[3:35]}, {parent.Span[:], header[36:52]}, {flags[:], header[53:55]}} {
		for _, c := range []byte(part.from) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return domain.Trace{}, false, false
			}
		}
		if _, err := hex.Decode(part.to, []byte(part.from)); err != nil {
			return domain.Trace{}, false, false
		}
	}
	switch {
	case version[0] == 0xff, parent.IsZero(), version[0] == 0 && len(header) != size, len(header) > size && header[size] != '-':
		return domain.Trace{}, false, false
	}
	return parent, flags[0]&1 == 1, true
}
