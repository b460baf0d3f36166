package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/token"
)

// callerOf returns who made the request of ctx. It is only asked in handlers behind a row that needs a role, so there is
// always one.
func callerOf(ctx context.Context) token.Claims {
	c, ok := ctx.Value(keyCaller).(token.Claims)
	if !ok {
		panic("a handler that needs a caller is on a row without a role")
	}
	return c
}

// chain is the one middleware of every route but webhooks: request id, headers, bounds, access, recovery, log.
func (s *Server) chain(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if (c.Path() == echoWebhookPath || c.Path() == echoTokenPath || c.Path() == echoNotifyPath) && c.Request().Method == http.MethodPost {
			return next(c)
		}
		started := s.now()
		r, w := c.Request(), c.Response()
		row, known := s.rows[r.Method+" "+c.Path()]
		ctx := context.WithValue(withRequestID(r.Context(), newRequestID()), keyBase, requestBase(r))
		securityHeaders(w.Header())
		w.Header().Set("X-Request-Id", requestID(ctx))
		if !row.endless {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.o.RequestTimeout)
			defer cancel()
		}
		r = r.WithContext(ctx)
		if !row.ownBody {
			r.Body = http.MaxBytesReader(w, r.Body, s.o.MaxBody)
		}
		c.SetRequest(r)
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("panic in a handler", "request_id", requestID(ctx), "route", c.Path(), "panic", panicText(p), "stack", string(debug.Stack()))
				s.answer(c, domain.E(domain.KindInternal, "panic"))
			}
			s.logAccess(c, row, started)
		}()
		if !known {
			// The router's own handlers only; every other handler is on a row.
			if allow, ok := c.Get(echo.ContextKeyHeaderAllow).(string); ok && allow != "" {
				w.Header().Set("Allow", allow)
				s.answer(c, echoError(echo.ErrMethodNotAllowed))
			} else {
				s.answer(c, echoError(echo.ErrNotFound))
			}
			return nil
		}
		claims, err := s.admit(r, row)
		if err != nil {
			if row.page && domain.KindOf(err) == domain.KindUnauthenticated {
				s.toSignIn(c)
				return nil
			}
			s.answerPage(c, row, err)
			return nil
		}
		if row.Access.level() > 0 {
			c.SetRequest(r.WithContext(context.WithValue(ctx, keyCaller, claims)))
		}
		if err := next(c); err != nil {
			s.answerPage(c, row, echoError(err))
		}
		return nil
	}
}

