// Package otlpsim is a receiver of OpenTelemetry traces in memory: what a collector takes at POST /v1/traces in protobuf, with
// the faults of one that is busy or refuses.
//
//	r := otlpsim.New()
//	srv := httptest.NewServer(r)   // the endpoint is srv.URL + "/v1/traces"
//	r.Refuse(503)                  // until r.Refuse(0)
//	for _, s := range r.Spans() { … }
//
// It keeps everything that it took, and the bytes of it, so that a test can look for what must not be there. It is safe for
// many goroutines. To test: go test ./internal/sim/otlpsim.
package otlpsim

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxBody is far above what one export holds.
const maxBody = 16 << 20

// Link names a span of another trace.
type Link struct{ TraceID, SpanID string }

// Span is one that was taken. Ids are hexadecimal; ParentID is "" for the first of a trace.
type Span struct {
	Service, TraceID, SpanID, ParentID string
	Name, Kind                         string            // of the kinds: internal, server, client, producer, consumer
	Attrs                              map[string]string // lists are joined by commas
	Links                              []Link
	Failed                             bool
	Message                            string // of a failed one
	Start, End                         time.Time
}

// Receiver takes traces. Make one with New.
type Receiver struct {
	mu       sync.Mutex
	spans    []Span
	raw      []byte
	refuse   int
	requests int
	hang     chan struct{}
}

// New makes a receiver that takes everything.
func New() *Receiver { return &Receiver{} }

// Refuse answers with a status from now on; 0 takes spans again.
func (r *Receiver) Refuse(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = status
}

// Hang keeps requests without an answer until release is called, or the caller has gone.
func (r *Receiver) Hang() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hang := make(chan struct{})
	r.hang = hang
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.hang = nil
		r.mu.Unlock()
		close(hang)
	})
}

// Requests counts those that came, refused ones too.
func (r *Receiver) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Spans returns what was taken so far, in order of arrival.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Raw returns the bytes of everything that was taken.
func (r *Receiver) Raw() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.raw)
}

// ServeHTTP is the receiver's one route.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "POST /v1/traces takes application/x-protobuf", http.StatusNotFound)
		return
	}
	body, err := read(req)
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.requests++
	refuse, hang := r.refuse, r.hang
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-req.Context().Done():
			return
		}
	}
	if refuse != 0 {
		http.Error(w, "not now", refuse)
		return
	}
	var in collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &in); err != nil {
		http.Error(w, "not an export of traces", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.raw = append(r.raw, body...)
	for _, from := range in.GetResourceSpans() {
		service := attributes(from.GetResource().GetAttributes())["service.name"]
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, spanOf(service, s))
			}
		}
	}
	r.mu.Unlock()
	answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
	if err != nil {
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer) // a caller that has gone sends again
}

func read(req *http.Request) ([]byte, error) {
	var from io.Reader = http.MaxBytesReader(nil, req.Body, maxBody)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("unpack body: %w", err)
		}
		from = io.LimitReader(z, maxBody)
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, nil
}

func spanOf(service string, s *tracepb.Span) Span {
	out := Span{Service: service, TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()),
		ParentID: hex.EncodeToString(s.GetParentSpanId()), Name: s.GetName(),
		Kind:  strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
		Attrs: attributes(s.GetAttributes()), Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())).UTC(), End: time.Unix(0, int64(s.GetEndTimeUnixNano())).UTC()}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, Link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
	}
	return out
}

func attributes(list []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(list))
	for _, kv := range list {
		out[kv.GetKey()] = text(kv.GetValue())
	}
	return out
}

func text(v *common.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(x.BoolValue)
	case *common.AnyValue_IntValue:
		return fmt.Sprint(x.IntValue)
	case *common.AnyValue_DoubleValue:
		return fmt.Sprint(x.DoubleValue)
	case *common.AnyValue_ArrayValue:
		var parts []string
		for _, one := range x.ArrayValue.GetValues() {
			parts = append(parts, text(one))
		}
		return strings.Join(parts, ",")
	}
	return ""
}
