package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/token"
)

//go:embed web
var webFiles embed.FS

// pages are the parsed templates and the files that they load.
type pages struct {
	templates map[string]*template.Template
	share     *template.Template // of links to weddings, with a frame of its own
	assets    map[string]assetFile
}

type assetFile struct {
	body []byte
	kind string
	tag  string
}

func newPages() (*pages, error) {
	p := &pages{templates: make(map[string]*template.Template), assets: make(map[string]assetFile)}
	funcs := template.FuncMap{"severity": severityMark, "seconds": secondsText, "share": shareText, "ms": millisText, "verdict": verdictMark, "state": stateMark, "utc": utcText, "stamp": stampText, "sentence": firstUpper, "more": moreWays, "acts": actsOf, "under": isUnder}
	for _, name := range []string{"sign_in.html", "dashboard.html", "docs.html", "oauth.html", "mapping.html", "alerts.html", "sla.html", "weddings.html", "wedding.html",
		"integration.html", "maintenance.html", "problem.html"} {
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(webFiles, "web/layout.html", "web/parts.html", "web/"+name)
		if err != nil {
			return nil, domain.E(domain.KindInternal, "parse page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	var err error
	if p.share, err = template.ParseFS(webFiles, "web/share.html"); err != nil {
		return nil, domain.E(domain.KindInternal, "parse the page of links: %w", err)
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, name := range []string{"app.css", "live.js", "icon.svg"} {
		body, err := webFiles.ReadFile("web/" + name)
		if err != nil {
			return nil, domain.E(domain.KindInternal, "read page file: %w", err)
		}
		sum := sha256.Sum256(body)
		p.assets[name] = assetFile{body: body, kind: kinds[path.Ext(name)], tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return p, nil
}

// frame is what every page has around its content.
type frame struct {
	Title  string
	Signed bool // somebody is signed in
	Who    string
	Role   domain.Role
	Org    string
	CSRF   string
	Live   bool   // loads the script
	At     string // path of the page, by which the navigation says where one is
	Page   any
}

// show renders a page whole before the first byte is sent, so that a fault in it is an error and not half a page.
func (s *Server) show(c echo.Context, status int, name string, f frame) error {
	var b bytes.Buffer
	if err := s.pages.templates[name].Execute(&b, f); err != nil {
		return domain.E(domain.KindInternal, "render page %s: %w", name, err)
	}
	return c.HTMLBlob(status, b.Bytes())
}

func (s *Server) asset(c echo.Context) error {
	f, ok := s.pages.assets[c.Param("file")]
	if !ok {
		return domain.E(domain.KindNotFound, "no such file")
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("ETag", f.tag)
	if c.Request().Header.Get("If-None-Match") == f.tag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, f.kind, f.body)
}

// cookieName keeps the session cookie to this host over TLS. Without TLS, in development, browsers refuse the prefix.
func (s *Server) cookieName(r *http.Request) string {
	if s.secure(r) {
		return "__Host-wedsync"
	}
	return "wedsync"
}

func (s *Server) secure(r *http.Request) bool {
	return strings.HasPrefix(s.baseURL(r.Context()), "https://")
}

// sessionOf returns the token of the session cookie, or "".
func (s *Server) sessionOf(r *http.Request) string {
	c, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return ""
	}
	return c.Value
}

func (s *Server) setSession(c echo.Context, raw string, expires time.Time) {
	cookie := &http.Cookie{Name: s.cookieName(c.Request()), Value: raw, Path: "/", HttpOnly: true,
		Secure: s.secure(c.Request()), SameSite: http.SameSiteStrictMode, Expires: expires.UTC()}
	if raw == "" {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

// csrfToken is known only to pages made for this session. It needs no storage, so any server can check it.
func csrfToken(raw string) string {
	m := hmac.New(sha256.New, []byte(raw))
	m.Write([]byte("wedsync csrf v1"))
	return hex.EncodeToString(m.Sum(nil))
}

// checkForm refuses forms that were not sent from a page of this session.
func (s *Server) checkForm(r *http.Request, raw string) error {
	if err := s.origin.Check(r); err != nil {
		return domain.E(domain.KindForbidden, "the form came from another site")
	}
	if err := r.ParseForm(); err != nil {
		return malformed("body", "is no form")
	}
	if !hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(csrfToken(raw))) {
		return domain.E(domain.KindForbidden, "the form is not from this session; reload the page")
	}
	return nil
}

// toSignIn sends a browser without a valid session to the sign-in page. A live stream is told 401 instead, so that it
// stops trying.
func (s *Server) toSignIn(c echo.Context) {
	if s.sessionOf(c.Request()) != "" {
		s.setSession(c, "", time.Unix(0, 0))
	}
	if s.rows[c.Request().Method+" "+c.Path()].endless {
		s.answer(c, domain.E(domain.KindUnauthenticated, "the session is over"))
		return
	}
	if err := c.Redirect(http.StatusSeeOther, "/sign-in"); err != nil {
		s.answer(c, err)
	}
}

type signInData struct{ Error string }

func (s *Server) signInPage(c echo.Context) error {
	return s.show(c, http.StatusOK, "sign_in.html", frame{Title: "Sign in", Page: signInData{}})
}

func (s *Server) signIn(c echo.Context) error {
	r := c.Request()
	if err := s.origin.Check(r); err != nil {
		return domain.E(domain.KindForbidden, "the form came from another site")
	}
	if err := r.ParseForm(); err != nil {
		return malformed("body", "is no form")
	}
	raw := strings.TrimSpace(r.PostForm.Get("token"))
	claims, err := s.deps.Tokens.Verify(raw, s.now())
	if err != nil {
		return s.show(c, http.StatusUnauthorized, "sign_in.html", frame{Title: "Sign in", Page: signInData{Error: plain(err)}})
	}
	s.setSession(c, raw, claims.Expires)
	return c.Redirect(http.StatusSeeOther, "/")
}

func (s *Server) signOut(c echo.Context) error {
	s.setSession(c, "", time.Unix(0, 0))
	return c.Redirect(http.StatusSeeOther, "/sign-in")
}

// firstUpper begins a sentence.
func firstUpper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

func moreWays(all int) string {
	if all == 4 {
		return "One more way"
	}
	return strconv.Itoa(all-3) + " more ways"
}

// plain is an error as a sentence for people.
func plain(err error) string {
	var frozen *freeze.Refusal
	if errors.As(err, &frozen) {
		return refusalText(frozen)
	}
	p := problemOf(err)
	text := p.Detail
	var own *domain.Error
	if errors.As(err, &own) && own.Field != "" && len(p.Errors) == 1 {
		text = fieldWord(p.Errors[0].Field) + " " + p.Errors[0].Reason
	}
	if text == "" {
		return p.Title + "."
	}
	return firstUpper(text) + "."
}

// fieldWords are the fields that pages have under other words than the API.
var fieldWords = map[string]string{
	"header." + freeze.Header: "the reason for doing it all the same", "body.reason": "the reason", "reason": "the reason",
	"body.starts_at": "the beginning", "starts_at": "the beginning", "body.ends_at": "the end", "duration_minutes": "the length", "body.last": "the number of webhooks",
	"body.scopes[0].target": "what it covers:", "query.target": "what it covers:", "body.scopes": "the parts that you chose",
}

func fieldWord(field string) string {
	if word, ok := fieldWords[field]; ok {
		return word
	}
	return field
}

func (s *Server) frame(c echo.Context, title string, page any) frame {
	who := callerOf(c.Request().Context())
	return frame{Title: title, Signed: true, Who: who.Subject, Role: who.Role, CSRF: csrfToken(s.sessionOf(c.Request())), At: c.Request().URL.Path, Page: page}
}

func canOperate(c token.Claims) bool { return c.Role.Level() >= domain.RoleOperator.Level() }

func isAdmin(c token.Claims) bool { return c.Role.Level() >= domain.RoleAdmin.Level() }

// isUnder reports whether a page is the one of a link of the navigation, or below it.
func isUnder(at, link string) bool {
	return at == link || link != "/" && strings.HasPrefix(at, link+"/")
}

// problemPage is an error as a page.
type problemPage struct{ Title, Text, RequestID string }

// answerPage sends a browser that asked for a page one that says what was wrong, and everybody else what answer sends.
func (s *Server) answerPage(c echo.Context, row Route, err error) {
	r := c.Request()
	if !row.page || row.endless || c.Response().Committed || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.answer(c, err)
		return
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("page could not be shown", "request_id", requestID(r.Context()), "route", c.Path(), "error", err)
	}
	for k, v := range p.GetHeaders() {
		c.Response().Header()[k] = v
	}
	f := frame{Title: p.Title, Page: problemPage{Title: p.Title, Text: plain(err), RequestID: requestID(r.Context())}}
	if err := s.show(c, p.Status, "problem.html", f); err != nil {
		s.answer(c, err)
	}
}
