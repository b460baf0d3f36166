package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/webhookauth"
	"github.com/wedsync/wedsync/internal/webhookauth/jwks"
)

func webhookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "Find out why webhooks are taken or refused"}
	cmd.AddCommand(webhookVerifyCommand(), webhookSchemesCommand())
	return cmd
}

func webhookSchemesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schemes", Short: "List the ways in which senders may prove themselves, with what each needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, s := range webhookauth.Schemes() {
				fmt.Fprintf(w, "%s\t%s\n", s.Scheme, s.About)
				for _, line := range []struct{ name, text string }{
					{"secret", s.Secret}, {"required", strings.Join(s.Required, ", ")}, {"optional", strings.Join(s.Optional, ", ")},
				} {
					if line.text != "" {
						fmt.Fprintf(w, "\t  %s: %s\n", line.name, line.text)
					}
				}
			}
			return w.Flush()
		},
	}
}

// webhookRequest is what the flags of "webhook verify" say.
type webhookRequest struct {
	scheme, config               string
	secrets, secretEnvs, secretF []string
	headers                      []string
	body, url, method, at        string
	tolerance                    time.Duration
	pathToken, peer, clientCert  string
	allowPrivate                 bool
}

func webhookVerifyCommand() *cobra.Command {
	var r webhookRequest
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify a captured webhook as the server would, and say why it passes or not",
		Long: "Verify a captured webhook as the server would, and say why it passes or not. Nothing is stored, and nothing is asked of the network\n" +
			"except the key set of a jwt with jwks_url. Exit status is 0 for a genuine request, 1 for a refused one, 2 for a wrong call.\n\n" +
			"Secrets given by --secret can be seen in the list of processes; --secret-env and --secret-file avoid that.",
		Example: "  wedsync webhook verify --scheme stripe --secret-env STRIPE_SECRET --header \"Stripe-Signature: t=...,v1=...\" --body-file body.json --at 1700000000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), time.Now())
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.scheme, "scheme", "", "how the sender proves itself (wedsync webhook schemes); not needed where the config names it")
	f.StringVar(&r.config, "config", "", "JSON file with the part verify of the integration's settings, - for standard input")
	f.StringArrayVar(&r.secrets, "secret", nil, "secret as the sender shows it; repeatable, any may match")
	f.StringArrayVar(&r.secretEnvs, "secret-env", nil, "environment variable with one secret or several; repeatable")
	f.StringArrayVar(&r.secretF, "secret-file", nil, "file with one secret or several, - for standard input; repeatable")
	f.StringArrayVar(&r.headers, "header", nil, "header as \"Name: value\"; repeatable")
	f.StringVar(&r.body, "body-file", "", "file with the raw body, - for standard input; an empty body where absent")
	f.StringVar(&r.url, "url", "", "address as the sender called it, and as it was registered unless the config says so")
	f.StringVar(&r.method, "method", http.MethodPost, "method of the request")
	f.StringVar(&r.at, "at", "", "when the request came, as RFC 3339 or Unix seconds; now where absent")
	f.DurationVar(&r.tolerance, "tolerance", 0, "how far its time may be from that, whole seconds; the scheme's own where absent")
	f.StringVar(&r.pathToken, "path-token", "", "what follows the integration in the path")
	f.StringVar(&r.peer, "peer", "", "address of the sender")
	f.StringVar(&r.clientCert, "client-cert", "", "PEM file with the sender's certificate")
	f.BoolVar(&r.allowPrivate, "allow-private", false, "let jwks_url be at a private or loopback address")
	return cmd
}

// refusedError is a webhook that the server would refuse. It hides what is inside, whose kind would tell a wrong call.
type refusedError struct{ reason error }

func (e *refusedError) Error() string { return "refused: " + e.reason.Error() }

