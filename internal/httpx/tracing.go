package httpx

import (
	"context"
	"net/http"

	"github.com/wedsync/wedsync/internal/tracing"
)

// A request that is part of a trace gets a span of its own: method and status, and what a gate adds. It tells neither host nor
// path, which may name a person's server or calendar, and nothing of the trace is sent along: an outside system learns nothing
// of ours, and cannot tie two of its customers together.

func beginSpan(req *http.Request) (ctx context.Context, span tracing.Span) {
	ctx, span = tracing.ChildOf(req.Context(), "call outside system", tracing.Client)
	if span.On() {
		span.Set(tracing.Word(tracing.KeyMethod, req.Method))
	}
	return ctx, span
}

func endSpan(span tracing.Span, res *Response, err error) {
	if span.On() && res != nil {
		span.Set(tracing.Count(tracing.KeyStatus, res.Status))
	}
	span.End(err)
}
