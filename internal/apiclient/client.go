// Package apiclient is a small client of WedSync's admin API for the command line, the demo and the tests. It speaks
// plain JSON, turns problem+json answers into domain errors, and follows the live stream.
//
// Every call is bounded by its context and by 30 s. Answers are read up to 8 MiB.
package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Client calls one server as one caller.
type Client struct {
	base   string
	token  string
	http   *http.Client
	header http.Header // of every call
}

// New makes a client of the server at base, such as http://127.0.0.1:8080.
func New(base, token string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}}}
}

// With returns a client that sends a header with every call of the API; an empty value sends none. It shares its connections
// with c.
func (c *Client) With(name, value string) *Client {
	out := *c
	if out.header = c.header.Clone(); out.header == nil {
		out.header = http.Header{}
	}
	if out.header.Del(name); value != "" {
		out.header.Set(name, value)
	}
	return &out
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

const maxAnswer = 8 << 20

// Do sends a request with in as its JSON body (nil for none) and decodes the answer into out (nil to drop it). It
// returns the status also for refusals, whose error carries the kind and the problem's words.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (status int, err error) {
	return c.DoWithKey(ctx, method, path, "", in, out)
}

// DoWithKey is Do with an Idempotency-Key, which makes a creation repeatable; "" sends none.
func (c *Client) DoWithKey(ctx context.Context, method, path, key string, in, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, domain.E(domain.KindInvalid, "encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return 0, domain.E(domain.KindInvalid, "make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	return c.send(req, out)
}

// Send sends a prepared request, such as a signed webhook; the client's token is not added.
func (c *Client) Send(req *http.Request, out any) (status int, err error) { return c.read(req, out) }

// URL returns the address of a path.
func (c *Client) URL(path string) string { return c.base + path }

func (c *Client) send(req *http.Request, out any) (int, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.read(req, out)
}

func (c *Client) read(req *http.Request, out any) (int, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return 0, domain.E(domain.KindUnavailable, "ask the server: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return res.StatusCode, domain.E(domain.KindUnavailable, "read the answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return res.StatusCode, problem(res.StatusCode, b)
	}
	if out == nil || len(b) == 0 {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return res.StatusCode, domain.E(domain.KindInternal, "decode the answer: %w", err)
	}
	return res.StatusCode, nil
}

func problem(status int, body []byte) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct {
			Location string `json:"location"`
			Field    string `json:"field"`
			Message  string `json:"message"`
			Detail   string `json:"detail"`
		} `json:"errors"`
	}
	text := http.StatusText(status)
	if json.Unmarshal(body, &p) == nil && p.Title != "" {
		text = p.Title
		if p.Detail != "" {
			text += ": " + p.Detail
		}
		for _, e := range p.Errors {
			text += "; " + e.Location + e.Field + ": " + e.Message + e.Detail
		}
	}
	return domain.E(kindOf(status), "%d %s", status, text)
}

func kindOf(status int) domain.ErrorKind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusPreconditionRequired:
		return domain.KindInvalid
	case http.StatusUnauthorized:
		return domain.KindUnauthenticated
	case http.StatusForbidden:
		return domain.KindForbidden
	case http.StatusNotFound:
		return domain.KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked:
		return domain.KindConflict
	case http.StatusRequestEntityTooLarge:
		return domain.KindTooLarge
	case http.StatusTooManyRequests:
		return domain.KindRateLimited
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return domain.KindUnavailable
	}
	return domain.KindInternal
}

// filterQuery writes a filter as the parameters of /v1/stream: values of one field parted by commas.
func filterQuery(f domain.EventFilter) string {
	q := url.Values{}
	set := func(name string, values []string) {
		if len(values) > 0 {
			q.Set(name, strings.Join(values, ","))
		}
	}
	set("topics", f.Topics)
	set("wedding", texts(f.Weddings))
	set("integration", texts(f.Integrations))
	set("resource", texts(f.Resources))
	return q.Encode()
}

func texts[T ~string](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// Event is one event of the live stream.
type Event struct {
	ID    string            `json:"-"`
	Topic domain.Topic      `json:"topic"`
	At    time.Time         `json:"at"`
	Refs  map[string]string `json:"refs"`
}

// Stream follows the live stream from after the event lastID ("" = from now) and calls fn for each event until fn
// returns false, the stream ends or ctx does.
func (c *Client) Stream(ctx context.Context, lastID string, fn func(Event) bool) error {
	return c.StreamOf(ctx, domain.EventFilter{}, lastID, fn)
}

// StreamOf is Stream for the events that a filter takes.
func (c *Client) StreamOf(ctx context.Context, f domain.EventFilter, lastID string, fn func(Event) bool) error {
	path := c.base + "/v1/stream"
	if query := filterQuery(f); query != "" {
		path += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return domain.E(domain.KindInvalid, "make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return domain.E(domain.KindUnavailable, "open the live stream: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if err != nil {
			return domain.E(domain.KindUnavailable, "read the answer: %w", err)
		}
		return problem(res.StatusCode, b)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	var id, data string
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "id:"):
			id = strings.TrimSpace(line[3:])
		case strings.HasPrefix(line, "data:"):
			data += strings.TrimSpace(line[5:])
		case line == "" && data != "":
			e := Event{ID: id}
			if err := json.Unmarshal([]byte(data), &e); err == nil && e.Topic != "" && !fn(e) {
				return nil
			}
			data = ""
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return domain.E(domain.KindUnavailable, "the live stream ended")
}
