package crmsim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// HookFault is a way in which webhooks go wrong.
type HookFault string

// The faults of webhooks. Each is about one message.
const (
	HookLost      HookFault = "lost"      // never sent
	HookDuplicate HookFault = "duplicate" // sent twice with the same id
	HookLate      HookFault = "late"      // sent after the message that follows it
)

// attempts is how often a message is tried.
const attempts = 4

// Message is a webhook that the studio wants to send. Its id is the same in every try.
type Message struct {
	ID   string
	Type string // event.created, event.updated or event.deleted
	Body []byte
	At   time.Time // of the change
}

// Result tells what became of a message.
type Result struct {
	ID       string
	Attempts int // tries; 0 when the message was lost
	Status   int // of the last answer; 0 when there was none
}

// Delivered reports whether the receiver accepted the message.
func (r Result) Delivered() bool { return r.Status >= 200 && r.Status < 300 }

// SignConfig is how the studio signs its webhooks.
func SignConfig() webhookauth.Config {
	return webhookauth.Config{Scheme: webhookauth.StandardWebhooks}
}

// BreakHooks lets the next n messages go wrong.
func (c *CRM) BreakHooks(f HookFault, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks[f] = n
}

// enqueue makes the webhook of a change.
func (c *CRM) enqueue(kind string, e Event) {
	c.msgs++
	m := Message{ID: fmt.Sprintf("msg_%08d", c.msgs), Type: kind, At: c.opt.Now().UTC()}
	body, err := json.Marshal(struct {
		ID   string    `json:"id"`
		Type string    `json:"type"`
		At   time.Time `json:"at"`
		Data Event     `json:"data"`
	}{m.ID, kind, m.At, e})
	if err != nil {
		panic("marshal an event of plain fields: " + err.Error())
	}
	m.Body = body
	c.messages = append(c.messages, m)
}

// TakeMessages returns the webhooks not sent yet and forgets them, for tests that hand them over by themselves.
func (c *CRM) TakeMessages() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.messages
	c.messages = nil
	return out
}

// Headers signs a message as sent at a time.
func (c *CRM) Headers(m Message, at time.Time) (http.Header, error) {
	h, err := webhookauth.Sign(SignConfig(), webhookauth.Secret(c.opt.WebhookSecret), m.ID, at, m.Body)
	if err != nil {
		return nil, fmt.Errorf("sign webhook: %w", err)
	}
	h.Set("Content-Type", "application/json")
	return h, nil
}

// Deliver posts one message and tries again after an answer other than 2xx, or none, as often as four times in all.
// A 410 ends the tries at once. The error is about signing or the context; a refused message is told by the result.
func (c *CRM) Deliver(ctx context.Context, client *http.Client, url string, m Message) (Result, error) {
	res := Result{ID: m.ID}
	for n := 1; n <= attempts; n++ {
		if n > 1 {
			select {
			case <-c.opt.Wait(n - 1):
			case <-ctx.Done():
				return res, ctx.Err()
			}
		}
		res.Attempts = n
		status, err := c.post1(ctx, client, url, m)
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		res.Status = status
		if err != nil {
			var signing *signError
			if errors.As(err, &signing) {
				return res, err
			}
			continue
		}
		if res.Delivered() || status == http.StatusGone {
			return res, nil
		}
	}
	return res, nil
}

// signError is a fault of ours, which no retry mends.
type signError struct{ err error }

func (e *signError) Error() string { return e.err.Error() }
func (e *signError) Unwrap() error { return e.err }

func (c *CRM) post1(ctx context.Context, client *http.Client, url string, m Message) (int, error) {
	header, err := c.Headers(m, c.opt.Now())
	if err != nil {
		return 0, &signError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Body))
	if err != nil {
		return 0, &signError{fmt.Errorf("make webhook request: %w", err)}
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("post webhook: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, fmt.Errorf("read webhook answer: %w", err)
	}
	return resp.StatusCode, nil
}

// DeliverPending sends all messages in their order, with the faults that were asked for. A late message goes out
// after the one that follows it, or stays until the next call when none does.
func (c *CRM) DeliverPending(ctx context.Context, client *http.Client, url string) ([]Result, error) {
	c.mu.Lock()
	queue := c.messages
	c.messages = nil
	take := func(f HookFault) bool {
		if c.hooks[f] == 0 {
			return false
		}
		c.hooks[f]--
		return true
	}
	var plan, held []Message
	var lost []Result
	for _, m := range queue {
		switch {
		case take(HookLost):
			lost = append(lost, Result{ID: m.ID})
		case take(HookLate):
			held = append(held, m)
		case take(HookDuplicate):
			plan = append(append(plan, m, m), held...)
			held = nil
		default:
			plan = append(append(plan, m), held...)
			held = nil
		}
	}
	c.messages = held
	c.mu.Unlock()
	results := lost
	for i, m := range plan {
		res, err := c.Deliver(ctx, client, url, m)
		if err != nil {
			c.mu.Lock()
			c.messages = append(append([]Message{}, plan[i:]...), c.messages...)
			c.mu.Unlock()
			return results, err
		}
		results = append(results, res)
	}
	return results, nil
}
