package tracing

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
)

// scope names this program to receivers as the one that made the spans.
const scope = "github.com/wedsync/wedsync"

// Samplers are the values of Options.Sampler, as OTEL_TRACES_SAMPLER names them. Those that begin with parentbased_ obey what a
// trusted caller decided.
func Samplers() []string {
	return []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
}

// DefaultSampler records everything that a trusted caller did not decide otherwise.
const DefaultSampler = "parentbased_always_on"

// Options configure a Tracer.
type Options struct {
	// Endpoint is the whole URL of a receiver of OTLP over HTTP in protobuf, such as http://127.0.0.1:4318/v1/traces; "" switches
	// tracing off. Its credentials, certificate, compression and time limit come from the usual variables
	// OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _COMPRESSION and _TIMEOUT.
	Endpoint string
	// Sampler is one of Samplers, "" = DefaultSampler; SamplerArg the share of traces for those of a ratio, 0 to 1, "" = 1.
	Sampler, SamplerArg string
	// Service, Version and Process name this process to the receiver. Service "" = wedsync.
	Service, Version, Process string
	Log                       *slog.Logger          // nil = none
	Metrics                   prometheus.Registerer // nil = none

	// Queue is how many spans wait for the receiver, default 4096: more are dropped. Batch is how many go at once, default 512, and
	// Every how long the first of them waits for others, default 2 s. Timeout bounds one hand-over, default 10 s.
	Queue, Batch   int
	Every, Timeout time.Duration
	// Exporter takes the spans instead of Endpoint, for tests.
	Exporter sdk.SpanExporter
}

// Validate checks the endpoint and the sampler; errors name the setting.
func (o Options) Validate() error {
	if o.Endpoint != "" {
		if u, err := url.Parse(o.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return domain.Invalid("otlp-endpoint", "must be an http:// or https:// URL without a query")
		} else if u.User != nil {
			return domain.Invalid("otlp-endpoint", "must not hold credentials: put them into OTEL_EXPORTER_OTLP_HEADERS")
		}
	}
	_, err := o.sampler()
	return err
}

func (o Options) sampler() (sdk.Sampler, error) {
	name := o.Sampler
	if name == "" {
		name = DefaultSampler
	}
	base, parent := strings.CutPrefix(name, "parentbased_")
	var root sdk.Sampler
	switch base {
	case "always_on":
		root = sdk.AlwaysSample()
	case "always_off":
		root = sdk.NeverSample()
	case "traceidratio":
		share := 1.0
		if o.SamplerArg != "" {
			var err error
			if share, err = strconv.ParseFloat(o.SamplerArg, 64); err != nil || !(share >= 0 && share <= 1) {
				return nil, domain.Invalid("traces-sampler-arg", "must be 0 to 1")
			}
		}
		root = sdk.TraceIDRatioBased(share)
	default:
		return nil, domain.Invalid("traces-sampler", "must be one of %s", strings.Join(Samplers(), ", "))
	}
	if parent {
		return sdk.ParentBased(root), nil
	}
	return root, nil
}

// Tracer starts spans. nil starts none. Use it from any number of goroutines.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
}

// New makes a Tracer, nil when there is nowhere to send to. The receiver is not asked: it may be away. Errors are of the options
// and of metrics that are registered already.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if err := o.Validate(); err != nil || o.Endpoint == "" && o.Exporter == nil {
		return nil, err
	}
	orDefault(&o.Queue, 4096)
	orDefault(&o.Batch, 512)
	orDefault(&o.Every, 2*time.Second)
	orDefault(&o.Timeout, 10*time.Second)
	if o.Service == "" {
		o.Service = "wedsync"
	}
	to := o.Exporter
	if to == nil {
		var err error
		if to, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint)); err != nil {
			return nil, domain.E(domain.KindInvalid, "prepare the export of traces: %w", err)
		}
	}
	q := &quiet{to: to, log: o.Log, says: rate.Sometimes{Interval: time.Minute}}
	ended := &counted{}
	if err := q.register(o.Metrics, ended); err != nil {
		return nil, err
	}
	sampler, err := o.sampler()
	if err != nil {
		return nil, err
	}
	var facts []attribute.KeyValue
	for _, f := range [][2]string{{"service.name", o.Service}, {"service.version", o.Version}, {"service.instance.id", o.Process}} {
		if f[1] != "" {
			facts = append(facts, attribute.String(f[0], f[1]))
		}
	}
	limits := sdk.NewSpanLimits()
	limits.LinkCountLimit, limits.AttributeCountLimit = MaxLinks, 32
	p := sdk.NewTracerProvider(sdk.WithSampler(sampler), sdk.WithResource(resource.NewSchemaless(facts...)), sdk.WithRawSpanLimits(limits),
		sdk.WithSpanProcessor(ended),
		sdk.WithBatcher(q, sdk.WithMaxQueueSize(o.Queue), sdk.WithMaxExportBatchSize(min(o.Batch, o.Queue)), sdk.WithBatchTimeout(o.Every),
			sdk.WithExportTimeout(o.Timeout)))
	return &Tracer{tracer: p.Tracer(scope), provider: p}, nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// MaxLinks is how many links a span keeps.
