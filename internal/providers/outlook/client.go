package outlook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// doer is the part of httpx.Client that is used.
type doer interface {
	Do(*http.Request) (*httpx.Response, error)
}

// client sends requests to Graph. Use it from any number of goroutines.
type client struct {
	http    doer
	tokens  provider.TokenSource
	base    *url.URL
	mailbox string // by which requests are counted
}

// preferences go with every request. Ids that stay when an event is moved, times in UTC, and texts without markup.
const preferences = `IdType="ImmutableId", outlook.timezone="UTC", outlook.body-content-type="text"`

// call is one request.
type call struct {
	method string
	path   string // below the base
	query  url.Values
	link   *url.URL // instead of path and query
	match  string   // If-Match
	body   any
	prefer string // further preferences
}

// do sends a request and reads a JSON answer into out, which may be nil. The answer is returned with errors too, when
// there was one. A refused token is replaced once.
func (c client) do(ctx context.Context, call call, out any) (*httpx.Response, error) {
	release, err := mailboxes.enter(ctx, c.mailbox)
	if err != nil {
		return nil, err
	}
	defer release()
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, domain.E(domain.KindOf(err), "get access token: %w", err)
	}
	res, err := c.send(ctx, call, token)
	if httpx.StatusOf(err) == http.StatusUnauthorized {
		c.tokens.Refused(token)
		again, tokenErr := c.tokens.Token(ctx)
		if tokenErr != nil {
			return nil, domain.E(domain.KindOf(tokenErr), "get another access token: %w", tokenErr)
		}
		if again != token {
			res, err = c.send(ctx, call, again)
		}
	}
	if err != nil {
		return res, err
	}
	if out == nil {
		return res, nil
	}
	// Broken JSON inside a success is a fault on the way, not an answer.
	if err := json.Unmarshal(res.Body, out); err != nil {
		return res, domain.E(domain.KindUnavailable, "%s %s: the answer is not the JSON that was asked for", call.method, c.base.Host)
	}
	return res, nil
}

func (c client) send(ctx context.Context, call call, token string) (*httpx.Response, error) {
	u := call.link
	if u == nil {
		u = c.base.JoinPath(call.path) // ids in the path are escaped already
		u.RawQuery = call.query.Encode()
	}
	var body []byte
	if call.body != nil {
		var err error
		if body, err = json.Marshal(call.body); err != nil {
			return nil, domain.E(domain.KindInternal, "write the request as JSON")
		}
	}
	req, err := http.NewRequestWithContext(ctx, call.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, domain.E(domain.KindInternal, "make a request to %s", c.base.Host)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	prefer := preferences
	if call.prefer != "" {
		prefer += ", " + call.prefer
	}
	req.Header.Set("Prefer", prefer)
	if call.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if call.match != "" {
		req.Header.Set("If-Match", call.match)
	}
	return c.http.Do(req)
}

// follow checks a link of an answer, or of a cursor, before a token is sent there.
func (c client) follow(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != c.base.Scheme || !strings.EqualFold(u.Host, c.base.Host) || u.User != nil ||
		!strings.HasPrefix(u.Path, c.base.Path+"/") {
		return nil, domain.E(domain.KindUnavailable, "the link to go on leads to another place than %s", c.base.Host)
	}
	return u, nil
}

// code returns the code of a refusal of Graph, "" if it has none.
func code(res *httpx.Response) string {
	if res == nil {
		return ""
	}
	var body struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(res.Body, &body) != nil {
		return ""
	}
	return body.Error.Code
}

// maxConcurrent is how many requests of an app Graph works on for one mailbox; the next one is refused.
const maxConcurrent = 4

// gates bound the requests under way, by mailbox, over all connections of the process.
type gates struct {
	mu    sync.Mutex
	gates map[string]*gate
}

type gate struct {
	slots chan struct{}
	users int
}

var mailboxes = gates{gates: map[string]*gate{}}

// enter waits for a slot. release must be called once.
func (g *gates) enter(ctx context.Context, mailbox string) (release func(), err error) {
	g.mu.Lock()
	one, ok := g.gates[mailbox]
	if !ok {
		one = &gate{slots: make(chan struct{}, maxConcurrent)}
		g.gates[mailbox] = one
	}
	one.users++
	g.mu.Unlock()
	leave := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(g.gates, mailbox)
		}
	}
	select {
	case one.slots <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, domain.E(domain.KindUnavailable, "wait for a turn at the mailbox: %w", ctx.Err())
	}
	return func() { <-one.slots; leave() }, nil
}

// together runs f for every index at most maxConcurrent at a time, so that a mailbox is used fully by one page, and
// returns the first error by index.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	turns := make(chan struct{}, maxConcurrent)
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
