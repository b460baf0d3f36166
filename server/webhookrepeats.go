package server

import (
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/jsonpointer"
	"github.com/wedsync/wedsync/internal/provider"
)

// repeatRule says by what an integration's repeats are known, where that is not a message id, and for how long.
type repeatRule struct {
	path     jsonpointer.Pointer
	hasPath  bool
	hash     bool
	hints    bool // one without an id is a repeat of no other
	encoding string
	window   time.Duration // 0 = for ever
}

func newRepeatRule(i provider.Intake) (r repeatRule, err error) {
	r = repeatRule{hash: i.DedupeHash, hints: i.Hints && !i.DedupeHash, window: i.DedupeFor, encoding: i.ContentEncoding}
	if r.window != 0 && r.window < provider.MinDedupe {
		return r, domain.Invalid("dedupe", "repeats must be known for at least %s", provider.MinDedupe)
	}
	if r.hasPath = i.DedupePath != ""; r.hasPath {
		r.path, err = jsonpointer.Parse(i.DedupePath)
	}
	return r, err
}

// checkRepeats refuses to know repeats for longer than deliveries are kept, which is what they are known by. kept 0 is not
// known, and what cannot be opened is judged elsewhere.
func checkRepeats(reg provider.Registration, c provider.Connection, kept time.Duration) error {
	if kept <= 0 || reg.Open == nil {
		return nil
	}
	opened, err := reg.Open(c)
	if err != nil {
		return nil
	}
	source, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		return nil
	}
	const day = 24 * time.Hour
	if asked := source.Intake().DedupeFor; asked > kept {
		return domain.Invalid("body.settings", "dedupe.days: repeats can be known for at most %d days, as long as this server keeps deliveries (--keep-deliveries), and not for %d",
			kept/day, asked/day)
	}
	return nil
}

// since is the time before which a delivery is too old to be repeated.
func (r *repeatRule) since(now time.Time) time.Time {
	if r.window == 0 {
		return time.Time{}
	}
	return now.Add(-r.window)
}

// plain names a message that has no id: by the hash of its body, or as one of its own.
func (r *repeatRule) plain(delivery domain.DeliveryID, body *bodyBuffer) [sha256.Size]byte {
	if r.hints {
		body.key = append(append(body.key[:0], 'u', 0), delivery...)
		return sha256.Sum256(body.key)
	}
	return sha256.Sum256(body.bytes)
}

// key names a message by its body. It is asked only after the signature. A body in which the id cannot be found is named
// as one without an id is: it is taken, and whoever decodes it judges it.
func (r *repeatRule) key(h http.Header, delivery domain.DeliveryID, body *bodyBuffer) (key [sha256.Size]byte, ok bool) {
	if r.hasPath {
		plain, err := provider.Webhook{Header: h, Body: body.bytes}.Plain(r.encoding)
		if err == nil {
			if id, found := r.path.Scalar(plain); found {
				body.key = append(append(body.key[:0], 'p', 0), id...)
				return sha256.Sum256(body.key), true
			}
		}
	}
	if r.hasPath || r.hash {
		return r.plain(delivery, body), true
	}
	return key, false
}
