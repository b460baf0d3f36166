package honeybooksim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// RelayFault is a way in which the runs of steps go wrong.
type RelayFault string

// The faults of runs. Each is about one run.
const (
	RunLost    RelayFault = "lost"        // the step never runs
	RunTwice   RelayFault = "twice"       // it runs twice with the same values
	RunLate    RelayFault = "late"        // it runs after the one that follows it, or with the next call of Deliver
	AnswerLost RelayFault = "answer-lost" // the answer does not arrive, so that the step is run again
)

// Break lets the next n runs go wrong.
func (s *Studio) Break(f RelayFault, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[f] = n
}

// Result tells what became of a run.
type Result struct {
	Trigger string
	Tries   int // 0 when the run was lost
	Status  int // of the last answer; 0 when there was none
}

// tries is how often a tool runs a step in all.
func (s *Studio) tries() int {
	if s.o.Tool == Make {
		return 4
	}
	return 6
}

// Deliver runs the steps that wait, each until it gets a 2xx or the tool gives up. The error is about signing or the
// context; a refused post is told by its result.
func (s *Studio) Deliver(ctx context.Context, client *http.Client, address string) ([]Result, error) {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	var plan, late []Post
	var out []Result
	for _, p := range queue {
		switch {
		case s.takeLocked(RunLost):
			out = append(out, Result{Trigger: p.Trigger})
			continue
		case s.takeLocked(RunLate):
			late = append(late, p)
			continue
		case s.takeLocked(RunTwice):
			plan = append(plan, p, p)
		default:
			plan = append(plan, p)
		}
		plan, late = append(plan, late...), nil
	}
	s.queue = late
	s.mu.Unlock()
	for i, p := range plan {
		r, err := s.run(ctx, client, address, p)
		if err != nil {
			s.mu.Lock()
			s.queue = append(append([]Post{}, plan[i:]...), s.queue...)
			s.mu.Unlock()
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (s *Studio) takeLocked(f RelayFault) bool {
	if s.broken[f] == 0 {
		return false
	}
	s.broken[f]--
	return true
}

func (s *Studio) run(ctx context.Context, client *http.Client, address string, p Post) (Result, error) {
	res := Result{Trigger: p.Trigger}
	for res.Tries < s.tries() && (res.Status < 200 || res.Status > 299) {
		if res.Tries > 0 && s.o.Wait != nil {
			select {
			case <-s.o.Wait(res.Tries):
			case <-ctx.Done():
				return res, ctx.Err()
			}
		}
		res.Tries++
		req, err := s.request(ctx, address, p)
		if err != nil {
			return res, err
		}
		answer, err := client.Do(req)
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		if res.Status = 0; err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // the step does not look at it
		_ = answer.Body.Close()
		s.mu.Lock()
		lost := s.takeLocked(AnswerLost)
		s.mu.Unlock()
		if !lost {
			res.Status = answer.StatusCode
		}
	}
	return res, nil
}

// request is the post of a step, as it proves itself at this moment.
func (s *Studio) request(ctx context.Context, address string, p Post) (*http.Request, error) {
	header := http.Header{}
	if s.o.Auth.Scheme != "" && s.o.Auth.Scheme != webhookauth.PathToken {
		var err error
		if header, err = webhookauth.Sign(s.o.Auth, s.o.Secret, p.ID, s.o.Now(), p.Body); err != nil {
			return nil, fmt.Errorf("sign a post: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(p.Body))
	if err != nil {
		return nil, fmt.Errorf("make a post: %w", err)
	}
	header.Set("Content-Type", p.ContentType)
	req.Header = header
	return req, nil
}
