package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/tracing"
)

// group is a set of settings that belong together; commands take the groups they need.
type group func(f *pflag.FlagSet, c *app.Config)

func storageSettings(f *pflag.FlagSet, c *app.Config) {
	f.StringVar(&c.DatabaseURL, "database-url", c.DatabaseURL, "Postgres URL (required) of a login role that is a member of wedsync_app and wedsync_system")
	f.IntVar(&c.DatabaseConns, "database-conns", c.DatabaseConns, "most connections to Postgres for work on one tenant's rows, 2 to 1000")
	f.IntVar(&c.SystemConns, "system-conns", c.SystemConns, "most connections to Postgres for intake, dispatch and live stream, 4 to 1000")
	f.StringVar(&c.Keys, "keys", c.Keys, "master keys (required) as id:base64,id:base64; the first one seals, the others still open; the same for every process (wedsync keys new)")
}

func temporalSettings(f *pflag.FlagSet, c *app.Config) {
	f.StringVar(&c.TemporalAddress, "temporal-address", c.TemporalAddress, "host:port of the Temporal frontend")
	f.StringVar(&c.TemporalNS, "temporal-namespace", c.TemporalNS, "Temporal namespace; its search attributes must exist (deploy/temporal/namespace.sh)")
}

func tokenSettings(f *pflag.FlagSet, c *app.Config) {
	f.StringVar(&c.TokenKeys, "token-keys", c.TokenKeys, "keys of admin tokens as id:base64,id:base64, at least 32 bytes each; all verify, the first one signs (wedsync keys new --kind token)")
	f.StringVar(&c.TokenIssuer, "token-issuer", c.TokenIssuer, "issuer (iss) that admin tokens must name")
}

func logSettings(f *pflag.FlagSet, c *app.Config) {
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "text or json")
}

// traceSettings have the names and the variables that OpenTelemetry gives them, but for the last. The receiver's credentials have no
// flag: they are read from OTEL_EXPORTER_OTLP_HEADERS.
func traceSettings(f *pflag.FlagSet, c *app.Config) {
	t := &c.Traces
	f.StringVar(&t.Endpoint, "otlp-endpoint", t.Endpoint, "base URL of a receiver of OpenTelemetry traces over HTTP, such as http://127.0.0.1:4318; empty = tracing is off")
	f.StringVar(&t.TracesEndpoint, "otlp-traces-endpoint", t.TracesEndpoint, "its whole URL, where that does not end in /v1/traces")
	f.StringVar(&t.Protocol, "otlp-protocol", t.Protocol, "how spans are sent: http/protobuf")
	f.StringVar(&t.Exporter, "traces-exporter", t.Exporter, "otlp, or none to switch tracing off")
	f.BoolVar(&t.Disabled, "otel-sdk-disabled", t.Disabled, "switch tracing off whatever else is set")
	f.StringVar(&t.Sampler, "traces-sampler", t.Sampler, "which traces are kept: "+strings.Join(tracing.Samplers(), ", "))
	f.StringVar(&t.SamplerArg, "traces-sampler-arg", t.SamplerArg, "their share for a sampler of a ratio, 0 to 1")
	f.StringVar(&t.Service, "service-name", t.Service, "name of this program in traces")
	f.StringSliceVar(&t.Callers, "trace-callers", t.Callers, "networks whose traceparent header is continued at the webhook intake, such as of a gateway that sets it anew; others' is linked")
}

func outboundSettings(f *pflag.FlagSet, c *app.Config) {
	f.BoolVar(&c.AllowPrivate, "allow-private", c.AllowPrivate, "let outbound calls reach private and loopback addresses (development only)")
	f.StringSliceVar(&c.OutboundRates, "outbound-rates", c.OutboundRates, "how fast outside systems may be called, as [SYSTEM.]SCOPE=PER_SECOND[:BURST] with scope integration, account or host: host=50:200 for systems of which no number is known, google.host=300 for a provider, tokens.host=20 for token endpoints; the same for servers and workers")
	f.StringVar(&c.MemoryLimit, "memory-limit", c.MemoryLimit, "memory that this process should stay below, such as 900MiB or 2GiB: near it garbage is collected more often; off = no limit; empty = 1GiB for servers, for workers nine tenths of what the container may use, unless GOMEMLIMIT is set")
}

// consentSettings are the registrations with vendors whose systems are connected by consent. Their secrets have no flag,
// because flags are shown by the list of processes.
func consentSettings(f *pflag.FlagSet, c *app.Config) {
	for _, v := range []struct {
		name, title string
		app         *app.OAuthApp
	}{{"google", "Google", &c.Google}, {"microsoft", "Microsoft", &c.Microsoft}} {
		secret := envName(v.name + "-client-secret")
		v.app.Secret = os.Getenv(secret)
		f.StringVar(&v.app.ID, v.name+"-client-id", v.app.ID, "client id of this installation with "+v.title+"; its secret is read from ["+secret+"] or from the file named below")
		f.StringVar(&v.app.SecretFile, v.name+"-client-secret-file", v.app.SecretFile, "file that holds the secret of that client id")
	}
}

