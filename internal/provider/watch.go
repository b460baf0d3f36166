package provider

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// NotifyPath is where our servers take what systems post to watches; the watch's id follows. WatchRequest.URL ends so.
const NotifyPath = "/v1/notify/"

// Watcher is implemented by systems that post a message when something changed, without saying what: Google's channels
// and Microsoft Graph's subscriptions. Such a message is a hint to pull; systems lose some of them, so polling goes on.
type Watcher interface {
	// Watch asks the system to post to r.URL. The request is stored before the call, because systems post, or check the
	// address, before they answer. Repeating it with the same ID after a lost answer may make a second watch at the
	// system; messages of either are taken. A Sweeper takes over the one that is there.
	Watch(ctx context.Context, r WatchRequest) (Watched, error)
	// Renew prolongs a watch in place. KindNotFound means that it must be made anew, as for systems that cannot prolong.
	Renew(ctx context.Context, w Watched, until time.Time) (Watched, error)
	// Unwatch ends a watch. One that is gone is success.
	Unwatch(ctx context.Context, w Watched) error
}

// Sweeper is implemented by Watchers whose system lists what posts where. What stands there has no end of its own, so it would
// post for ever after the answer to its making was lost: the end that Watch names is when to look again, and no end.
type Sweeper interface {
	Watcher
	// Sweep ends whatever posts to one of these addresses, each of which is the URL of a WatchRequest. That there is nothing
	// is success. Nothing that posts elsewhere is touched.
	Sweep(ctx context.Context, addresses []string) error
}

// WatchRequest is the wish for a watch.
type WatchRequest struct {
	ID     string    // a UUID of our own, in the URL too
	URL    string    // https address that the system posts to
	Secret string    // 43 unguessable characters (base64url) that the system must show with every message
	Until  time.Time // wished end; the system may shorten it
	// Over are the URLs of the integration's earlier watches that are over. A Sweeper ends what still posts to them, since
	// nobody looks after it any more.
	Over []string
}

// PostsTo reports whether what a system names as the address of a hook is one of these URLs of ours. A query is left aside:
// some providers put the secret there.
func PostsTo(hook string, urls ...string) bool {
	address, _, _ := strings.Cut(hook, "?")
	return slices.Contains(urls, address)
}

// Watched is a watch as the system made it.
type Watched struct {
	ID         string    `json:"id"`                    // ours
	RemoteID   string    `json:"remote_id"`             // the system's
	ResourceID string    `json:"resource_id,omitempty"` // what the system watches, where ending needs it
	ExpiresAt  time.Time `json:"expires_at"`            // as the system answered, never as wished
}

// NoticeRequest is what was posted to a watch's address, with at most 256 KiB of body.
type NoticeRequest struct {
	Secret   string // of the watch
	RemoteID string // of the watch; "" while the answer to Watch has not been stored
	Header   http.Header
	Query    url.Values
	Body     []byte
	At       time.Time // when it came
}

// Notice is what such a message says.
type Notice struct {
	// Echo is answered as text/plain with 200 when it is not nil: the system checks that the address is ours.
	Echo    []byte
	Changed bool // pull
	Missed  bool // the system lost messages: pull, and nothing more
	Removed bool // the system ended the watch: make another one, then pull
	Renew   bool // the system wants the watch prolonged now
}

// Selective is implemented by systems that may post about some kinds of changes only. That a reading finds a change of which they
// did not tell then says nothing against what they post.
type Selective interface {
	// Selective reports whether it is so.
	Selective() bool
}
