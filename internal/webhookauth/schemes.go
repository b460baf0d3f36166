package webhookauth

import (
	"context"
	"net/http"
	"time"
)

// schemes is the list of schemes; each is one file.
var schemes = map[Scheme]spec{
	StandardWebhooks: standardSpec,
	HMACSHA256:       hmacSHA256Spec,
	HMAC:             hmacSpec,
	Twilio:           twilioSpec,
	Svix:             svixSpec,
	Stripe:           presetSpec(Stripe),
	GitHub:           presetSpec(GitHub),
	Slack:            presetSpec(Slack),
	Shopify:          presetSpec(Shopify),
	Square:           presetSpec(Square),
	HubSpotV3:        presetSpec(HubSpotV3),
	Calendly:         presetSpec(Calendly),
	Acuity:           presetSpec(Acuity),
	CalCom:           presetSpec(CalCom),
	Tripleseat:       presetSpec(Tripleseat),
	Zoom:             presetSpec(Zoom),

	MessageSignatures: messageSpec,

	JWTBearer:         jwtSpec,
	Bearer:            bearerSpec,
	Basic:             basicSpec,
	APIKey:            apiKeySpec,
	PathToken:         pathTokenSpec,
	ClientCertificate: certificateSpec,
}

// spec is what a scheme's file provides.
type spec struct {
	// about is one sentence for operators, and secret what they give as the secret ("" for none).
	about, secret string
	// fields are the JSON names of the Config fields that the scheme reads beside the common ones, and required those
	// without a default. nil fields leave the refusal of others to check.
	fields, required []string
	// check refuses what the scheme has no use for and fills its defaults in. Header names, tolerance and their
	// limits are checked after it, for all schemes alike.
	check func(*Config) error
	// key turns a secret as shown by the sender into key bytes. Its error says the limit and never shows the secret.
	key func(Secret) ([]byte, error)
	// build makes the engine from a checked config and its keys.
	build func(Config, [][]byte, Options) (engine, error)
	// secretless reports whether a config needs no secret. nil means that the scheme always needs one.
	secretless func(Config) bool
	// headerless lets a config do without Header.
	headerless bool
	// split parts a text that holds several secrets. nil parts it at blanks and line ends.
	split func(string) []string
	// generate makes the text of a new secret, in the form that key takes. nil makes 32 random bytes in base64url.
	generate func(Config) (string, error)
}

// engine does a scheme's work. It must be safe for many goroutines.
type engine interface {
	verify(ctx context.Context, req Request, now time.Time) (Result, *Reason)
	// sign adds the headers of a genuine request, made with the first key. A scheme whose requests cannot be made with
	// what the receiver has refuses.
	sign(h http.Header, id string, ts time.Time, body []byte) error
}