func (r *webhookRequest) run(ctx context.Context, stdin io.Reader, out io.Writer, now time.Time) error {
	in := &webhookInput{stdin: stdin}
	cfg, err := r.readConfig(in)
	if err != nil {
		return err
	}
	secrets, err := r.readSecrets(in, cfg)
	if err != nil {
		return err
	}
	req, err := r.request(in)
	if err != nil {
		return err
	}
	if now, err = r.time(now); err != nil {
		return err
	}
	o, err := r.options()
	if err != nil {
		return err
	}
	v, err := webhookauth.New(cfg, secrets, o)
	if err != nil {
		return err
	}
	result, err := v.Verify(ctx, req, now)
	if err != nil {
		fmt.Fprintf(out, "refused  scheme %s, %d bytes of body, %d credentials\n", cfg.Scheme, len(req.Body), len(secrets))
		// Editors and shells end a file with a line break that the sender never signed.
		if trimmed := bytes.TrimRight(req.Body, "\r\n"); len(trimmed) < len(req.Body) {
			req.Body = trimmed
			if _, again := v.Verify(ctx, req, now); again == nil {
				fmt.Fprintln(out, "hint     it is genuine without the line break at the end of the body: whatever saved the file added it")
			}
		}
		if reason := (*webhookauth.Reason)(nil); errors.As(err, &reason) && reason.Undecided() {
			fmt.Fprintln(out, "hint     it may be genuine: the server answers 503 with Retry-After, so that the sender tries again")
		}
		return &refusedError{err}
	}
	explain(out, cfg, result, len(secrets), now)
	return nil
}

func explain(out io.Writer, cfg webhookauth.Config, result webhookauth.Result, secrets int, now time.Time) {
	fmt.Fprintf(out, "genuine     scheme %s\n", cfg.Scheme)
	if secrets > 0 {
		fmt.Fprintf(out, "credential  %s, %d of %d\n", result.Credential, result.SecretIndex+1, secrets)
	}
	copies := "counts as a repeat"
	switch {
	case result.MessageID == "" && result.Hint:
		copies = "makes the entry be read once more"
		fmt.Fprintln(out, "message id  none: each one is a reason to read the entry")
	case result.MessageID == "":
		fmt.Fprintln(out, "message id  none: repeats are told apart by the body")
	case result.IDSigned:
		fmt.Fprintf(out, "message id  %s, signed\n", result.MessageID)
	default:
		fmt.Fprintf(out, "message id  %s, not signed: repeats are told apart by it and the body\n", result.MessageID)
	}
	if result.Timestamp.IsZero() {
		fmt.Fprintf(out, "signed at   no signed time: a copy passes at any time and %s\n", copies)
	} else {
		fmt.Fprintf(out, "signed at   %s, %s before it came\n", result.Timestamp.Format(time.RFC3339), now.Sub(result.Timestamp).Round(time.Second))
	}
	if result.Hint {
		fmt.Fprintln(out, "trust       a hint only: the body is not believed, the entry is read from the system")
	}
}

// webhookInput reads files, of which one may be standard input.
type webhookInput struct {
	stdin io.Reader
	used  string
}

const maxWebhookFile = 64 << 20

func (in *webhookInput) read(flag, name string) ([]byte, error) {
	source := in.stdin
	if name == "-" {
		if in.used != "" {
			return nil, domain.Invalid(flag, "standard input is read by %s already", in.used)
		}
		in.used = flag
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, domain.Invalid(flag, "%s", err)
		}
		defer f.Close()
		source = f
	}
	b, err := io.ReadAll(io.LimitReader(source, maxWebhookFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", flag, err)
	}
	if len(b) > maxWebhookFile {
		return nil, domain.Invalid(flag, "more than %d bytes", maxWebhookFile)
	}
	return b, nil
}

