package custom

import (
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// senderFunc is a way out.
type senderFunc func(*http.Request) (*httpx.Response, error)

func (f senderFunc) Do(r *http.Request) (*httpx.Response, error) { return f(r) }

func TestReadingBackHasMoreTimeThanExpressions(t *testing.T) {
	t.Parallel()
	const settings = `{"base_url":"https://crm.example.com","auth":{"kind":"bearer"},"read":{"path":"/entries/${entry.external_id}"},
		"webhook":{"verify":{"scheme":"standard-webhooks"},"fetch_back":true,"items":"body.ids","mapping":{"external_id":"item"}},
		"mapping":{"external_id":"item.id","category":"'wedding'","start":"item.start","end":"item.end"}}`
	c, err := compileAll([]byte(settings), testSecrets, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	c.now = func() time.Time { return received }
	c.webhook.now = c.now
	c.client = senderFunc(func(r *http.Request) (*httpx.Response, error) {
		asked++
		if at, bounded := r.Context().Deadline(); bounded {
			t.Errorf("the request must be answered within %s, for however many entries there are", time.Until(at).Round(time.Second))
		}
		return &httpx.Response{Status: http.StatusOK, Header: http.Header{}, Body: []byte(`{"id":"b-1","start":"2027-06-05T10:00:00Z","end":"2027-06-05T11:00:00Z"}`)}, nil
	})
	out, err := hooks{c}.Decode(t.Context(), provider.Webhook{Body: []byte(`{"ids":["b-1"]}`), ReceivedAt: received})
	if err != nil || asked != 1 || len(out.Changes) != 1 || !out.Changes[0].Asked {
		t.Errorf("asked %d times: %+v, %v", asked, out, err)
	}
}
