package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// answered ends the intake of a request that is a handshake: the sender tests its address, and nothing is stored.
type answered struct{ webhookauth.Answer }

func (*answered) Error() string { return "a handshake was answered" }

// greet answers a handshake that is not signed. It comes before the media type is looked at and a body is read, since
// some have none. A GET that is no handshake leads nowhere, whatever the integration.
func (e *intakeEntry) greet(r *http.Request, now time.Time) error {
	if r.URL.RawQuery != "" {
		if answer, ok := e.verifier.Challenge(r.Method, r.URL.RawQuery, now); ok {
			return &answered{answer}
		}
	}
	if r.Method != http.MethodPost {
		return errUnknownIntegration
	}
	return nil
}

// greetSigned answers a handshake in a verified body.
func (e *intakeEntry) greetSigned(body []byte, verified webhookauth.Result) error {
	if answer, ok := e.verifier.SignedChallenge(body, verified); ok {
		return &answered{answer}
	}
	return nil
}

// writeAnswer writes the answer to a handshake, if err is one.
func (in *Intake) writeAnswer(w *echo.Response, err error) bool {
	var a *answered
	if !errors.As(err, &a) {
		return false
	}
	in.m.answers.WithLabelValues("handshake").Inc()
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", a.ContentType)
	w.WriteHeader(a.Status)
	// The sender may be gone; it will ask again.
	_, _ = w.Write(a.Body)
	return true
}
