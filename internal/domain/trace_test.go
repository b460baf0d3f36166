package domain_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestATraceComesBackFromStorageAndHalfANameIsNone(t *testing.T) {
	t.Parallel()
	full := domain.Trace{ID: [16]byte{0: 0xab, 15: 1}, Span: [8]byte{7: 2}}
	if got := domain.TraceFrom(full.Bytes()); got != full {
		t.Errorf("read back %v, want %v", got, full)
	}
	if got, want := full.TraceID(), "ab"+strings.Repeat("00", 14)+"01"; got != want {
		t.Errorf("trace id %q, want %q", got, want)
	}
	for name, none := range map[string]domain.Trace{"zero": {}, "no span": {ID: full.ID}, "no trace": {Span: full.Span}} {
		if !none.IsZero() || none.TraceID() != "" || none.Bytes() != nil {
			t.Errorf("%s: %v is taken for a name", name, none)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "too short": full.Bytes()[:23], "too long": append(full.Bytes(), 0),
		"zeros": make([]byte, domain.TraceBytes), "without a span": append(bytes.Clone(full.ID[:]), make([]byte, 8)...)} {
		if got := domain.TraceFrom(b); got != (domain.Trace{}) {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}
