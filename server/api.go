package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
)

// The library makes its errors through package variables. Ours never repeat the value that was wrong: it may be a
// secret or a name.
func init() {
	// The library would write large bounds as 2.592e+06.
	huma.ErrorFormatter = func(format string, values ...any) string {
		out := slices.Clone(values)
		for i, v := range out {
			if number, ok := v.(float64); ok {
				out[i] = strconv.FormatFloat(number, 'f', -1, 64)
			}
		}
		return fmt.Sprintf(format, out...)
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return inputProblem(status, message, errs)
	}
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		p := inputProblem(status, message, errs)
		if c != nil {
			p.RequestID = requestID(c.Context())
		}
		return p
	}
}

func inputProblem(status int, message string, errs []error) *Problem {
	code := domain.KindInvalid
	switch {
	case status == http.StatusRequestEntityTooLarge:
		code = domain.KindTooLarge
	case status >= 500:
		code, message = domain.KindInternal, "a fault on our side; its cause is logged under the request id"
	}
	p := &Problem{Type: "/docs#problem-" + string(code), Title: statusTitle(status), Status: status, Code: string(code), Detail: message}
	if status >= 500 {
		return p
	}
	var said []string
	for _, err := range errs {
		var d huma.ErrorDetailer
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
		case errors.As(err, &tooLarge):
			p.Status, p.Title, p.Code = http.StatusRequestEntityTooLarge, statusTitle(http.StatusRequestEntityTooLarge), string(domain.KindTooLarge)
			p.Type = "/docs#problem-" + p.Code
			said = append(said, fmt.Sprintf("the body may have at most %d bytes", tooLarge.Limit))
		case errors.As(err, &d):
			detail := d.ErrorDetail()
			field, reason := detail.Location, detail.Message
			// The library names what the field is missing in.
			if name, ok := strings.CutPrefix(reason, "expected required property "); ok {
				if name, ok = strings.CutSuffix(name, " to be present"); ok {
					field, reason = strings.TrimPrefix(field+"."+name, "."), "is missing"
				}
			}
			p.Errors = append(p.Errors, ProblemError{Field: field, Reason: reason})
			said = append(said, field+": "+reason)
		default:
			p.Errors = append(p.Errors, fieldErrors(err)...)
			said = append(said, err.Error())
		}
	}
	if len(said) > 0 {
		p.Detail = strings.Join(said, "; ")
	}
	return p
}

const apiDoc = `WedSync keeps a wedding business from being booked twice.

Send the token as ` + "`Authorization: Bearer …`" + `. It names the organisation; ids of others are answered as unknown.

Errors are problem+json (RFC 9457). ` + "`code`" + ` is the word for programs, ` + "`errors`" + ` names wrong fields, ` + "`request_id`" + ` finds the cause in the server's log.

Lists are paged: pass ` + "`next`" + ` of an answer as ` + "`after`" + `. A ` + "`PATCH`" + ` names the version it was made from, in ` + "`If-Match`" + ` or as ` + "`version`" + `. A ` + "`POST`" + ` that creates may carry an ` + "`Idempotency-Key`" + `: repeated with the same key it answers with what the first one made.`

// newAPI makes the typed part of the router.
func (s *Server) newAPI() huma.API {
	config := huma.DefaultConfig("WedSync", s.o.Version)
	config.CreateHooks = nil                                             // no $schema in answers
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", "" // rows of our own table
	config.Info.Description = apiDoc
	config.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "Token of the admin API"},
	}
	for _, t := range []string{tagIntegrations, tagBookings, tagConflicts, tagDeliveries, tagLive, tagSubscription, tagNotifications, tagAlerts, tagMaintenance, tagWeddings, tagOperation, tagPages} {
		config.Tags = append(config.Tags, &huma.Tag{Name: t})
	}
	return huma.NewAPI(config, escaping{humaecho.New(s.echo, config).Adapter()})
}

// escaping keeps the colon of a path such as mapping:test from beginning a parameter.
type escaping struct{ huma.Adapter }

func (a escaping) Handle(op *huma.Operation, handler func(huma.Context)) {
	routed := *op
	routed.Path = strings.ReplaceAll(op.Path, ":", `\:`)
	a.Adapter.Handle(&routed, handler)
}

// register adds a typed handler. Its errors are translated and, where they are faults of ours, logged.
func register[I, O any](s *Server, r Route, h func(*Server, context.Context, *I) (*O, error)) {
	op := s.operation(r)
	op.DefaultStatus = r.success()
	op.MaxBodyBytes = s.o.MaxBody
	huma.Register(s.api, *op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(s, ctx, in)
		if err == nil {
			return out, nil
		}
		p := *problemOf(err)
		p.RequestID = requestID(ctx)
		if p.Status == http.StatusInternalServerError {
			s.log.Error("request could not be answered", "request_id", p.RequestID, "route", r.Path, "error", err)
		}
		return nil, &p
	})
}

