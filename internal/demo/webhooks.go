package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

type accepted struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func (s *story) post(ctx context.Context, m crmsim.Message, spoil bool) (int, accepted, error) {
	var out accepted
	h, err := s.crm.Headers(m, time.Now())
	if err != nil {
		return 0, out, err
	}
	body := m.Body
	if spoil {
		body = bytes.Replace(body, []byte("15:00"), []byte("16:00"), 1)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.hook, bytes.NewReader(body))
	if err != nil {
		return 0, out, err
	}
	req.Header = h
	status, err := s.api.Send(req, &out)
	return status, out, err
}

func (s *story) forged(ctx context.Context) (string, error) {
	s.event = s.crm.Create(crmsim.Event{Kind: "meeting", State: "booked", Starts: s.clock(15).Format("2006-01-02T15:04:05"),
		Ends: s.clock(16).Format("2006-01-02T15:04:05"), Zone: "Europe/London", Title: "Consultation about albums", Client: "A couple of the demo"})
	messages := s.crm.TakeMessages()
	s.message = messages[len(messages)-1]
	status, _, err := s.post(ctx, s.message, true)
	if status != http.StatusUnauthorized {
		return "a forged webhook is refused", fmt.Errorf("status %d, want 401: %w", status, err)
	}
	return "a webhook with a changed body is refused: 401, and nothing is stored", nil
}

func (s *story) webhook(ctx context.Context) (string, error) {
	status, got, err := s.post(ctx, s.message, false)
	if err == nil && (status != http.StatusAccepted || got.ID == "") {
		err = fmt.Errorf("status %d, want 202 with an id", status)
	}
	s.delivery = got.ID
	return "the customer system books a consultation at 15:00 that day; its signed webhook is on disk: 202", err
}

func (s *story) applied(ctx context.Context) (string, error) {
	said := "the booking was applied once"
	err := s.eventually(ctx, func() error {
		var d domain.Delivery
		if _, err := s.api.Do(ctx, http.MethodGet, "/v1/deliveries/"+s.delivery, nil, &d); err != nil {
			return err
		}
		if d.State != domain.DeliveryApplied {
			return fmt.Errorf("the delivery is %s %s", d.State, d.Reason)
		}
		return nil
	})
	if err != nil {
		return said, err
	}
	list, err := s.listBookings(ctx)
	if err != nil {
		return said, err
	}
	for _, b := range list {
		if b.Category == domain.CategoryConsultation {
			s.booking = b
		}
	}
	if len(list) != 2 || s.booking.ID == "" {
		return said, fmt.Errorf("want a wedding and a consultation, have %d bookings", len(list))
	}
	return said, nil
}

func (s *story) again(ctx context.Context) (string, error) {
	said := "the same webhook again: 200 with the same id, and nothing changed"
	status, got, err := s.post(ctx, s.message, false)
	if err != nil {
		return said, err
	}
	if status != http.StatusOK || got.ID != s.delivery {
		return said, fmt.Errorf("status %d and id %s, want 200 and %s", status, got.ID, s.delivery)
	}
	return said, s.unchanged(ctx)
}

func (s *story) fifty(ctx context.Context) (string, error) {
	const copies = 50
	said := "50 copies at once: 50 times 200 with the same id, and nothing changed"
	errs := make(chan error, copies)
	for range copies {
		go func() {
			status, got, err := s.post(ctx, s.message, false)
			if err == nil && (status != http.StatusOK || got.ID != s.delivery) {
				err = fmt.Errorf("status %d and id %s", status, got.ID)
			}
			errs <- err
		}()
	}
	for range copies {
		if err := <-errs; err != nil {
			return said, err
		}
	}
	return said, s.unchanged(ctx)
}
