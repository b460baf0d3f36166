package server

import (
	"net/url"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// TestAnEntryThatArrivesIsBusyAtOnce asks for availability right before and after an entry is read from a system: there is
// no cache in between that could offer the slot once more.
func TestAnEntryThatArrivesIsBusyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer, when := b.token(b.a.org, domain.RoleViewer), entry(0, "").When
	ask := "/v1/availability?" + url.Values{"resource": {string(b.a.resource)}, "from": {when.Start.Format(time.RFC3339)}, "to": {when.End.Format(time.RFC3339)},
		"category": {"vendor"}, "duration_minutes": {"60"}}.Encode()
	var out struct {
		Free    []domain.Span `json:"free"`
		Blocked []blockedView `json:"blocked"`
	}
	if b.do("GET", ask, viewer, "").into(t, &out); len(out.Free) != 1 || len(out.Blocked) != 0 {
		t.Fatalf("before: %+v", out)
	}
	id := b.bring(b.a, 1)[0]
	if b.do("GET", ask, viewer, "").into(t, &out); len(out.Free) != 0 || len(out.Blocked) != 1 || out.Blocked[0].BookingID != id {
		t.Errorf("after: %+v", out)
	}
}