func (r *webhookRequest) readConfig(in *webhookInput) (cfg webhookauth.Config, err error) {
	if r.config != "" {
		text, err := in.read("--config", r.config)
		if err != nil {
			return cfg, err
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&cfg); err != nil {
			return cfg, domain.Invalid("--config", "%s", err)
		}
	}
	if r.scheme != "" {
		if cfg.Scheme != "" && string(cfg.Scheme) != r.scheme {
			return cfg, domain.Invalid("--scheme", "%s, but the config says %s", r.scheme, cfg.Scheme)
		}
		cfg.Scheme = webhookauth.Scheme(r.scheme)
	}
	if cfg.Scheme == "" {
		return cfg, domain.Invalid("--scheme", "is required, or a --config that names it (wedsync webhook schemes)")
	}
	if r.tolerance != 0 {
		if r.tolerance < time.Second || r.tolerance%time.Second != 0 {
			return cfg, domain.Invalid("--tolerance", "want whole seconds, such as 300s")
		}
		cfg.ToleranceSeconds = int(r.tolerance / time.Second)
	}
	if cfg.URL == "" && r.url != "" && signsRegisteredURL(cfg) {
		cfg.URL = r.url
	}
	cfg.Challenge = "" // a delivery is looked at, not a handshake
	return cfg, nil
}

func signsRegisteredURL(cfg webhookauth.Config) bool {
	for _, s := range webhookauth.Schemes() {
		if s.Scheme == cfg.Scheme && slices.Contains(s.Required, "url") {
			return true
		}
	}
	return strings.Contains(string(cfg.Content), "{url}")
}

func (r *webhookRequest) readSecrets(in *webhookInput, cfg webhookauth.Config) (out []webhookauth.Credential, err error) {
	add := func(from string, secrets ...webhookauth.Secret) {
		for i, s := range secrets {
			id := from
			if len(secrets) > 1 {
				id += " (" + strconv.Itoa(i+1) + ")"
			}
			out = append(out, webhookauth.Credential{ID: id, Secret: s})
		}
	}
	for i, s := range r.secrets {
		add("--secret "+strconv.Itoa(i+1), webhookauth.Secret(s))
	}
	for _, name := range r.secretEnvs {
		text, ok := os.LookupEnv(name)
		if !ok {
			return nil, domain.Invalid("--secret-env", "%s is not set", name)
		}
		add("--secret-env "+name, cfg.Split(text)...)
	}
	for _, name := range r.secretF {
		text, err := in.read("--secret-file", name)
		if err != nil {
			return nil, err
		}
		add("--secret-file "+name, cfg.Split(string(text))...)
	}
	return out, nil
}

func (r *webhookRequest) request(in *webhookInput) (req webhookauth.Request, err error) {
	req = webhookauth.Request{Header: http.Header{}, Method: r.method, URL: r.url, PathToken: r.pathToken}
	for i, line := range r.headers {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return req, domain.Invalid("--header", "number %d is not of the form \"Name: value\"", i+1)
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
	if r.body != "" {
		if req.Body, err = in.read("--body-file", r.body); err != nil {
			return req, err
		}
	}
	if r.peer != "" {
		if req.Peer, err = netip.ParseAddr(r.peer); err != nil {
			return req, domain.Invalid("--peer", "want an IP address")
		}
	}
	if r.clientCert != "" {
		text, err := in.read("--client-cert", r.clientCert)
		if err != nil {
			return req, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return req, domain.Invalid("--client-cert", "want a certificate in PEM")
		}
		if req.ClientCert, err = x509.ParseCertificate(block.Bytes); err != nil {
			return req, domain.Invalid("--client-cert", "want a certificate in PEM")
		}
	}
	return req, nil
}

func (r *webhookRequest) time(now time.Time) (time.Time, error) {
	if r.at == "" {
		return now, nil
	}
	if seconds, err := strconv.ParseInt(r.at, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, r.at)
	if err != nil {
		return at, domain.Invalid("--at", "want a time such as 2026-06-20T12:00:00Z, or Unix seconds")
	}
	return at, nil
}

func (r *webhookRequest) options() (webhookauth.Options, error) {
	policy := httpx.PublicOnly
	if r.allowPrivate {
		policy = httpx.AllowPrivate
	}
	client, err := httpx.New(httpx.Options{Allow: policy, MaxBody: jwks.MaxBody, Timeouts: httpx.Timeouts{Total: 5 * time.Second}})
	if err != nil {
		return webhookauth.Options{}, fmt.Errorf("make the HTTP client for key sets: %w", err)
	}
	return webhookauth.Options{KeySets: jwks.New(jwks.Options{HTTP: client, AllowHTTP: r.allowPrivate})}, nil
}
