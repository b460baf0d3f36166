package tavesim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// Hook is a delivery of a rest hook that waits to be sent.
type Hook struct {
	Subscription string // id of the rest hook
	Event        string
	URL          string
	TargetID     string
}

// HookFault is a way in which deliveries go wrong.
type HookFault string

// The faults of hooks. Each is about one delivery.
const (
	HookLost      HookFault = "lost"      // never sent
	HookDuplicate HookFault = "duplicate" // sent twice
	HookLate      HookFault = "late"      // kept until the next call of DeliverHooks
)

// BreakHooks lets the next n deliveries go wrong.
func (s *Server) BreakHooks(f HookFault, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[f] = n
}

// PendingHooks returns the deliveries that wait.
func (s *Server) PendingHooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queue)
}

// Book books an order, as a client or the studio does: the order is booked, and its job moves to the stage booked.
func (s *Server) Book(order string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.all["order"][order]
	if o == nil {
		panic("tavesim: no order " + order)
	}
	o["status"], o["bookedOn"] = "open", s.clock().Format("2006-01-02")
	s.touch(o)
	if job := s.all["job"][text(o["jobId"])]; job != nil && job["stage"] == "lead" {
		job["stage"], job["bookingDate"] = "booked", o["bookedOn"]
		s.touch(job)
	}
	s.emit("order.booked", text(o["id"]), s.all["job"][text(o["jobId"])])
}

// tell queues the deliveries about a new entity.
func (s *Server) tell(kind string, o Object) {
	switch kind {
	case "job":
		s.emit("job.created", text(o["id"]), o)
	case "address-book":
		s.emit("contact.created", text(o["id"]), o)
	}
}

func (s *Server) emit(event, target string, about Object) {
	for _, id := range sorted(s.all["rest-hook"]) {
		h := s.all["rest-hook"][id]
		limit, _ := h["limitTo"].(map[string]any)
		if h["event"] != event || !within(limit["jobTypes"], about["jobTypeId"]) || !within(limit["brands"], about["brandId"]) ||
			!within(limit["contactKinds"], about["kind"]) || limit["webLead"] != nil && limit["webLead"] != about["webLead"] {
			continue
		}
		s.queue = append(s.queue, Hook{Subscription: id, Event: event, URL: text(h["url"]), TargetID: target})
	}
}

func within(list, v any) bool {
	all, limited := list.([]any)
	return !limited || slices.Contains(all, v)
}

// DeliverHooks posts what waits, with the faults that were asked for, and returns the statuses of the answers, 0 where there
// was none. The error is about the context only.
func (s *Server) DeliverHooks(ctx context.Context, client *http.Client) ([]int, error) {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	take := func(f HookFault) bool {
		if s.broken[f] == 0 {
			return false
		}
		s.broken[f]--
		return true
	}
	var plan []Hook
	for _, h := range queue {
		switch {
		case take(HookLost):
		case take(HookLate):
			s.queue = append(s.queue, h)
		case take(HookDuplicate):
			plan = append(plan, h, h)
		default:
			plan = append(plan, h)
		}
	}
	s.mu.Unlock()
	var statuses []int
	for _, h := range plan {
		status := 0
		for try := 0; try < 3 && status/100 != 2; try++ {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader([]byte(`{"targetId":"`+h.TargetID+`"}`)))
			if err != nil {
				return statuses, fmt.Errorf("make a hook: %w", err)
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := client.Do(req)
			if ctx.Err() != nil {
				return statuses, ctx.Err()
			}
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // what the receiver says is of no interest
			_ = res.Body.Close()
			status = res.StatusCode
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}
