// Package app wires WedSync's parts into processes: the server (intake, API, live stream, dispatch), the worker
// (workflows and activities), and the development stack that runs both with a private Postgres and Temporal.
//
// Everything is wired by hand, in named steps that are undone in reverse order. A missing or wrong setting is named
// together with all the others before anything starts. Stopping is graceful: what was taken is finished or handed over.
package app

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/interceptor"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/retention"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/tracing"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/internal/webhookauth"
	"github.com/wedsync/wedsync/worker"
)

// Config is every setting of a process. Each has a flag and an environment variable of the same name, see Settings; the secrets
// of Google and Microsoft have no flag.
type Config struct {
	DatabaseURL      string // login role that is a member of wedsync_app and wedsync_system
	DatabaseConns    int    // connections for tenants' work
	SystemConns      int    // connections for intake, dispatch and stream
	TemporalAddress  string
	TemporalNS       string
	Keys             string // vault.ParseKeys
	TokenKeys        string // "id:base64,…", the first one signs
	TokenIssuer      string
	AllowPrivate     bool // outbound calls may go to private and loopback addresses
	LogLevel         string
	LogFormat        string
	HTTPAddr         string
	PublicURL        string
	TemporalUI       string
	MetricsToken     string
	Google           OAuthApp
	Microsoft        OAuthApp
	SMTP             SMTP
	PagerDutyURL     string // where events for PagerDuty are posted; "" = its usual address
	CodecToken       string // bearer token that lets an operator's browser decode payloads
	MaxBody          int64
	Committers       int
	IntegrationRate  float64
	AddressRate      float64
	OrganizationRate float64
	ServerShare      float64
	MaxWaiting       int
	TrustedProxies   []string
	ForwardedHeader  string
	ClientCertHeader string
	ClientCertFormat string
	DrainTimeout     time.Duration
	DrainDelay       time.Duration
	KeepBodies       time.Duration // raw bodies of webhooks
	KeepDeliveries   time.Duration // their rows, which is the dedupe window
	Queues           []string
	DatabaseSteps    int
	Reads            int
	Writes           int
	Posts            int           // subscribers that are sent to at once
	ProbeEvery       time.Duration // between two probes of a connection; 0 = nothing is probed
	ProbeControl     []string      // addresses that show whether our own connection works
	ProbeShards      int           // of the probing in this process; 0 = all
	Failover         failover.Settings
	Streams          int // live streams of this server
	StreamsPerOrg    int
	StopTimeout      time.Duration
	OutboundRates    []string // outbound.ParseRates
	MemoryLimit      string   // such as 900MiB, off, or "" for what the container allows; see LimitMemory
	// WorkerMetricsAddr is where a worker shows its metrics, host:port; "" = nowhere.
	WorkerMetricsAddr string
	Traces            Traces

	logTo   io.Writer                       // nil = standard error
	now     func() time.Time                // nil = time.Now
	between []interceptor.WorkerInterceptor // of workflows and steps
}

// clock is what everything goes by that stores or judges times. Probes, pauses between tries and measures of how long something
// took go by that of the machine.
func (c Config) clock() func() time.Time {
	if c.now == nil {
		return time.Now
	}
	return c.now
}

// Defaults returns the settings that a small production process starts from.
func Defaults() Config {
	return Config{DatabaseConns: 16, SystemConns: 10, TemporalAddress: "127.0.0.1:7233", TemporalNS: "default",
		TokenIssuer: "wedsync", LogLevel: "info", LogFormat: "text", HTTPAddr: "127.0.0.1:8080", MaxBody: 1 << 20, Committers: 3,
		IntegrationRate: 1000, KeepBodies: 30 * retention.Day, KeepDeliveries: 90 * retention.Day, AddressRate: 5000, OrganizationRate: 5000, ServerShare: 0.5, MaxWaiting: 2_000_000, ForwardedHeader: "x-forwarded-for",
		ClientCertFormat: "escaped-pem", DrainTimeout: 20 * time.Second, DatabaseSteps: 6, Reads: 32, Writes: 32, Posts: 64, ProbeEvery: 30 * time.Second, Streams: 6000, StreamsPerOrg: 1000, StopTimeout: 20 * time.Second,
		Traces: defaultTraces(), Failover: failover.Settings{}.Defaults()}
}

