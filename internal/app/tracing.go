package app

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Traces say where OpenTelemetry traces go. Most settings have the names that OpenTelemetry gives them. Without an endpoint tracing
// is off and costs nothing.
type Traces struct {
	Endpoint       string // base URL of a receiver of OTLP over HTTP; /v1/traces is added. "" = off
	TracesEndpoint string // the whole URL instead
	Protocol       string // http/protobuf, the only one that is spoken
	Exporter       string // otlp, or none to switch tracing off
	Disabled       bool
	Sampler        string // tracing.Samplers
	SamplerArg     string
	Service        string
	Callers        []string // networks of callers whose own traces are continued
}

const (
	otlpHTTP     = "http/protobuf"
	exporterOTLP = "otlp"
	exporterNone = "none"
)

// closeTraces bounds how long a process that stops hands over its last spans.
const closeTraces = 3 * time.Second

func defaultTraces() Traces {
	return Traces{Protocol: otlpHTTP, Exporter: exporterOTLP, Sampler: tracing.DefaultSampler, Service: "wedsync"}
}

// endpoint is the whole URL, "" = off.
func (t Traces) endpoint() string {
	switch {
	case t.Disabled, t.Exporter == exporterNone:
		return ""
	case t.TracesEndpoint != "":
		return t.TracesEndpoint
	case t.Endpoint != "":
		return strings.TrimSuffix(t.Endpoint, "/") + "/v1/traces"
	}
	return ""
}

func (t Traces) options() tracing.Options {
	return tracing.Options{Endpoint: t.endpoint(), Sampler: t.Sampler, SamplerArg: t.SamplerArg, Service: t.Service, Version: Version}
}

// validate looks at the settings of an exporter only when there is one: the variables are shared with other programs.
func (t Traces) validate() error {
	if t.Exporter != "" && t.Exporter != exporterOTLP && t.Exporter != exporterNone {
		return domain.Invalid("traces-exporter", "must be %s or %s, not %q", exporterOTLP, exporterNone, t.Exporter)
	}
	if _, err := t.callers(); err != nil {
		return err
	}
	if t.endpoint() == "" {
		return nil
	}
	if t.Protocol != "" && t.Protocol != otlpHTTP {
		return domain.Invalid("otlp-protocol", "must be %s, not %q: spans are sent over HTTP", otlpHTTP, t.Protocol)
	}
	return t.options().Validate()
}

func (t Traces) callers() ([]netip.Prefix, error) {
	list, err := clientaddr.ParseTrusted(t.Callers)
	if err != nil {
		return nil, domain.Invalid("trace-callers", "%s", err)
	}
	return list, nil
}

// openTraces makes the tracer of a process, nil while tracing is off.
func (c *Core) openTraces(ctx context.Context, name string) (err error) {
	o := c.Config.Traces.options()
	host, _ := os.Hostname()
	o.Process, o.Log, o.Metrics = name+"@"+host, c.Log, c.Metrics
	c.Tracer, err = tracing.New(ctx, o)
	return err
}

// closeTracer hands over what waits. The receiver may be away, so it is not waited for long.
func (c *Core) closeTracer() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTraces)
	defer cancel()
	if err := c.Tracer.Close(ctx); err != nil {
		c.Log.Warn("the last spans were not handed over", "error", err)
	}
}
