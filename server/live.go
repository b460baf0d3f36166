package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/stream"
)

// streamEvents follows the live events of the caller's organisation. A browser that reconnects sends Last-Event-ID by
// itself.
func (s *Server) streamEvents(c echo.Context) error {
	r := c.Request()
	who := callerOf(r.Context())
	filter, err := stream.ParseFilter(c.QueryParams())
	if err != nil {
		return withStatus(http.StatusBadRequest, string(domain.KindInvalid), err)
	}
	if s.draining.Load() {
		return domain.E(domain.KindUnavailable, "the server is stopping")
	}
	err = s.deps.Hub.Serve(c.Response(), r, stream.Request{Org: who.Org, After: r.Header.Get("Last-Event-ID"), Filter: filter, Until: who.Expires})
	if domain.KindOf(err) == domain.KindInvalid {
		return withStatus(http.StatusBadRequest, string(domain.KindInvalid), err)
	}
	return err
}
