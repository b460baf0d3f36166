package tracing

import (
	"context"
	"log/slog"
)

// LogKey is the field of a log line that names its trace.
const LogKey = "trace_id"

// LogHandler adds the id of the trace to every line that is written with a context of one.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if t := Of(ctx); !t.IsZero() {
		r.AddAttrs(slog.String(LogKey, t.TraceID()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}
func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
