package domain

import "encoding/hex"

// TraceBytes is how many bytes a stored Trace takes.
const TraceBytes = 24

// Trace names a span of a distributed trace by the ids of W3C Trace Context, so that work which is done later, by another
// process, can be shown below it. Only spans that are recorded are named, so there are no flags. The zero value names none.
type Trace struct {
	ID   [16]byte // of the trace
	Span [8]byte
}

// IsZero reports whether t names no span. Half a name is none either.
func (t Trace) IsZero() bool { return t.ID == [16]byte{} || t.Span == [8]byte{} }

// TraceID is the id of the trace in hexadecimal, "" without one.
func (t Trace) TraceID() string {
	if t.IsZero() {
		return ""
	}
	return hex.EncodeToString(t.ID[:])
}

// Bytes is the trace's id and then the span's, for storage; nil without one.
func (t Trace) Bytes() []byte {
	if t.IsZero() {
		return nil
	}
	return append(append(make([]byte, 0, TraceBytes), t.ID[:]...), t.Span[:]...)
}

// TraceFrom reads what Bytes made. Anything else is the zero value: a trace that cannot be read is nothing to fail for.
func TraceFrom(b []byte) Trace {
	var t Trace
	if len(b) != TraceBytes {
		return t
	}
	copy(t.ID[:], b)
	copy(t.Span[:], b[len(t.ID):])
	if t.IsZero() {
		return Trace{}
	}
	return t
}
