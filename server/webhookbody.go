package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// bodyBuffer is a pooled buffer for a body, with a little room for the dedupe key.
type bodyBuffer struct {
	bytes    []byte
	key      []byte
	reserved int64 // of the memory for all bodies
}

var bodyBuffers = sync.Pool{New: func() any { return &bodyBuffer{bytes: make([]byte, 0, 4<<10)} }}

// keepBuffer is the largest buffer that goes back to the pool.
const keepBuffer = 64 << 10

// readBody reads the whole body or refuses it. A body of unknown length is read in growing steps and refused as soon as
// it is over the cap: nothing is ever cut short.
func (in *Intake) readBody(v *visit, r *http.Request) (*bodyBuffer, error) {
	n := r.ContentLength
	if n > in.limit.MaxBody {
		return nil, in.tooLarge()
	}
	b := bodyBuffers.Get().(*bodyBuffer)
	b.bytes = b.bytes[:0]
	var err error
	var body io.Reader = r.Body
	if n != 0 {
		body = in.paced(v, body)
	}
	switch {
	case n > keepBuffer:
		// Memory is given as bytes come: announcing a large body takes nothing from others.
		if err = in.readUnknown(b, body); err == nil && int64(len(b.bytes)) != n {
			err = in.readFault(io.ErrUnexpectedEOF)
		}
	case n >= 0:
		err = in.readKnown(b, body, n)
	default:
		err = in.readUnknown(b, body)
	}
	if n != 0 && err == nil {
		_ = v.slow.SetReadDeadline(time.Time{}) // the wait for the commit is not the sender's
	}
	v.read = err == nil
	if err != nil {
		in.releaseBody(b)
		return nil, err
	}
	return b, nil
}

func (in *Intake) readKnown(b *bodyBuffer, body io.Reader, n int64) error {
	if err := in.reserve(b, n); err != nil {
		return err
	}
	if int64(cap(b.bytes)) < n {
		b.bytes = make([]byte, n)
	}
	b.bytes = b.bytes[:n]
	_, err := io.ReadFull(body, b.bytes)
	return in.readFault(err)
}

func (in *Intake) readUnknown(b *bodyBuffer, body io.Reader) error {
	if err := in.reserve(b, int64(cap(b.bytes))); err != nil {
		return err
	}
	for {
		if len(b.bytes) == cap(b.bytes) {
			room := min(2*int64(cap(b.bytes)), in.limit.MaxBody+1)
			if err := in.reserve(b, room-b.reserved); err != nil {
				return err
			}
			grown := make([]byte, len(b.bytes), room)
			copy(grown, b.bytes)
			b.bytes = grown
		}
		n, err := body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if int64(len(b.bytes)) > in.limit.MaxBody {
			return in.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return in.readFault(err)
		}
	}
}

func (in *Intake) reserve(b *bodyBuffer, n int64) error {
	if n <= 0 {
		return nil
	}
	if in.bodyBytes.Add(n) > in.limit.BodyMemory {
		in.bodyBytes.Add(-n)
		return errBodyMemory
	}
	b.reserved += n
	return nil
}

func (in *Intake) releaseBody(b *bodyBuffer) {
	if b.reserved > 0 {
		in.bodyBytes.Add(-b.reserved)
		b.reserved = 0
	}
	if cap(b.bytes) <= keepBuffer {
		bodyBuffers.Put(b)
	}
}

func (in *Intake) tooLarge() error {
	return domain.E(domain.KindTooLarge, "the body may have at most %d bytes", in.limit.MaxBody)
}

// readFault says why a body could not be read. Whatever the cause, the vendor sends the webhook again.
func (in *Intake) readFault(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return domain.E(domain.KindTooLarge, "the body may have at most %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("body", "ended before its announced length")
	case errors.Is(err, context.Canceled):
		return domain.E(domain.KindUnavailable, "read the body: %w", err)
	}
	return malformed("body", "could not be read to its end")
}

var errSlowBody = because("slow_body", withStatus(http.StatusRequestTimeout, "too_slow", errors.New("the body came too slowly")))

// pacedBody ends a body that comes too slowly. The connection does that, by a deadline that moves with what came.
type pacedBody struct {
	body       io.Reader
	connection *http.ResponseController
	limit      *IntakeLimits
	began      time.Time
	until      time.Time
	got        int64
}

func (in *Intake) paced(v *visit, body io.Reader) io.Reader {
	p := &pacedBody{body: body, connection: v.slow, limit: &in.limit, began: time.Now()}
	if !p.move() {
		return body
	}
	return p
}

// move sets the deadline for what came so far. It reports whether there is a connection that keeps it.
func (p *pacedBody) move() bool {
	until := p.began.Add(min(p.limit.BodyTime, p.limit.BodyGrace+time.Duration(float64(p.got)/float64(p.limit.BodyPace)*float64(time.Second))))
	if until.Sub(p.until) < time.Second/10 {
		return true
	}
	p.until = until
	return p.connection.SetReadDeadline(until) == nil
}

func (p *pacedBody) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if p.got += int64(n); err == nil {
		p.move()
	}
	return n, err
}

const (
	maxKeptHeader    = 4096
	defaultMediaType = "application/json"
)

// checkType refuses bodies of another media type, and compressed ones where the integration does not declare them. Nothing
// is unpacked before its signature.
func (e *intakeEntry) checkType(h http.Header) error {
	for n, encoding := range h["Content-Encoding"] {
		if n > 0 || encoding != "" && !strings.EqualFold(encoding, "identity") && !(e.encoding != "" && strings.EqualFold(encoding, e.encoding)) {
			return withStatus(http.StatusUnsupportedMediaType, "unsupported_media_type",
				errors.New("Content-Encoding must be identity, unless the integration declares another: webhooks are taken as they were signed"))
		}
	}
	if values := h["Content-Type"]; len(values) == 1 {
		if values[0] == defaultMediaType && e.takesJSON {
			return nil
		}
		media, _, err := mime.ParseMediaType(values[0])
		if err == nil || errors.Is(err, mime.ErrInvalidMediaParameter) {
			for _, want := range e.contentTypes {
				if media == want {
					return nil
				}
			}
		}
	}
	return withStatus(http.StatusUnsupportedMediaType, "unsupported_media_type",
		errors.New("Content-Type must be "+strings.Join(e.contentTypes, " or ")))
}

// keptHeaders picks the few headers that are stored with a delivery, under lower-case names.
func (e *intakeEntry) keptHeaders(h http.Header) (map[string]string, error) {
	kept := make(map[string]string, len(e.keep))
	for _, k := range e.keep {
		values := h[k.canonical]
		if len(values) == 0 {
			continue
		}
		value := values[0]
		if len(values) > 1 {
			value = strings.Join(values, ", ")
		}
		if len(value) > maxKeptHeader {
			return nil, malformed(k.lower, "header has %d bytes; at most %d are kept", len(value), maxKeptHeader)
		}
		kept[k.lower] = value
	}
	return kept, nil
}
