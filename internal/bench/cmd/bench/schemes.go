package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// schemes are the ways of signing as they are measured, each with a new secret. A client certificate is checked by the
// proxy in front, so there is nothing of it to measure here; a path token is compared like any other key.
func schemes() ([]ingest.Scheme, error) {
	const registered = "https://hooks.example.com/v1/webhooks"
	list := []ingest.Scheme{
		{Name: "standard-webhooks", Auth: webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, IDSigned: true},
		{Name: "svix", Auth: webhookauth.Config{Scheme: webhookauth.Svix}, IDSigned: true},
		{Name: "hmac sha256", Auth: webhookauth.Config{Scheme: webhookauth.HMAC, Header: "X-Signature", IDHeader: "X-Id"}},
		{Name: "hmac sha512, id.timestamp.body", IDSigned: true, Auth: webhookauth.Config{Scheme: webhookauth.HMAC, Header: "X-Signature", Algorithm: "sha512",
			IDHeader: "X-Id", TimestampHeader: "X-Time", Content: "{id}.{timestamp}.{body}"}},
		{Name: "hmac sha1", Auth: webhookauth.Config{Scheme: webhookauth.HMAC, Header: "X-Signature", Algorithm: "sha1", AllowSHA1: true}},
		{Name: "stripe", Auth: webhookauth.Config{Scheme: webhookauth.Stripe}},
		{Name: "github", Auth: webhookauth.Config{Scheme: webhookauth.GitHub}},
		{Name: "slack", Auth: webhookauth.Config{Scheme: webhookauth.Slack}},
		{Name: "shopify", Auth: webhookauth.Config{Scheme: webhookauth.Shopify}},
		{Name: "square", Auth: webhookauth.Config{Scheme: webhookauth.Square, URL: registered}},
		{Name: "hubspot-v3", Auth: webhookauth.Config{Scheme: webhookauth.HubSpotV3, URL: registered}},
		{Name: "calendly", Auth: webhookauth.Config{Scheme: webhookauth.Calendly}},
		{Name: "acuity", Auth: webhookauth.Config{Scheme: webhookauth.Acuity}},
		{Name: "cal.com", Auth: webhookauth.Config{Scheme: webhookauth.CalCom}},
		{Name: "tripleseat", Auth: webhookauth.Config{Scheme: webhookauth.Tripleseat}},
		{Name: "http-message-signatures, hmac", IDSigned: true,
			Auth: webhookauth.Config{Scheme: webhookauth.MessageSignatures, Algorithm: "hmac-sha256", Components: []string{"content-digest"}}},
		{Name: "jwt HS256", IDSigned: true, Auth: webhookauth.Config{Scheme: webhookauth.JWTBearer,
			JWT: &webhookauth.JWT{Algorithms: []string{"HS256"}, Issuer: "bench", Audience: "wedsync"}}},
		{Name: "bearer", Auth: webhookauth.Config{Scheme: webhookauth.Bearer}},
		{Name: "basic", Auth: webhookauth.Config{Scheme: webhookauth.Basic}},
		{Name: "api-key", Auth: webhookauth.Config{Scheme: webhookauth.APIKey, Header: "X-Api-Key"}},
	}
	for i := range list {
		secret, err := webhookauth.Generate(list[i].Auth)
		if err != nil {
			return nil, fmt.Errorf("make a secret for %s: %w", list[i].Name, err)
		}
		list[i].Secret = string(secret)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	return append(list,
		ingest.Scheme{Name: "standard-webhooks v1a (ed25519)", Auth: webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, IDSigned: true,
			Secret: "whpk_" + base64.StdEncoding.EncodeToString(public), Private: private},
		ingest.Scheme{Name: "jwt EdDSA", IDSigned: true, Secret: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), Private: private,
			Auth: webhookauth.Config{Scheme: webhookauth.JWTBearer, JWT: &webhookauth.JWT{Algorithms: []string{"EdDSA"}, Issuer: "bench", Audience: "wedsync"}}},
	), nil
}

func runSchemes(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("schemes", progress)
	o := ingest.Options{Say: say}
	only := flags.String("only", "", "schemes to measure, parted by semicolons; all by default")
	bars := flags.Bool("bars", false, "exit 1 when a bar of the project is missed")
	flags.IntVar(&o.Connections, "connections", 64, "connections of the load generator")
	flags.IntVar(&o.Targets, "integrations", 10_000, "integrations that are posted to in turn")
	flags.IntVar(&o.BodyBytes, "body", 1024, "bytes of a body, at least 512")
	flags.DurationVar(&o.Duration, "duration", 10*time.Second, "time measured, each")
	flags.DurationVar(&o.Warmup, "warmup", 3*time.Second, "time before that, each")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stacks; the system's temporary folder by default")
	flags.StringVar(&o.Profile, "profile", "", "folder for CPU profiles of the server, of the last scheme measured")
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	list, err := schemes()
	if err != nil {
		return err
	}
	var names []string
	if *only != "" {
		names = strings.Split(*only, ";")
	}
	o.Provider = ingest.Provider{Registration: custom.Registration, Settings: crmsim.MinimalWebhookSettings(), SecretName: custom.SecretWebhook}
	result, err := ingest.RunSchemes(ctx, o, list, names)
	if err != nil {
		return err
	}
	fmt.Fprint(out, result.Table())
	return report(out, progress, result, *bars)
}
