// Package tracing makes OpenTelemetry traces and holds the one import of its libraries.
//
//	t, err := tracing.New(ctx, tracing.Options{Endpoint: "http://127.0.0.1:4318/v1/traces"})
//	defer t.Close(ctx)
//	ctx, span := t.Start(ctx, "write copy", tracing.Begin{Kind: tracing.Client})
//	span.Set(tracing.ID(tracing.KeyBooking, booking.ID))
//	defer func() { span.End(err) }()
//
// A nil [Tracer] is tracing switched off: it starts nothing and allocates nothing, and so does [Child] where the context holds
// no recorded span. Callers need no conditions, except around attributes on a path where every allocation counts:
// [Span.On] tells.
//
// What leaves the process names no person. Attributes can be made of ids, counts, durations and words of a fixed form only;
// [ID] and [Word] leave out whatever has another form, so that a name or an address cannot slip into a span by a wrong variable.
// An error is told by its domain kind, never by its text. Names of spans are constants, with templates in place of paths.
//
// Spans are handed over by a bounded queue. When the receiver is away or slow they are dropped and counted; nothing ever waits
// for it but Close, and that has a time limit.
//
// A trace goes on in another process by its [domain.Trace], which is stored with a row or carried in a header of Temporal:
// give it as [Begin].Parent. Calls to outside systems carry nothing of it.
//
// To test: hand a receiver in as Options.Exporter. FuzzParseParent tries the one parser of foreign bytes.
package tracing