// requestBase is the address under which the caller reached this server. It is only ever shown to that caller.
func requestBase(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// baseURL is how outside systems reach this server.
func (s *Server) baseURL(ctx context.Context) string {
	if s.o.PublicURL != "" {
		return s.o.PublicURL
	}
	base, _ := ctx.Value(keyBase).(string)
	return base
}

// panicText keeps values that are no errors or texts out of the log; they may hold anything.
func panicText(p any) string {
	switch v := p.(type) {
	case error:
		return v.Error()
	case string:
		return v
	}
	return fmt.Sprintf("a value of type %T", p)
}

// answer sends err unless something was sent already, and logs faults of ours.
func (s *Server) answer(c echo.Context, err error) {
	r := c.Request()
	if status, _ := statusOf(err); status == http.StatusInternalServerError {
		s.log.Error("request could not be answered", "request_id", requestID(r.Context()), "route", c.Path(), "error", err)
	}
	if !c.Response().Committed {
		writeProblem(c.Response(), r, err)
	}
}

// echoError gives the router's own errors a status.
func echoError(err error) error {
	var h *echo.HTTPError
	if !errors.As(err, &h) {
		return err
	}
	switch h.Code {
	case http.StatusNotFound:
		return domain.E(domain.KindNotFound, "no such route")
	case http.StatusMethodNotAllowed:
		return withStatus(h.Code, "method_not_allowed", errors.New("this route has other methods; see Allow"))
	case http.StatusRequestEntityTooLarge:
		return domain.E(domain.KindTooLarge, "the body is too large")
	}
	if h.Code >= 400 && h.Code < 500 {
		return withStatus(h.Code, string(domain.KindInvalid), errors.New(strings.ToLower(http.StatusText(h.Code))))
	}
	return err
}

// admit checks a request against the access of its row.
func (s *Server) admit(r *http.Request, row Route) (token.Claims, error) {
	switch row.Access {
	case AccessPublic, AccessWebhook, AccessOwn:
		return token.Claims{}, nil
	case AccessMetrics:
		return token.Claims{}, s.admitMetrics(r)
	case AccessViewer, AccessOperator, AccessAdmin:
	default:
		return token.Claims{}, domain.E(domain.KindForbidden, "a route without access")
	}
	var raw string
	if row.page {
		raw = s.sessionOf(r)
	} else {
		var err error
		if raw, err = bearer(r); err != nil {
			return token.Claims{}, err
		}
	}
	claims, err := s.deps.Tokens.Verify(raw, s.now())
	if err != nil {
		return token.Claims{}, err
	}
	if claims.Role.Level() < row.Access.level() {
		return token.Claims{}, domain.E(domain.KindForbidden, "needs the role %s; the token has %s", row.Access, claims.Role)
	}
	if row.page && r.Method != http.MethodGet {
		if err := s.checkForm(r, raw); err != nil {
			return token.Claims{}, err
		}
	}
	return claims, nil
}

// bearer reads the one Authorization header.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", domain.E(domain.KindUnauthenticated, "a bearer token is needed in the Authorization header")
	}
	if len(values) > 1 {
		return "", domain.E(domain.KindUnauthenticated, "more than one Authorization header")
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", domain.E(domain.KindUnauthenticated, "the Authorization header must be of scheme Bearer")
	}
	return raw, nil
}

// admitMetrics lets in who has the metrics token or, where there is none, who is on this machine.
func (s *Server) admitMetrics(r *http.Request) error {
	if want := s.o.MetricsToken; want != "" {
		raw, err := bearer(r)
		if err != nil {
			return err
		}
		a, b := sha256.Sum256([]byte(raw)), sha256.Sum256([]byte(want))
		if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			return domain.E(domain.KindUnauthenticated, "not the metrics token")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	proxied := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("X-Real-Ip") != ""
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() && !proxied {
		return nil
	}
	return domain.E(domain.KindForbidden, "metrics are shown on this machine only, unless a metrics token is configured")
}

// BearerAuthorizer returns a check for handlers that guard themselves, such as the codec endpoint: a valid token of at
// least the role.
func BearerAuthorizer(v *token.Verifier, now func() time.Time, least domain.Role) func(*http.Request) error {
	return func(r *http.Request) error {
		raw, err := bearer(r)
		if err != nil {
			return err
		}
		claims, err := v.Verify(raw, now())
		if err != nil {
			return err
		}
		if claims.Role.Level() < least.Level() {
			return domain.E(domain.KindForbidden, "needs the role %s; the token has %s", least, claims.Role)
		}
		return nil
	}
}

// pagePolicy lets pages load their own style sheet and script and nothing else.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func securityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// logAccess writes one line per request: never a query string, a body or a token. Probes are logged when they fail.
func (s *Server) logAccess(c echo.Context, row Route, started time.Time) {
	took := s.now().Sub(started)
	status := c.Response().Status
	route := row.Path
	if route == "" {
		route = "none"
	}
	s.metrics.observe(c.Request().Method, route, status, took, row.endless)
	level := slog.LevelInfo
	if row.quiet && status < 400 {
		level = slog.LevelDebug
	}
	ctx := c.Request().Context()
	attrs := []slog.Attr{slog.String("request_id", requestID(ctx)), slog.String("method", c.Request().Method),
		slog.String("route", route), slog.Int("status", status), slog.Int64("bytes", c.Response().Size), slog.Duration("took", took)}
	if claims, ok := ctx.Value(keyCaller).(token.Claims); ok {
		attrs = append(attrs, slog.String("org", string(claims.Org)), slog.String("role", string(claims.Role)))
	}
	s.log.LogAttrs(context.WithoutCancel(ctx), level, "request", attrs...)
}