// Validate returns every fault at once, each naming the setting. Only a process that answers admins needs token keys.
func (c Config) Validate(admins bool) error {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, domain.Invalid(field, format, args...))
	}
	if u, err := url.Parse(c.DatabaseURL); c.DatabaseURL == "" || err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		bad("database-url", "must be a postgres:// URL")
	}
	if c.TemporalAddress == "" || !strings.Contains(c.TemporalAddress, ":") {
		bad("temporal-address", "must be host:port")
	}
	if u, err := url.Parse(c.PagerDutyURL); c.PagerDutyURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && c.AllowPrivate)) {
		bad("pagerduty-url", "must be an https:// URL")
	}
	if c.DatabaseConns < 2 || c.DatabaseConns > 1000 {
		bad("database-conns", "must be 2 to 1000, is %d", c.DatabaseConns)
	}
	if c.SystemConns < 4 || c.SystemConns > 1000 {
		bad("system-conns", "must be 4 to 1000, is %d", c.SystemConns)
	}
	if c.Committers < 1 || c.Committers > 32 {
		bad("committers", "must be 1 to 32, is %d", c.Committers)
	}
	if c.MaxBody < 1024 || c.MaxBody > 64<<20 {
		bad("max-body", "must be 1024 to 67108864 bytes, is %d", c.MaxBody)
	}
	if c.IntegrationRate < 1 || c.IntegrationRate > 1e6 {
		bad("integration-rate", "must be 1 to 1000000 a second")
	}
	if c.Streams < 1 || c.Streams > 100_000 {
		bad("streams", "must be 1 to 100000, is %d", c.Streams)
	}
	if c.StreamsPerOrg < 1 || c.StreamsPerOrg > 100_000 {
		bad("streams-per-org", "must be 1 to 100000, is %d", c.StreamsPerOrg)
	}
	for _, r := range []struct {
		field string
		rate  float64
	}{{"address-rate", c.AddressRate}, {"organization-rate", c.OrganizationRate}} {
		if r.rate != 0 && !(r.rate >= 1 && r.rate <= 1e6) {
			bad(r.field, "must be 1 to 1000000 a second, or 0 for no limit")
		}
	}
	if !(c.ServerShare >= 0.01 && c.ServerShare <= 1) {
		bad("server-share", "must be 0.01 to 1")
	}
	if c.MaxWaiting != 0 && (c.MaxWaiting < 1000 || c.MaxWaiting > 10_000_000) {
		bad("max-waiting", "must be 1000 to 10000000, or 0 for no limit, is %d", c.MaxWaiting)
	}
	if _, err := c.senders(); err != nil {
		faults = append(faults, err)
	}
	if c.DrainTimeout < time.Second || c.DrainTimeout > 10*time.Minute {
		bad("drain-timeout", "must be 1s to 10m, is %s", c.DrainTimeout)
	}
	if c.DrainDelay < 0 || c.DrainDelay > time.Minute {
		bad("drain-delay", "must be 0s to 1m, is %s", c.DrainDelay)
	}
	for _, control := range c.ProbeControl {
		if u, err := url.Parse(control); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			bad("probe-control", "must be http or https URLs")
		}
	}
	for _, d := range []struct {
		name        string
		v           time.Duration
		least, most time.Duration
	}{{"failover-poll", c.Failover.Poll, failover.LeastPoll, failover.MostPoll}, {"failover-grace", c.Failover.Grace, time.Second, 10 * time.Minute},
		{"failover-stay", c.Failover.Stay, time.Second, time.Hour}, {"failover-quiet", c.Failover.Quiet, time.Second, 24 * time.Hour}} {
		if d.v != 0 && (d.v < d.least || d.v > d.most) {
			bad(d.name, "must be %s to %s, is %s", d.least, d.most, d.v)
		}
	}
	if c.StopTimeout < time.Second || c.StopTimeout > 10*time.Minute {
		bad("stop-timeout", "must be 1s to 10m, is %s", c.StopTimeout)
	}
	if err := c.Retention().Validate(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.ring(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.tokenKeys(); err != nil && admins {
		faults = append(faults, err)
	}
	for _, v := range vendors {
		if _, err := c.oauthApp(v.name).secret(v.name); err != nil {
			faults = append(faults, err)
		}
	}
	if _, err := c.Logger(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.mailer(); err != nil {
		faults = append(faults, err)
	}
	if err := c.checkMetricsAddr(); err != nil {
		faults = append(faults, err)
	}
	if err := c.Traces.validate(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.outboundRates(); err != nil {
		faults = append(faults, err)
	}
	if _, err := parseMemory(c.MemoryLimit); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, c.worker().Validate())
	return errors.Join(faults...)
}

func (c Config) ring() (*vault.Keyring, error) {
	if c.Keys == "" {
		return nil, domain.Invalid("keys", "is required (make one with: wedsync keys new)")
	}
	return vault.ParseKeys(c.Keys)
}

// tokenKeys reads "id:base64,id:base64".
func (c Config) tokenKeys() ([]token.Key, error) {
	if c.TokenKeys == "" {
		return nil, domain.Invalid("token-keys", "is required: id:base64 of at least %d random bytes", token.MinKeyBytes)
	}
	var keys []token.Key
	for n, part := range strings.Split(c.TokenKeys, ",") {
		id, text, ok := strings.Cut(strings.TrimSpace(part), ":")
		secret, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || id == "" || len(secret) < token.MinKeyBytes {
			return nil, domain.Invalid("token-keys", "entry %d must be id:base64 of at least %d bytes", n+1, token.MinKeyBytes)
		}
		keys = append(keys, token.Key{ID: id, Secret: secret})
	}
	return keys, nil
}

// Retention says how long webhooks are kept.
func (c Config) Retention() retention.Options {
	return retention.Options{Bodies: c.KeepBodies, Rows: c.KeepDeliveries, Now: c.now}
}

func (c Config) worker() worker.Options {
	return worker.Options{Queues: c.Queues, DatabaseSteps: c.DatabaseSteps, Reads: c.Reads, Writes: c.Writes, Posts: c.Posts, Shards: c.ProbeShards, ProbeEvery: c.ProbeEvery,
		StopTimeout: c.StopTimeout}
}

// Logger makes the process's logger, on standard error unless the stack keeps a file.
func (c Config) Logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, domain.Invalid("log-level", "must be debug, info, warn or error, not %q", c.LogLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	to := c.logTo
	if to == nil {
		to = os.Stderr
	}
	switch c.LogFormat {
	case "text":
		return slog.New(tracing.LogHandler(slog.NewTextHandler(to, o))), nil
	case "json":
		return slog.New(tracing.LogHandler(slog.NewJSONHandler(to, o))), nil
	}
	return nil, domain.Invalid("log-format", "must be text or json, not %q", c.LogFormat)
}

// Mint makes a development token for the admin API with the first key.
func (c Config) Mint(g token.Grant, ttl time.Duration) (string, error) {
	keys, err := c.tokenKeys()
	if err != nil {
		return "", err
	}
	issuer, err := token.NewIssuer(c.TokenIssuer, keys[0])
	if err != nil {
		return "", err
	}
	return issuer.Mint(g, ttl, time.Now())
}

func (c Config) verifier() (*token.Verifier, error) {
	keys, err := c.tokenKeys()
	if err != nil {
		return nil, err
	}
	v, err := token.NewVerifier(token.Options{Issuer: c.TokenIssuer, Keys: keys})
	if err != nil {
		return nil, fmt.Errorf("token keys: %w", err)
	}
	return v, nil
}

// senders tells where requests come from, behind the proxies of the settings.
func (c Config) senders() (*clientaddr.Resolver, error) {
	trusted, err := clientaddr.ParseTrusted(c.TrustedProxies)
	if err != nil {
		return nil, domain.Invalid("trusted-proxies", "%s", err)
	}
	o := clientaddr.Options{Trusted: trusted, Header: c.ForwardedHeader, PublicURL: c.PublicURL}
	if c.ClientCertHeader != "" {
		format := webhookauth.CertFormat(c.ClientCertFormat)
		if !slices.Contains(certFormats, format) {
			return nil, domain.Invalid("client-cert-format", "must be %s, %s or %s, not %q", certFormats[0], certFormats[1], certFormats[2], c.ClientCertFormat)
		}
		if len(trusted) == 0 {
			return nil, domain.Invalid("client-cert-header", "is believed from trusted-proxies only, and there are none")
		}
		o.CertHeader = c.ClientCertHeader
		o.ParseCert = func(value string) (*x509.Certificate, error) { return webhookauth.ParseClientCert(format, value) }
	}
	r, err := clientaddr.New(o)
	if err != nil {
		return nil, domain.Invalid("forwarded-header", "%s", err)
	}
	return r, nil
}

var certFormats = []webhookauth.CertFormat{webhookauth.CertEscapedPEM, webhookauth.CertXFCC, webhookauth.CertRFC9440}
