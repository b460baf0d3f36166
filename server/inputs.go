package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
)

var typeOfProblem = reflect.TypeFor[Problem]()

// PageParams is the paging of every list. It is exported, like the others here, because huma reads embedded inputs only
// then.
type PageParams struct {
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Entries per page"`
	After string `query:"after" maxLength:"200" doc:"The next of the page before"`
}

func (p PageParams) page() store.Page { return store.Page{Limit: p.Limit, After: p.After} }

// listBody is the body of every list.
type listBody[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Pass as after for the next page; absent on the last one"`
}

type listOutput[T any] struct{ Body listBody[T] }

func list[T any](items []T, next string) *listOutput[T] {
	if items == nil {
		items = []T{}
	}
	return &listOutput[T]{Body: listBody[T]{Items: items, Next: next}}
}

// listPage answers with a page that read takes in one transaction of the caller's tenant.
func listPage[T any](ctx context.Context, s *Server, read func(ctx context.Context, tx *store.Tx) ([]T, string, error)) (*listOutput[T], error) {
	var out []T
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, next, err = read(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

// views shows all of a list.
func views[T, V any](all []T, view func(T) V) []V {
	out := make([]V, len(all))
	for i, one := range all {
		out[i] = view(one)
	}
	return out
}

// IDParam is the id in a path.
type IDParam struct {
	ID string `path:"id" maxLength:"36" doc:"UUID in lower case"`
}

// parseID reads an id of a path. One that cannot exist is answered like one that does not.
func parseID[T domain.AnyID](what, s string) (T, error) {
	if _, ok := domain.ParseUUID(s); !ok {
		return "", domain.E(domain.KindNotFound, "no such %s", what)
	}
	return T(s), nil
}

// optionalID reads an id of a query or body that may be absent.
func optionalID[T domain.AnyID](field, s string) (T, error) {
	if s == "" {
		return "", nil
	}
	return domain.ParseID[T](field, s)
}

// VersionHeader guards a change against overwriting somebody else's.
type VersionHeader struct {
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag of the version that the change was made from"`
}

// expect returns the version to update from: have, if that is the one the caller saw. The header's mismatch is 412, the
// body's 409, and a change that names neither is 428.
func (v VersionHeader) expect(version, have int64) (int64, error) {
	if v.IfMatch != "" {
		want, err := strconv.ParseInt(strings.Trim(v.IfMatch, `"`), 10, 64)
		if err != nil {
			return 0, malformed("If-Match", "must be an ETag that was read from here, such as \"3\"")
		}
		if want != have {
			return 0, withStatus(http.StatusPreconditionFailed, string(domain.KindConflict),
				domain.E(domain.KindConflict, "If-Match names version %d, but the current one is %d: it was changed in the meantime", want, have))
		}
		return have, nil
	}
	if version == 0 {
		return 0, withStatus(http.StatusPreconditionRequired, "version_required",
			errors.New("say which version the change was made from, in If-Match or as version"))
	}
	if version != have {
		return 0, domain.E(domain.KindConflict, "version %d was changed in the meantime: the current one is %d", version, have)
	}
	return have, nil
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// KeyHeader makes a creation repeatable.
type KeyHeader struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"Chosen by the caller; the same key again answers with what the first request made"`
}

// newOrRepeated returns a new id, or the one that stands for a caller's key. The same key of another caller, for another
// kind of thing, or for another target is another id.
func newOrRepeated[T domain.AnyID](key string, c token.Claims, kind string, now time.Time) (id T, repeatable bool) {
	if key == "" {
		return domain.NewID[T](now), false
	}
	h := sha256.New()
	for _, part := range []string{"wedsync idempotency v1", string(c.Org), c.Subject, kind, key} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	var b [16]byte
	copy(b[:], h.Sum(nil))
	b[6] = b[6]&0x0f | 0x80 // version 8: made by our own rule
	b[8] = b[8]&0x3f | 0x80
	return T(domain.FormatUUID(b)), true
}

// reasonBody is the body of an action that needs only words.
type reasonBody struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
}

// MaxReason is the longest reason that an admin may give, in bytes.
const MaxReason = 500

// checkReason counts bytes, which is what storage keeps, and fills in what the trail says without words.
func checkReason(s string) (string, error) {
	if len(s) > MaxReason {
		return "", domain.Invalid("body.reason", "at most %d bytes, has %d", MaxReason, len(s))
	}
	if s == "" {
		return "requested", nil
	}
	return s, nil
}

// loadZone finds a time zone by its IANA name. "Local" is the server's own and means nothing to a caller.
func loadZone(field, name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, domain.Invalid(field, "must be an IANA zone name such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, domain.Invalid(field, "is no known IANA zone name")
	}
	return loc, nil
}
