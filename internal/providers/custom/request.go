package custom

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxNames is the most query parameters or headers of a request.
const maxNames = 30

// request is a compiled Request.
type request struct {
	at      string // path of its part in the settings
	method  string
	path    *template
	query   map[string]*template
	headers map[string]*template
	body    *bodyTemplate
}

func compileRequest(r Request, at string, s scope, method string) (*request, error) {
	out := &request{at: at, method: method, query: map[string]*template{}, headers: map[string]*template{}}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	switch r.Method {
	case "":
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		out.method = r.Method
	default:
		note(domain.Invalid(at+".method", "must be GET, POST, PUT, PATCH or DELETE"))
	}
	var err error
	switch {
	case !strings.HasPrefix(string(r.Path), "/"):
		note(domain.Invalid(at+".path", "must begin with /"))
	case strings.ContainsAny(literalOf(string(r.Path)), "?#"):
		note(domain.Invalid(at+".path", "must not hold ? or #; parameters go into query"))
	default:
		out.path, err = compileTemplate(string(r.Path), at+".path", s)
		note(err)
	}
	if len(r.Query) > maxNames || len(r.Headers) > maxNames {
		note(domain.Invalid(at, "at most %d query parameters and %d headers", maxNames, maxNames))
	}
	for _, name := range sortedKeys(r.Query) {
		out.query[name], err = compileTemplate(string(r.Query[name]), at+".query."+safeName(name), s)
		note(err)
	}
	for _, name := range sortedKeys(r.Headers) {
		if !headerName(name) {
			note(domain.Invalid(at+".headers."+safeName(name), "is not a header that can be set"))
			continue
		}
		out.headers[name], err = compileTemplate(string(r.Headers[name]), at+".headers."+name, s)
		note(err)
	}
	if len(r.Body) > 0 && out.method == http.MethodGet {
		note(domain.Invalid(at+".body", "a GET has no body"))
	}
	out.body, err = compileBody(r.Body, at+".body", s)
	note(err)
	return out, errors.Join(faults...)
}

// literalOf leaves out the expressions of a template.
func literalOf(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], "${") {
			if end := closingBrace(s, i+2); end > 0 {
				i = end
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// build fills the templates with the variables in w.
func (r *request) build(ctx context.Context, base *url.URL, w *work) (*http.Request, error) {
	path, err := r.path.text(w, pathSegment)
	if err != nil {
		return nil, at(r.at, err)
	}
	u, err := url.Parse(strings.TrimSuffix(base.EscapedPath(), "/") + path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, domain.Invalid(r.at+".path", "does not make an address")
	}
	u.Scheme, u.Host = base.Scheme, base.Host
	query := url.Values{}
	for name, t := range r.query {
		v, err := t.text(w, asIs)
		if err != nil {
			return nil, at(r.at, err)
		}
		if v != "" {
			query.Set(name, v)
		}
	}
	u.RawQuery = query.Encode()
	var body []byte
	if r.body != nil {
		if body, err = r.body.json(w); err != nil {
			return nil, at(r.at, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, domain.Invalid(r.at+".path", "does not make an address")
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, t := range r.headers {
		v, err := t.text(w, headerText)
		if err != nil {
			return nil, at(r.at, err)
		}
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	return req, nil
}

// at says in which part of the settings a fault was found.
func at(part string, err error) error {
	return domain.E(domain.KindOf(err), "%s: %w", part, err)
}