// operation documents a row.
func (s *Server) operation(r Route) *huma.Operation {
	op := &huma.Operation{OperationID: r.ID, Method: r.Method, Path: r.Path, Summary: r.Summary, Tags: []string{r.Tag},
		Description: "Access: " + string(r.Access) + ".", Extensions: map[string]any{"x-access": string(r.Access)}}
	switch {
	case r.page, r.Access.level() == 0:
		op.Security = []map[string][]string{}
	default:
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	return op
}

// document adds the rows that are not typed to the OpenAPI document, and renders it.
func (s *Server) document() error {
	doc := s.api.OpenAPI()
	problem := map[string]*huma.MediaType{problemType: {Schema: doc.Components.Schemas.Schema(typeOfProblem, true, "Problem")}}
	for _, key := range slices.Sorted(maps.Keys(s.rows)) {
		r := s.rows[key]
		if item := doc.Paths[r.Path]; item != nil && operationOf(item, r.Method) != nil {
			continue
		}
		op := s.operation(r)
		op.Responses = map[string]*huma.Response{
			strconv.Itoa(r.success()): {Description: http.StatusText(r.success())},
			"default":                 {Description: "Error", Content: problem},
		}
		for _, part := range strings.Split(r.Path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				op.Parameters = append(op.Parameters, &huma.Param{Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
			}
		}
		describeRaw(op, r)
		doc.AddOperation(op)
	}
	return s.spec.render(doc)
}

// describeRaw says what the table does not about the routes that are part of the API.
func describeRaw(op *huma.Operation, r Route) {
	text := func(name, in, doc string) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: in, Description: doc, Schema: &huma.Schema{Type: "string"}})
	}
	ok := op.Responses[strconv.Itoa(r.success())]
	switch r.ID {
	case "stream-events":
		op.Description += " Server-sent events. Each has the id to resume from, a topic as its event name, and as data the " +
			"topic, the time and the ids concerned. The stream ends with stream.closed and a reason; reconnect with " +
			"Last-Event-ID and nothing is missed, filters included. stream.gap says that events after the given id are no " +
			"longer kept, and from where the stream goes on: read the lists anew. 429: the organisation has too many streams; " +
			"503: the server has."
		text("Last-Event-ID", "header", "Id of the last event seen; without it the stream starts now")
		text("topics", "query", "Topics, such as sync.progress, or all below one, such as delivery.*; up to 20, parted by commas or repeated, as in the other filters")
		text("wedding", "query", "Ids of bookings that an event must name")
		text("integration", "query", "Ids of integrations that an event must name")
		text("resource", "query", "Ids of resources that an event must name")
		ok.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}
	case "receive-webhook", "receive-webhook-token":
		op.Description += " The raw body is verified as the integration is configured, stored, and acknowledged with the id of the delivery: 202 for a new one, 200 for a repeat."
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}}}
		receipt := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
			"id": {Type: "string", Format: "uuid"}, "status": {Type: "string", Enum: []any{"accepted", "duplicate"}}}}}}
		ok.Content, ok.Description = receipt, "A repeat of a delivery that is stored already"
		op.Responses["202"] = &huma.Response{Description: "Stored", Content: receipt}
	case "answer-webhook-handshake":
		op.Description += " For integrations whose settings name a handshake that comes as a GET: X sends crc_token, Meta hub.mode, hub.verify_token and hub.challenge. Anything else is 404."
		ok.Content = map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}, "application/json": {Schema: &huma.Schema{Type: "object"}}}
	case "read-feed":
		op.Description += " The file is the token that was shown when the feed was made, and .ics. Send If-None-Match or If-Modified-Since to be answered 304 while nothing changed. 404: no such feed; 410: it was revoked."
		text("If-None-Match", "header", "ETag of the answer before")
		ok.Content = map[string]*huma.MediaType{"text/calendar": {Schema: &huma.Schema{Type: "string"}}}
	case "open-share":
		op.Description += " The token is part of the address that was shown when the link was made. 404: no such link; 410: it was revoked or has expired. docs/sharing.md says what each role sees."
		ok.Content = map[string]*huma.MediaType{"text/html": {Schema: &huma.Schema{Type: "string"}}, "application/json": {Schema: &huma.Schema{Type: "object"}}}
	case "confirm-share":
		op.Description += " item and revision are those of the view, as a form or as JSON. 303 back to the page, or 200 with the view where Accept asks for JSON. 409: the item changed since it was shown."
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: "object"}}, "application/x-www-form-urlencoded": {Schema: &huma.Schema{Type: "object"}}}}
	case "follow-share":
		op.Description += " Server-sent events: each says changed and nothing else; read the view again. The stream ends with the link."
		ok.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}
	case "ready", "health":
		ok.Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: "object"}}}
	}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodHead:
		return item.Head
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	case http.MethodDelete:
		return item.Delete
	case http.MethodOptions:
		return item.Options
	}
	return nil
}

// spec is the rendered OpenAPI document.
type spec struct{ json, yaml []byte }

func (s *spec) render(doc *huma.OpenAPI) (err error) {
	if s.json, err = json.Marshal(doc); err != nil {
		return domain.E(domain.KindInternal, "render the OpenAPI document: %w", err)
	}
	if s.yaml, err = doc.YAML(); err != nil {
		return domain.E(domain.KindInternal, "render the OpenAPI document: %w", err)
	}
	return nil
}

func (s *Server) openapiJSON(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/openapi+json", s.spec.json)
}

func (s *Server) openapiYAML(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/openapi+yaml", s.spec.yaml)
}