func serverSettings(f *pflag.FlagSet, c *app.Config) {
	probeSetting(f, c)
	f.StringVar(&c.HTTPAddr, "http-addr", c.HTTPAddr, "address to listen on, host:port; 0.0.0.0:8080 for every network of this machine")
	f.StringVar(&c.PublicURL, "public-url", c.PublicURL, "how others reach this server, such as https://sync.example.com; webhook URLs begin with it")
	f.StringVar(&c.TemporalUI, "temporal-ui", c.TemporalUI, "base URL of Temporal UI, for links; turns on the codec endpoint at /codec for its pages")
	f.StringVar(&c.CodecToken, "codec-token", c.CodecToken, "bearer token that the codec endpoint asks for; without one it decodes nothing, except on a development stack")
	f.StringVar(&c.MetricsToken, "metrics-token", c.MetricsToken, "bearer token that /metrics asks for; without one only this machine is answered")
	f.Int64Var(&c.MaxBody, "max-body", c.MaxBody, "largest webhook body in bytes, 1024 to 67108864")
	f.IntVar(&c.Committers, "committers", c.Committers, "webhook commits under way at once, 1 to 32")
	f.Float64Var(&c.IntegrationRate, "integration-rate", c.IntegrationRate, "webhooks a second that this server takes of one integration, 1 to 1000000; twice that at once")
	f.IntVar(&c.Streams, "streams", c.Streams, "live streams that this server keeps open, 1 to 100000; each takes a file descriptor")
	f.IntVar(&c.StreamsPerOrg, "streams-per-org", c.StreamsPerOrg, "live streams of one organisation, 1 to 100000")
	f.Float64Var(&c.AddressRate, "address-rate", c.AddressRate, "webhook requests a second that this server takes of one source address (an IPv6 /64 network), 1 to 1000000; twice that at once; 0 = no limit")
	f.Float64Var(&c.OrganizationRate, "organization-rate", c.OrganizationRate, "webhooks a second that all servers together take of one organisation, 1 to 1000000; twice that at once; 0 = no limit; the same for every server")
	f.Float64Var(&c.ServerShare, "server-share", c.ServerShare, "part of organization-rate that this server gives by itself while Postgres does not answer, 0.01 to 1; one over the number of servers")
	f.IntVar(&c.MaxWaiting, "max-waiting", c.MaxWaiting, "deliveries that may wait to be applied before new webhooks get 503, 1000 to 10000000; 0 = no limit")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxies", c.TrustedProxies, "networks of the proxies in front, such as 10.0.0.0/8,2001:db8::/32; only they are believed about where a request came from")
	f.StringVar(&c.ForwardedHeader, "forwarded-header", c.ForwardedHeader, "header in which trusted proxies tell that: x-forwarded-for (with X-Forwarded-Proto and X-Forwarded-Host) or forwarded (RFC 7239); the other one is not read")
	f.StringVar(&c.ClientCertHeader, "client-cert-header", c.ClientCertHeader, "header in which trusted proxies forward the certificate of a sender, and which they remove when a sender sets it; empty = none")
	f.StringVar(&c.ClientCertFormat, "client-cert-format", c.ClientCertFormat, "its format: escaped-pem, xfcc or rfc9440")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "how long requests in flight may take to finish after SIGTERM, 1s to 10m")
	f.DurationVar(&c.DrainDelay, "drain-delay", c.DrainDelay, "how long /readyz says 503 before connections are refused, 0s to 1m")
}

// mailSettings are of the mail server that notifications go through. Its password has no flag, because flags are shown by the
// list of processes.
func mailSettings(f *pflag.FlagSet, c *app.Config) {
	c.SMTP.Password = os.Getenv(envName("smtp-password"))
	f.StringVar(&c.SMTP.Addr, "smtp-addr", c.SMTP.Addr, "host:port of the mail server that notifications go through; empty = no mail")
	f.StringVar(&c.SMTP.Mode, "smtp-mode", c.SMTP.Mode, "starttls (required of the server, usually port 587), tls (from the first byte, usually port 465) or plain (with smtp-private only)")
	f.StringVar(&c.SMTP.From, "smtp-from", c.SMTP.From, "sender of notifications, such as WedSync <notify@example.com>")
	f.StringVar(&c.SMTP.Username, "smtp-username", c.SMTP.Username, "user at the mail server; the password is read from ["+envName("smtp-password")+"] or from the file named below; empty = none")
	f.StringVar(&c.SMTP.PasswordFile, "smtp-password-file", c.SMTP.PasswordFile, "file that holds that password")
	f.StringVar(&c.PagerDutyURL, "pagerduty-url", c.PagerDutyURL, "where events for PagerDuty are posted, such as the address of its European region; empty = https://events.pagerduty.com/v2/enqueue")
	f.BoolVar(&c.SMTP.Private, "smtp-private", c.SMTP.Private, "the mail server may have a private address, as a relay of one's own network has")
}

