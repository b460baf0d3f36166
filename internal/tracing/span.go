package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/wedsync/wedsync/internal/domain"
)

// Kind says which side of a call a span stands for.
type Kind uint8

// The kinds of spans. Internal is the zero value.
const (
	Internal Kind = iota
	Server        // a request of somebody else is answered
	Client        // an outside system is asked
	Producer      // somebody is told of work
	Consumer      // that work is done
)

func (k Kind) of() trace.SpanKind {
	switch k {
	case Internal:
	case Server:
		return trace.SpanKindServer
	case Client:
		return trace.SpanKindClient
	case Producer:
		return trace.SpanKindProducer
	case Consumer:
		return trace.SpanKindConsumer
	}
	return trace.SpanKindInternal
}

// Begin says where a span stands. The zero value begins a trace of its own.
type Begin struct {
	Kind Kind
	// Parent is the span of another process, or an earlier one, that this one belongs to.
	Parent domain.Trace
	// Unrecorded says that Parent was not recorded by whoever made it, and so asks that this one is not either.
	Unrecorded bool
	// Links are spans of other traces that led here too. Zero values are left out.
	Links []domain.Trace
	// At is when it began; the zero time is now.
	At time.Time
}

// Span is one step under way. The zero value is none: every method does nothing.
type Span struct{ s trace.Span }

// On reports whether the span is recorded. Ask it before making attributes where allocations count.
func (s Span) On() bool { return s.s != nil }

// Trace names the span for whoever carries on; the zero value when it is not recorded.
func (s Span) Trace() domain.Trace {
	if s.s == nil {
		return domain.Trace{}
	}
	return traceOf(s.s.SpanContext())
}

// Set adds attributes. Those without a key, which ID and Word return for values of a wrong form, are left out.
func (s Span) Set(attrs ...Attr) {
	if s.s == nil {
		return
	}
	for _, a := range attrs {
		if a.Valid() {
			s.s.SetAttributes(a)
		}
	}
}

// Link adds a span of another trace that led here too. The zero value is left out.
func (s Span) Link(to domain.Trace) {
	if s.s != nil && !to.IsZero() {
		s.s.AddLink(linkTo(to))
	}
}

// End finishes the span. An error is told by its kind. A second call does nothing.
func (s Span) End(err error) {
	if s.s == nil {
		return
	}
	if err != nil {
		kind := string(domain.KindOf(err))
		s.s.SetStatus(codes.Error, kind)
		s.Set(Word(keyErrorType, kind))
	}
	s.s.End()
}

// Child begins a span below the one of ctx, and returns a context that holds it. Without one that is recorded nothing begins,
// and ctx comes back as it is.
func Child(ctx context.Context, name string) (context.Context, Span) {
	return ChildOf(ctx, name, Internal)
}

// ChildOf is Child for a span of a kind.
func ChildOf(ctx context.Context, name string, kind Kind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, s := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind.of()))
	return recorded(ctx, ctx, s)
}

// Of names the span that ctx holds; the zero value when there is none that is recorded.
func Of(ctx context.Context) domain.Trace {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsSampled() {
		return domain.Trace{}
	}
	return traceOf(c)
}

// Current is the recorded span that ctx holds, so that who is called can add to it.
func Current(ctx context.Context) Span {
	if s := trace.SpanFromContext(ctx); s.IsRecording() {
		return Span{s}
	}
	return Span{}
}

// recorded keeps spans that are not recorded out of contexts and of our hands.
func recorded(with, without context.Context, s trace.Span) (context.Context, Span) {
	if !s.IsRecording() {
		return without, Span{}
	}
	return with, Span{s}
}

func traceOf(c trace.SpanContext) domain.Trace {
	if !c.IsValid() {
		return domain.Trace{}
	}
	return domain.Trace{ID: c.TraceID(), Span: c.SpanID()}
}

func contextOf(t domain.Trace, flags trace.TraceFlags) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.ID, SpanID: t.Span, TraceFlags: flags, Remote: true})
}

func linkTo(t domain.Trace) trace.Link {
	return trace.Link{SpanContext: contextOf(t, trace.FlagsSampled)}
}
