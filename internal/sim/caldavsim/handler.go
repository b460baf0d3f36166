package caldavsim

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
)

// maxBody is the largest request body in bytes.
const maxBody = 4 << 20

// request is what the protocol core does not hand to its backend.
type request struct {
	body        []byte
	ifMatch     string
	ifNoneMatch string
	existed     bool // set by a PUT that replaced a resource
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// Handler serves the whole server from the root of a host.
func (s *Server) Handler() http.Handler { return s.Front }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	if !s.authorised(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="calendars", charset="UTF-8"`)
		http.Error(w, "unknown user or password", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body) // bounded by the front
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	req := &request{body: body, ifMatch: r.Header.Get("If-Match"), ifNoneMatch: r.Header.Get("If-None-Match")}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	rec := &recorder{header: http.Header{}}
	s.route(rec, r)
	if rec.status == http.StatusCreated && req.existed {
		rec.status = http.StatusNoContent
	}
	rec.send(w, false)
}

// route answers what the protocol core lacks and hands it the rest.
func (s *Server) route(w *recorder, r *http.Request) {
	_, isCalendar := s.calendarAt(r.URL.Path)
	switch {
	case r.Method == "PROPFIND" && (isCalendar || r.URL.Path == s.home() || r.URL.Path == s.principal()):
		s.propfind(w, r)
	case r.Method == "REPORT" && rootElement(requestOf(r.Context()).body).Local == "sync-collection":
		s.syncCollection(w, r)
	case isCalendar && r.Method == http.MethodGet:
		http.Error(w, "a calendar is read by PROPFIND and REPORT", http.StatusMethodNotAllowed)
	case r.Method == http.MethodGet && s.raw(w, r):
	case r.Method == http.MethodPut:
		if _, _, err := parse(requestOf(r.Context()).body); err != nil {
			precondition(w, http.StatusForbidden, calNS, "valid-calendar-object-resource")
			return
		}
		s.handler.ServeHTTP(w, r)
	default:
		s.handler.ServeHTTP(w, r)
	}
}

// raw serves a resource as it was stored: the core would write it anew. It reports whether there is one.
func (s *Server) raw(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calendars[path.Dir(r.URL.Path)+"/"]
	if !ok || c.objects[r.URL.Path] == nil {
		return false
	}
	o := c.objects[r.URL.Path]
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	w.Header().Set("ETag", `"`+o.etag()+`"`)
	_, _ = w.Write(o.raw)
	return true
}

func (s *Server) authorised(r *http.Request) bool {
	if s.opt.Username == "" && s.opt.Password == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(s.opt.Username)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(s.opt.Password)) == 1
}

func rootElement(body []byte) xml.Name {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if err != nil {
			return xml.Name{}
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name
		}
	}
}

func statusLine(code int) string { return fmt.Sprintf("HTTP/1.1 %d %s", code, http.StatusText(code)) }

func writeXML(w http.ResponseWriter, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", `application/xml; charset="utf-8"`)
	if _, ok := v.(multistatus); ok {
		w.WriteHeader(http.StatusMultiStatus)
	}
	_, _ = io.WriteString(w, xml.Header)
	_, _ = w.Write(b)
}

func precondition(w http.ResponseWriter, status int, space, name string) {
	w.Header().Set("Content-Type", `application/xml; charset="utf-8"`)
	w.WriteHeader(status)
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(space))
	_, _ = fmt.Fprintf(w, `%s<D:error xmlns:D="DAV:"><x:%s xmlns:x="%s"/></D:error>`, xml.Header, name, escaped.String())
}
