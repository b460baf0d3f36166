package tave

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// doer is the part of httpx.Client that is used.
type doer interface {
	Do(*http.Request) (*httpx.Response, error)
}

// client sends requests to the API. Use it from any number of goroutines.
type client struct {
	http  doer
	key   string
	base  *url.URL
	now   func() time.Time
	limit *limiter // nil = a gate does it for all workers together
}

func (c client) get(ctx context.Context, path string, query url.Values, out any) (*httpx.Response, error) {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

// do sends a request below the base and reads a JSON answer into out, which may be nil. in is the body, nil for none.
func (c client) do(ctx context.Context, method, path string, query url.Values, in, out any) (*httpx.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, domain.E(domain.KindInternal, "write the request as JSON")
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, domain.E(domain.KindInternal, "make a request to %s", c.base.Host)
	}
	req.Header.Set("X-Api-Key", c.key)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.send(req)
	if err != nil {
		return res, refused(res, err)
	}
	if out == nil {
		return res, nil
	}
	// Broken JSON inside a success is a fault on the way, not an answer.
	if err := json.Unmarshal(res.Body, out); err != nil {
		return res, domain.E(domain.KindUnavailable, "%s %s: the answer is not the JSON that was asked for", method, c.base.Host)
	}
	return res, nil
}

// send waits for its turn and tells the limiter how it went.
func (c client) send(req *http.Request) (*httpx.Response, error) {
	if c.limit == nil {
		return c.http.Do(req)
	}
	if err := c.limit.wait(req.Context(), c.now()); err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case httpx.StatusOf(err) == http.StatusTooManyRequests:
		pause := c.limit.refused(c.now(), domain.RetryAfter(err))
		if domain.RetryAfter(err) == 0 {
			err = domain.WithRetryAfter(err, pause)
		}
	case err == nil:
		c.limit.well()
	}
	return res, err
}

// fieldName is a member's name as validation errors may repeat it. Anything else could be a value.
var fieldName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,40}([.\[][A-Za-z0-9.\[\]]{0,40})?$`)

// refused adds to a refusal which members were wrong, at most five; the document names two places for them.
func refused(res *httpx.Response, err error) error {
	if res == nil || res.Status != http.StatusBadRequest {
		return err
	}
	var body struct {
		Detail json.RawMessage `json:"detail"`
		Info   struct {
			Errors json.RawMessage `json:"errors"`
		} `json:"info"`
	}
	if json.Unmarshal(res.Body, &body) != nil {
		return err
	}
	names := map[string]bool{}
	for _, part := range []json.RawMessage{body.Detail, body.Info.Errors} {
		var members map[string]json.RawMessage
		if json.Unmarshal(part, &members) != nil {
			continue
		}
		for name := range members {
			if fieldName.MatchString(name) {
				names[name] = true
			}
		}
	}
	list := slices.Sorted(maps.Keys(names))
	if len(list) == 0 {
		return err
	}
	return domain.E(domain.KindOf(err), "%w: refused for %s", err, strings.Join(list[:min(len(list), 5)], ", "))
}

// serverTime is the clock of the servers as an answer tells it, else ours.
func (c client) serverTime(res *httpx.Response) time.Time {
	if at, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		return at.UTC()
	}
	return c.now().UTC()
}

// listing is a page of a list.
type listing struct {
	items []json.RawMessage
	total int // of the whole list, -1 when it is not told
	at    time.Time
}

// page reads one page of a list and checks that it is whole.
func (c client) page(ctx context.Context, path, kind string, query url.Values, number, size int) (listing, error) {
	q := maps.Clone(query)
	if q == nil {
		q = url.Values{}
	}
	q.Set("page", strconv.Itoa(number))
	q.Set("pageSize", strconv.Itoa(size))
	var body struct {
		Meta *struct {
			Current *int `json:"currentPage"`
			Total   *int `json:"totalItems"`
		} `json:"meta"`
		Type  string             `json:"type"`
		Items *[]json.RawMessage `json:"items"`
	}
	res, err := c.get(ctx, path, q, &body)
	if err != nil {
		return listing{}, err
	}
	bad := func(what string) (listing, error) {
		return listing{}, domain.E(domain.KindUnavailable, "GET %s: %s", c.base.Host, what)
	}
	if body.Items == nil || body.Type != kind {
		return bad("the answer is not the list that was asked for")
	}
	out := listing{items: *body.Items, total: -1, at: c.serverTime(res)}
	if len(out.items) > size {
		return bad(fmt.Sprintf("a page of %d has %d items", size, len(out.items)))
	}
	if body.Meta == nil {
		return out, nil
	}
	if body.Meta.Current != nil && *body.Meta.Current != number {
		return bad("the answer is another page than was asked for")
	}
	if body.Meta.Total != nil {
		out.total = *body.Meta.Total
		if want := min(max(out.total-(number-1)*size, 0), size); len(out.items) != want {
			return bad("a page does not hold as many items as its own count says")
		}
	}
	return out, nil
}

// maxEverything bounds how many pages a short list of settings may have.
const maxEverything = 20

// everything reads a short list.
func everything[T any](ctx context.Context, c client, path, kind string, query url.Values) ([]T, error) {
	var all []T
	for number := 1; number <= maxEverything; number++ {
		p, err := c.page(ctx, path, kind, query, number, 100)
		if err != nil {
			return nil, err
		}
		items, err := decode[T](p.items)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if len(items) < 100 || p.total >= 0 && number*100 >= p.total {
			return all, nil
		}
	}
	return nil, domain.E(domain.KindUnavailable, "GET %s: a list of settings has more than %d pages", c.base.Host, maxEverything)
}

func decode[T any](items []json.RawMessage) ([]T, error) {
	out := make([]T, len(items))
	for i, raw := range items {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, domain.E(domain.KindUnavailable, "an item of a list is not what was asked for")
		}
	}
	return out, nil
}
