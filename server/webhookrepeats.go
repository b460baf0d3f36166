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
	encoding string
	window   time.Duration // 0 = for ever
}

func newRepeatRule(i provider.Intake) (r repeatRule, err error) {
	r = repeatRule{hash: i.DedupeHash, window: i.DedupeFor, encoding: i.ContentEncoding}
	if r.window != 0 && r.window < provider.MinDedupe {
		return r, domain.Invalid("dedupe", "repeats must be known for at least %s", provider.MinDedupe)
	}
	if r.hasPath = i.DedupePath != ""; r.hasPath {
		r.path, err = jsonpointer.Parse(i.DedupePath)
	}
	return r, err
}

// since is the time before which a delivery is too old to be repeated.
func (r *repeatRule) since(now time.Time) time.Time {
	if r.window == 0 {
		return time.Time{}
	}
	return now.Add(-r.window)
}

// key names a message by its body. It is asked only after the signature. A body in which the id cannot be found is named
// by its hash: it is taken, and whoever decodes it judges it.
func (r *repeatRule) key(h http.Header, body *bodyBuffer) (key [sha256.Size]byte, ok bool) {
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
		return sha256.Sum256(body.bytes), true
	}
	return key, false
}
