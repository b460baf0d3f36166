package server

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
)

// Problem is an error answer, RFC 9457 problem details.
type Problem struct {
	Type      string         `json:"type" format:"uri-reference" doc:"Page that explains the code" example:"/docs#problem-conflict"`
	Title     string         `json:"title" doc:"The status in words" example:"Conflict"`
	Status    int            `json:"status" doc:"The HTTP status" example:"409"`
	Detail    string         `json:"detail,omitempty" doc:"What was wrong with this request"`
	Code      string         `json:"code" doc:"Stable word for programs" example:"conflict"`
	RequestID string         `json:"request_id,omitempty" doc:"Names this request in the server's log"`
	Errors    []ProblemError `json:"errors,omitempty" doc:"One entry per wrong field"`
	// What stands in the way of a hold or of its confirmation.
	Clashes      []clashView          `json:"clashes,omitempty" doc:"What is in the way"`
	Alternatives []domain.Alternative `json:"alternatives,omitempty" doc:"Other times and resources, best first"`
	Sources      []diary.Source       `json:"sources,omitempty" doc:"Systems that could not be read, so that the time is unknown"`
	// What is frozen because a wedding is near or on.
	Freeze *frozenView `json:"freeze,omitempty" doc:"The freeze of a wedding that stands in the way, and until when"`

	retryAfter time.Duration
}

// ProblemError is one wrong field of a request.
type ProblemError struct {
	Field  string `json:"field" doc:"Path of the field, such as settings.mapping.title" example:"body.name"`
	Reason string `json:"reason" doc:"What is wrong with it, with the limit" example:"must have 1 to 120 characters"`
}

// Error is the detail, so that a Problem can be returned as an error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType names the media type of the answer.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders returns the headers that belong to the status.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{"Cache-Control": {"no-store"}}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="wedsync"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(p.retryAfter.Seconds())))))
	}
	return h
}

const problemType = "application/problem+json"

// defaultRetryAfter is told to clients when nobody knows better.
const defaultRetryAfter = 5 * time.Second

// problemOf makes the answer to err. A fault of ours keeps its text to itself.
func problemOf(err error) *Problem {
	var done *Problem
	if errors.As(err, &done) {
		return done
	}
	status, code := statusOf(err)
	p := &Problem{Status: status, Title: statusTitle(status), Code: code, Type: "/docs#problem-" + code,
		retryAfter: domain.RetryAfter(err)}
	if p.retryAfter <= 0 {
		p.retryAfter = defaultRetryAfter
	}
	var tooLarge *http.MaxBytesError
	switch {
	case status == http.StatusInternalServerError:
		p.Detail = "a fault on our side; its cause is logged under the request id"
	case errors.As(err, &tooLarge):
		p.Detail = "the body may have at most " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p.Detail = "the answer took too long; the same request may work later"
	default:
		p.Detail = err.Error()
		p.Errors = fieldErrors(err)
	}
	var frozen *freeze.Refusal
	if errors.As(err, &frozen) {
		p.Freeze = viewRefusal(frozen)
	}
	return p
}

// fieldErrors lists the fields that err is about. Joined errors give one entry each.
func fieldErrors(err error) []ProblemError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []ProblemError
		for _, e := range joined.Unwrap() {
			all = append(all, fieldErrors(e)...)
		}
		return all
	}
	var e *domain.Error
	if errors.As(err, &e) && e.Field != "" {
		reason := e.Text
		if e.Err != nil {
			if reason != "" {
				reason += ": "
			}
			reason += e.Err.Error()
		}
		return []ProblemError{{Field: e.Field, Reason: reason}}
	}
	if inner := errors.Unwrap(err); inner != nil {
		return fieldErrors(inner)
	}
	return nil
}

func statusTitle(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Status " + strconv.Itoa(status)
}

// writeProblem answers r with err as problem+json and returns what was sent. The request id is the one of r's
// context, or a new one where there is none; a caller that sees Status 500 logs err under it.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) *Problem {
	p := *problemOf(err)
	if p.RequestID == "" {
		if p.RequestID = requestID(r.Context()); p.RequestID == "" {
			p.RequestID = newRequestID()
		}
	}
	body, merr := json.Marshal(&p)
	if merr != nil {
		panic("marshal a problem of plain fields: " + merr.Error())
	}
	h := w.Header()
	for k, v := range p.GetHeaders() {
		h[k] = v
	}
	h.Set("Content-Type", problemType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Length")
	h.Del("ETag")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		// The client may be gone; there is nobody left to tell.
		_, _ = w.Write(body)
	}
	return &p
}
