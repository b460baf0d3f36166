package webhookauth

import (
	"reflect"
	"slices"
	"strings"
)

// The presets of HMAC: what a vendor documents of its own signatures, so that an operator gives the secret and nothing else.
const (
	// Svix is Standard Webhooks under the headers svix-id, svix-timestamp and svix-signature.
	Svix Scheme = "svix"
	// Stripe signs "timestamp.body" in Stripe-Signature, a list that may hold several v1 while a secret is rolled.
	Stripe Scheme = "stripe"
	// GitHub signs the body in X-Hub-Signature-256, as Meta and WebSub hubs do.
	GitHub Scheme = "github"
	// Slack signs "v0:timestamp:body" in X-Slack-Signature.
	Slack Scheme = "slack"
	// Shopify signs the body in X-Shopify-Hmac-Sha256.
	Shopify Scheme = "shopify"
	// Square signs the registered address and the body in X-Square-HmacSha256-Signature.
	Square Scheme = "square"
	// HubSpotV3 signs method, registered address, body and milliseconds in X-HubSpot-Signature-v3.
	HubSpotV3 Scheme = "hubspot-v3"
	// Calendly signs "timestamp.body" in Calendly-Webhook-Signature, by default for three minutes.
	Calendly Scheme = "calendly"
	// Acuity signs the body in X-Acuity-Signature with the API key.
	Acuity Scheme = "acuity"
	// CalCom signs the body in X-Cal-Signature-256.
	CalCom Scheme = "cal.com"
	// Tripleseat signs the body in X-Signature. It does not publish the encoding, so that Encoding may be set; hex by default.
	Tripleseat Scheme = "tripleseat"
	// Zoom signs "v0:timestamp:body" in X-Zm-Signature.
	Zoom Scheme = "zoom"
)

type preset struct {
	about, secret string
	fixed         Config
	open          []string // fields that remain to be set
}

var presets = map[Scheme]preset{
	Stripe: {about: "Stripe-Signature: t=,v1= over timestamp.body", secret: "the endpoint's signing secret, whole (whsec_...)",
		fixed: Config{Header: "Stripe-Signature", SignatureKey: "v1", TimestampKey: "t", Content: "{timestamp}.{body}"}, open: []string{"tolerance_seconds"}},
	GitHub: {about: "X-Hub-Signature-256: sha256= over the body", secret: "the webhook's secret",
		fixed: Config{Header: "X-Hub-Signature-256", Prefix: "sha256=", IDHeader: "X-Github-Delivery"}},
	Slack: {about: "X-Slack-Signature: v0= over v0:timestamp:body", secret: "the app's signing secret",
		fixed: Config{Header: "X-Slack-Signature", Prefix: "v0=", TimestampHeader: "X-Slack-Request-Timestamp", Content: "v0:{timestamp}:{body}"}, open: []string{"tolerance_seconds"}},
	Shopify: {about: "X-Shopify-Hmac-Sha256 over the body", secret: "the app's client secret, or the one shown with the shop's webhooks",
		fixed: Config{Header: "X-Shopify-Hmac-Sha256", Encoding: Base64, IDHeader: "X-Shopify-Webhook-Id"}},
	Square: {about: "X-Square-HmacSha256-Signature over url and body", secret: "the subscription's signature key",
		fixed: Config{Header: "X-Square-Hmacsha256-Signature", Encoding: Base64, Content: "{url}{body}"}, open: []string{"url"}},
	HubSpotV3: {about: "X-HubSpot-Signature-v3 over method, url, body and milliseconds", secret: "the app's client secret",
		fixed: Config{Header: "X-Hubspot-Signature-V3", Encoding: Base64, TimestampHeader: "X-Hubspot-Request-Timestamp", TimestampUnit: "milliseconds",
			Content: "{method}{url}{body}{timestamp}"}, open: []string{"url", "tolerance_seconds"}},
	Calendly: {about: "Calendly-Webhook-Signature: t=,v1= over timestamp.body", secret: "the subscription's signing key",
		fixed: Config{Header: "Calendly-Webhook-Signature", SignatureKey: "v1", TimestampKey: "t", Content: "{timestamp}.{body}", ToleranceSeconds: 180}, open: []string{"tolerance_seconds"}},
	Acuity: {about: "X-Acuity-Signature over the body", secret: "the main administrator's API key",
		fixed: Config{Header: "X-Acuity-Signature", Encoding: Base64}},
	CalCom: {about: "X-Cal-Signature-256 over the body", secret: "the webhook's secret",
		fixed: Config{Header: "X-Cal-Signature-256"}},
	Tripleseat: {about: "X-Signature over the body; hex unless encoding says otherwise", secret: "the endpoint's signing key",
		fixed: Config{Header: "X-Signature"}, open: []string{"encoding"}},
	Zoom: {about: "X-Zm-Signature: v0= over v0:timestamp:body", secret: "the app's secret token",
		fixed: Config{Header: "X-Zm-Signature", Prefix: "v0=", TimestampHeader: "X-Zm-Request-Timestamp", Content: "v0:{timestamp}:{body}"}, open: []string{"tolerance_seconds"}},
}

func presetSpec(name Scheme) spec {
	p := presets[name]
	s := spec{about: p.about, secret: p.secret, fields: append([]string{}, p.open...), key: hmacKey, build: buildHMAC}
	if slices.Contains(p.open, "url") {
		s.required = []string{"url"}
	}
	s.check = func(c *Config) error {
		// What is fixed cannot be set, so what c holds is still open, and goes before a default.
		own, fixed := reflect.ValueOf(c).Elem(), reflect.ValueOf(p.fixed)
		for i := range own.NumField() {
			if own.Field(i).IsZero() {
				own.Field(i).Set(fixed.Field(i))
			}
		}
		if err := checkHMAC(c); err != nil {
			return err
		}
		if name == HubSpotV3 {
			c.URL = hubspotURL.Replace(c.URL)
		}
		return nil
	}
	return s
}

// hubspotURL undoes those escapes of an address that HubSpot signs unescaped.
var hubspotURL = func() *strings.Replacer {
	var pairs []string
	for code, char := range map[string]string{"3A": ":", "2F": "/", "3F": "?", "40": "@", "21": "!", "24": "$", "27": "'", "28": "(", "29": ")", "2A": "*", "2C": ",", "3B": ";"} {
		pairs = append(pairs, "%"+code, char)
		if lower := strings.ToLower(code); lower != code {
			pairs = append(pairs, "%"+lower, char)
		}
	}
	return strings.NewReplacer(pairs...)
}()
