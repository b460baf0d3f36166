package provider

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a compressed body: what it unpacks to, and how many times its own size that may be. A few bytes more than the
// ratio are always allowed, because short texts of one letter are harmless.
const (
	MaxPlain  = 8 << 20
	MaxRatio  = 100
	plainRoom = 64 << 10
)

// Gzip is the one content coding that an Intake may declare.
const Gzip = "gzip"

// Plain returns a body as its sender meant it: unpacked where declared, the encoding that the connection's Intake
// declares, is gzip and the delivery says that it is. It is given to readers of verified deliveries only. Errors are of
// kind invalid: such a delivery can never be read.
func (w Webhook) Plain(declared string) ([]byte, error) {
	said := strings.TrimSpace(w.Header.Get("Content-Encoding"))
	if said == "" || strings.EqualFold(said, "identity") {
		return w.Body, nil
	}
	if declared != Gzip || !strings.EqualFold(said, Gzip) {
		return nil, domain.Invalid("body", "is encoded in a way that the settings do not declare")
	}
	most := min(MaxPlain, max(MaxRatio*len(w.Body), plainRoom))
	r, err := gzip.NewReader(bytes.NewReader(w.Body))
	if err != nil {
		return nil, domain.Invalid("body", "is not gzip")
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case len(plain) > most:
		return nil, domain.Invalid("body", "unpacks to more than %d bytes", most)
	case err != nil:
		return nil, domain.Invalid("body", "is not whole gzip")
	}
	return plain, nil
}
