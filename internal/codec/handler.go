package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wedsync/wedsync/internal/domain"
)

// DefaultMaxBody is the largest request the endpoint reads when [HandlerOptions].MaxBody is 0, in bytes. A payload may
// be 2 MiB, a third more in base64, and the UI sends several at once.
const DefaultMaxBody = 16 << 20

// HandlerOptions sets who may use the endpoint.
type HandlerOptions struct {
	// Authorize is asked before the body is read. Nil lets the request pass; an error of kind forbidden answers 403,
	// unavailable 503, any other 401. The error's text is not shown. Required: what it guards is every payload.
	Authorize func(*http.Request) error
	// UIOrigin is the one origin whose pages may call, as a browser sends it: "https://temporal.example.com" or
	// "http://localhost:8233". Empty: no page of another origin may.
	UIOrigin string
	// MaxBody is the largest request body in bytes; 0 means [DefaultMaxBody].
	MaxBody int64
}

type handler struct {
	codec     converter.PayloadCodec
	authorize func(*http.Request) error
	origin    string
	maxBody   int64
}

// NewHandler returns the endpoint with which Temporal's UI and command line show and send sealed payloads: POST of
// payloads as JSON to a path ending in /decode or /encode, answered with as many payloads. It speaks the protocol of
// Temporal's remote codecs. Refusals are RFC 9457 problems. It fails when an option is missing or malformed.
func NewHandler(codec converter.PayloadCodec, o HandlerOptions) (http.Handler, error) {
	if codec == nil {
		return nil, domain.Invalid("codec", "missing")
	}
	if o.Authorize == nil {
		return nil, domain.Invalid("Authorize", "missing; it decides who may read every payload")
	}
	if err := checkOrigin(o.UIOrigin); err != nil {
		return nil, err
	}
	if o.MaxBody < 0 {
		return nil, domain.Invalid("MaxBody", "%d bytes; want 0 or more", o.MaxBody)
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	return &handler{codec: codec, authorize: o.Authorize, origin: o.UIOrigin, maxBody: o.MaxBody}, nil
}

func checkOrigin(origin string) error {
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return domain.Invalid("UIOrigin", "want scheme://host or scheme://host:port and nothing else, such as http://localhost:8233")
	}
	return nil
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Origin")
	// A page of another origin is refused and not just denied the answer: its request alone may carry a cookie.
	if origin := r.Header.Get("Origin"); origin != "" {
		if origin != h.origin {
			problem(w, http.StatusForbidden, "this origin may not use the codec endpoint; set the UI origin to allow it")
			return
		}
		header.Set("Access-Control-Allow-Origin", h.origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	var apply func([]*commonpb.Payload) ([]*commonpb.Payload, error)
	switch {
	case strings.HasSuffix(r.URL.Path, "/decode"):
		apply = h.codec.Decode
	case strings.HasSuffix(r.URL.Path, "/encode"):
		apply = h.codec.Encode
	default:
		problem(w, http.StatusNotFound, "no such path; want /decode or /encode")
		return
	}
	switch r.Method {
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "POST")
		header.Set("Access-Control-Allow-Headers", "Authorization, Authorization-Extras, Content-Type, X-Namespace")
		header.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
	default:
		header.Set("Allow", "POST, OPTIONS")
		problem(w, http.StatusMethodNotAllowed, "want POST")
		return
	}
	if err := h.authorize(r); err != nil {
		h.refuse(w, err)
		return
	}
	payloads, status, err := h.read(w, r)
	if err != nil {
		problem(w, status, err.Error())
		return
	}
	payloads, err = apply(payloads)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	body, err := protojson.Marshal(&commonpb.Payloads{Payloads: payloads})
	if err != nil {
		problem(w, http.StatusInternalServerError, "the payloads could not be written as JSON")
		return
	}
	header.Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the caller has gone; nobody is left to tell
}

func (h *handler) refuse(w http.ResponseWriter, err error) {
	switch domain.KindOf(err) {
	case domain.KindForbidden:
		problem(w, http.StatusForbidden, "not allowed to read payloads")
	case domain.KindUnavailable:
		problem(w, http.StatusServiceUnavailable, "permission could not be checked; try again")
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
		problem(w, http.StatusUnauthorized, "sign in to read payloads")
	}
}

func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]*commonpb.Payload, int, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("want content type application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("body is larger than %d bytes", h.maxBody)
	}
	if err != nil {
		return nil, http.StatusBadRequest, errors.New("body ended early")
	}
	var in commonpb.Payloads
	// The parser's message is dropped because it quotes the input, which may then reach a log.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &in); err != nil {
		return nil, http.StatusBadRequest, errors.New(`body is not {"payloads":[…]} with base64 metadata and data`)
	}
	return in.Payloads, 0, nil
}

// problem writes an RFC 9457 problem.
func problem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
	if err != nil {
		body = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
