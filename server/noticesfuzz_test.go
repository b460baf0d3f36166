package server

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/google"
	"github.com/wedsync/wedsync/internal/providers/outlook"
	"github.com/wedsync/wedsync/internal/store"
)

// FuzzNotices posts any headers, query and body to the address of a Google or a Graph watch: nothing is taken without the
// secret, nothing is echoed but the token of a handshake, and no message is answered by a fault of ours.
func FuzzNotices(f *testing.F) {
	graph := func(items string) []byte { return []byte(`{"value":[` + items + `]}`) }
	item := func(state, more string) string {
		return `{"subscriptionId":"5b8ac4d2-0000-4000-8000-000000000001","clientState":"` + state + `","subscriptionExpirationDateTime":"2027-05-04T09:00:00Z",` +
			`"tenantId":"t","resource":"Users/u/Events/AAkA"` + more + `}`
	}
	created := `,"changeType":"created","resourceData":{"@odata.type":"#Microsoft.Graph.Event","id":"AAkA"}`
	// Google: a change, the sync message, one that is gone, a wrong and a missing token, no state.
	for _, c := range [][2]string{{watchWords, "exists"}, {watchWords, "sync"}, {watchWords, "not_exists"}, {"wrong", "exists"}, {"", "exists"}, {watchWords, ""}} {
		f.Add(true, c[0], c[1], "01900000-0000-7000-8000-0000000000aa", "", []byte(nil))
	}
	f.Add(true, watchWords, "exists", "", "", []byte("a body that Google never sends"))
	// Graph: both handshakes, a change, a mixed batch, lifecycle events, and what is none of that.
	f.Add(false, "", "", "", "Validation: Testing client application reachability for subscription Request-Id: 1+1=2", []byte(nil))
	f.Add(false, "", "", "", `<script>alert("1")</script>`, []byte(nil))
	f.Add(false, "", "", "", strings.Repeat("x", 1025), []byte(nil))
	f.Add(false, "", "", "", "", graph(item(watchWords, created)))
	f.Add(false, "", "", "", "", graph(item(watchWords, created)+","+item("another subscription's", created)))
	for _, event := range []string{"missed", "subscriptionRemoved", "reauthorizationRequired", "somethingNew"} {
		f.Add(false, "", "", "", "", graph(item(watchWords, `,"lifecycleEvent":"`+event+`"`)))
	}
	f.Add(false, "", "", "", "", []byte(`{"value":[]}`))
	f.Add(false, "", "", "", "", []byte(`{"value":[null]}`))
	f.Add(false, watchWords, "exists", "id", "", []byte(`[`))
	f.Fuzz(func(t *testing.T, fromGoogle bool, token, state, channel, handshake string, body []byte) {
		name := "outlook"
		if fromGoogle {
			name = "google"
		}
		noted := 0
		n, err := NewNotices(NoticeDeps{Now: func() time.Time { return time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC) },
			Record: func(context.Context, domain.WatchID) (store.WatchRecord, error) {
				return store.WatchRecord{Org: "01900000-0000-7000-8000-000000000001", Provider: name, State: domain.WatchActive, Secret: watchWords,
					RemoteID: "5b8ac4d2-0000-4000-8000-000000000001"}, nil
			},
			Note: func(context.Context, domain.OrgID, domain.WatchID, store.WatchNotice) (bool, error) {
				noted++
				return true, nil
			},
			Provider: func(name string) (provider.Registration, bool) {
				return map[string]provider.Registration{"google": google.Registration, "outlook": outlook.Registration}[name], true
			}})
		if err != nil {
			t.Fatal(err)
		}
		query := ""
		if handshake != "" {
			query = "?" + url.Values{"validationToken": {handshake}}.Encode()
		}
		r := httptest.NewRequest(http.MethodPost, provider.NotifyPath+string(watchID)+query, bytes.NewReader(body))
		for header, value := range map[string]string{"X-Goog-Channel-Token": token, "X-Goog-Resource-State": state, "X-Goog-Channel-Id": channel} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		e := echo.New()
		e.POST(echoNotifyPath, n.Handle)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)

		genuine := fromGoogle && token == watchWords
		if !fromGoogle && handshake == "" {
			var message struct {
				Value []struct{ ClientState string }
			}
			genuine = json.Unmarshal(body, &message) == nil && len(message.Value) > 0
			for _, one := range message.Value {
				genuine = genuine && one.ClientState == watchWords
			}
		}
		said := w.Body.String()
		switch {
		case noted > 1 || noted == 1 && !genuine:
			t.Fatalf("%s: %d messages were taken, genuine: %t", name, noted, genuine)
		case (w.Code == http.StatusAccepted) != (noted == 1):
			t.Fatalf("%s: answered %d with %d taken", name, w.Code, noted)
		case w.Code == http.StatusOK && (fromGoogle || handshake == "" || said != html.EscapeString(handshake)):
			t.Fatalf("%s: echoed %q", name, said)
		case w.Code == http.StatusOK && (!strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || w.Header().Get("X-Content-Type-Options") != "nosniff"):
			t.Fatalf("%s: an echo that a browser may take for a page: %v", name, w.Header())
		case w.Code != http.StatusOK && said != "":
			t.Fatalf("%s: answered %d with %q", name, w.Code, said)
		case w.Code >= http.StatusInternalServerError:
			t.Fatalf("%s: answered %d", name, w.Code)
		case len(body) == 0 && fromGoogle && genuine && state != "" && channel != "" && noted != 1:
			t.Fatalf("a genuine message of Google was answered %d", w.Code)
		}
	})
}