const MaxLinks = 32

// Start begins a span where b says, and returns a context that holds it. When it is not to be recorded, ctx comes back as it is.
func (t *Tracer) Start(ctx context.Context, name string, b Begin) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	under := ctx
	options := make([]trace.SpanStartOption, 0, 4)
	options = append(options, trace.WithSpanKind(b.Kind.of()))
	if b.Parent.IsZero() {
		options = append(options, trace.WithNewRoot())
	} else {
		flags := trace.FlagsSampled
		if b.Unrecorded {
			flags = 0
		}
		under = trace.ContextWithRemoteSpanContext(ctx, contextOf(b.Parent, flags))
	}
	if !b.At.IsZero() {
		options = append(options, trace.WithTimestamp(b.At))
	}
	var links []trace.Link
	for _, l := range b.Links {
		if !l.IsZero() && len(links) < MaxLinks {
			links = append(links, linkTo(l))
		}
	}
	if links != nil {
		options = append(options, trace.WithLinks(links...))
	}
	with, s := t.tracer.Start(under, name, options...)
	return recorded(with, ctx, s)
}

// Close hands over what waits, until ctx ends, and stops. Spans that end later are dropped.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return domain.E(domain.KindUnavailable, "hand over the last spans: %w", err)
	}
	return nil
}

// Flush hands over what has ended so far.
func (t *Tracer) Flush(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.ForceFlush(ctx); err != nil {
		return domain.E(domain.KindUnavailable, "hand over spans: %w", err)
	}
	return nil
}

type tracerKey struct{}

// With returns a context that holds a tracer, for steps that go on with traces which were stored; nil leaves ctx as it is.
func With(ctx context.Context, t *Tracer) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, tracerKey{}, t)
}

// From returns the tracer that ctx holds, nil = off.
func From(ctx context.Context) *Tracer {
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	return t
}

// quiet hands spans over and keeps faults of the receiver to itself: they are counted, and told once a minute.
type quiet struct {
	to             sdk.SpanExporter
	log            *slog.Logger
	says           rate.Sometimes
	handed, failed atomic.Uint64
}

func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.to.ExportSpans(ctx, spans)
	if err == nil {
		q.handed.Add(uint64(len(spans)))
		return nil
	}
	q.failed.Add(uint64(len(spans)))
	if q.log != nil {
		// The text of the fault may quote the receiver's answer, so it is not repeated.
		q.says.Do(func() { q.log.Warn("traces cannot be handed over and are dropped; work goes on", "spans", len(spans)) })
	}
	return nil
}

func (q *quiet) Shutdown(ctx context.Context) error { return q.to.Shutdown(ctx) }

func (q *quiet) register(m prometheus.Registerer, ended *counted) error {
	if m == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wedsync_trace_spans_ended_total", Help: "Spans that ended and were to be handed over."},
			func() float64 { return float64(ended.n.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wedsync_trace_spans_exported_total", Help: "Spans that the receiver took."},
			func() float64 { return float64(q.handed.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wedsync_trace_spans_refused_total", Help: "Spans that could not be handed over and were dropped."},
			func() float64 { return float64(q.failed.Load()) }),
	} {
		if err := m.Register(c); err != nil {
			return domain.E(domain.KindInternal, "register metrics of traces: %w", err)
		}
	}
	return nil
}

// counted counts the spans that ended, those too that find the queue full.
type counted struct{ n atomic.Uint64 }

func (*counted) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (c *counted) OnEnd(sdk.ReadOnlySpan)                   { c.n.Add(1) }
func (*counted) Shutdown(context.Context) error             { return nil }
func (*counted) ForceFlush(context.Context) error           { return nil }
