package schedulers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// errUnreadable is an answer with a success status that is not what was asked for.
var errUnreadable = domain.E(domain.KindUnavailable, "the answer cannot be read")

// client sends requests to one scheduler.
type client struct {
	http *httpx.Client
	base string
	sign func(*http.Request) // adds the credentials
}

// call sends a request with a JSON body, or none, and reads the answer into out, unless that is nil.
func (c *client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	_, err := c.dated(ctx, method, path, query, in, out)
	return err
}

// dated is call that also returns what the scheduler's clock shows; zero = it does not tell.
func (c *client) dated(ctx context.Context, method, path string, query url.Values, in, out any) (at time.Time, err error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return at, domain.E(domain.KindInternal, "marshal a request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return at, domain.E(domain.KindInvalid, "the address of the API cannot be used")
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.sign(req)
	res, err := c.http.Do(req)
	if err != nil {
		return at, err
	}
	if shown, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		at = shown
	}
	if out != nil && json.Unmarshal(res.Body, out) != nil { // its text would quote the answer
		return at, errUnreadable
	}
	return at, nil
}
