package webhookauth

import (
	"net/http"
	"time"
)

// schemes is the list of schemes; each is one file.
var schemes = map[Scheme]spec{
	StandardWebhooks: standardSpec,
	HMACSHA256:       hmacSpec,
}

// spec is what a scheme's file provides.
type spec struct {
	// check refuses what the scheme has no use for and fills its defaults in. Header names, tolerance and their
	// limits are checked after it, for all schemes alike.
	check func(*Config) error
	// key turns a secret as shown by the sender into key bytes. Its error says the limit and never shows the secret.
	key func(Secret) ([]byte, error)
	// build makes the engine from a checked config and at least one key.
	build func(Config, [][]byte) engine
}

// engine does a scheme's work. It must be safe for many goroutines.
type engine interface {
	verify(req Request, now time.Time) (Result, *Reason)
	// sign adds the headers of a genuine request, made with the first key.
	sign(h http.Header, id string, ts time.Time, body []byte) error
}