// probeSetting is for servers, which start the probing, and workers, which do it.
func probeSetting(f *pflag.FlagSet, c *app.Config) {
	if f.Lookup("probe-every") == nil {
		f.DurationVar(&c.ProbeEvery, "probe-every", c.ProbeEvery, "time between two probes of a connection, 5s to 1h, the same for servers and workers; 0 probes nothing")
	}
}

func retentionSettings(f *pflag.FlagSet, c *app.Config) {
	f.DurationVar(&c.KeepBodies, "keep-bodies", c.KeepBodies, "how long raw bodies of applied and ignored webhooks are kept, 24h to keep-deliveries; their SHA-256 stays")
	f.DurationVar(&c.KeepDeliveries, "keep-deliveries", c.KeepDeliveries, "how long webhooks are kept at all, and a repeat of one is recognised, 720h to 87600h")
}

func workerSettings(f *pflag.FlagSet, c *app.Config) {
	if f.Lookup("public-url") == nil {
		f.StringVar(&c.PublicURL, "public-url", c.PublicURL, "as for the server: where calendars post when something changed; only with https; empty = calendars are polled only")
	}
	if f.Lookup("metrics-token") == nil {
		f.StringVar(&c.MetricsToken, "metrics-token", c.MetricsToken, "bearer token that /metrics asks for")
	}
	f.StringVar(&c.WorkerMetricsAddr, "worker-metrics-addr", c.WorkerMetricsAddr, "address at which this worker shows /metrics, host:port; beyond this machine with metrics-token only; empty = nowhere")
	f.StringSliceVar(&c.Queues, "queues", c.Queues, "task queues to serve, of "+strings.Join(contract.Queues(), ",")+": workflows and database steps, reads of outside systems, writes to them, outgoing webhooks; empty = all")
	f.IntVar(&c.DatabaseSteps, "database-steps", c.DatabaseSteps, "database steps of workflows that this process runs at once, up to 10000")
	f.IntVar(&c.Reads, "reads", c.Reads, "reads of outside systems that this process runs at once, up to 10000")
	f.IntVar(&c.Writes, "writes", c.Writes, "writes to outside systems that this process runs at once, up to 10000")
	probeSetting(f, c)
	f.StringSliceVar(&c.ProbeControl, "probe-control", c.ProbeControl, "URLs that show, by any answer, that our own connection works while probes fail")
	f.IntVar(&c.ProbeShards, "probe-shards", c.ProbeShards, "shards of the probing in this process at once, of 16; 0 takes all")
	f.DurationVar(&c.Failover.Poll, "failover-poll", c.Failover.Poll, "time between two polls that stand in for webhooks, 1s to 5m; longer where a vendor allows few calls")
	f.DurationVar(&c.Failover.Grace, "failover-grace", c.Failover.Grace, "how long a webhook may take that tells of what a poll found, 1s to 10m")
	f.DurationVar(&c.Failover.Stay, "failover-stay", c.Failover.Stay, "least time with polls, 1s to 1h; doubled each time a connection fails over again within hours")
	f.DurationVar(&c.Failover.Quiet, "failover-quiet", c.Failover.Quiet, "time in which nothing was missed, before a single webhook or a repair is believed, 1s to 24h")
	f.IntVar(&c.Posts, "posts", c.Posts, "subscribers that this process sends webhooks to at once, up to 10000")
	f.DurationVar(&c.StopTimeout, "stop-timeout", c.StopTimeout, "how long running activities may take to finish after SIGTERM, 1s to 10m")
}

// settings adds groups of settings to a command. A flag that is not given takes its value from the environment.
func settings(cmd *cobra.Command, c *app.Config, groups ...group) {
	for _, g := range groups {
		g(cmd.Flags(), c)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			f.Usage += " [" + envName(f.Name) + "]"
		}
	})
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || f.Name == "help" {
			return
		}
		if v, ok := os.LookupEnv(envName(f.Name)); ok && v != "" {
			if setErr := flags.Set(f.Name, v); setErr != nil {
				err = &usageError{fmt.Errorf("%s: %w", envName(f.Name), setErr)}
			}
		}
	})
	return err
}

// envName is the environment variable of a flag. Those that the rest of the world knows keep their usual names.
func envName(flag string) string {
	switch flag {
	case "database-url":
		return "DATABASE_URL"
	case "temporal-address":
		return "TEMPORAL_ADDRESS"
	case "otlp-endpoint", "otlp-traces-endpoint", "otlp-protocol":
		return "OTEL_EXPORTER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	case "traces-exporter", "traces-sampler", "traces-sampler-arg", "service-name":
		return "OTEL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	case "otel-sdk-disabled":
		return "OTEL_SDK_DISABLED"
	}
	return "WEDSYNC_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
