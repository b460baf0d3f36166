package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/domain"
)

func (s *story) follow(ctx context.Context) (string, error) {
	stream, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopStream = stop
	opened := make(chan struct{})
	go func() {
		close(opened)
		err := s.api.Stream(stream, "", func(e apiclient.Event) bool {
			s.mu.Lock()
			s.seen = append(s.seen, e)
			s.mu.Unlock()
			return true
		})
		s.mu.Lock()
		s.streamErr = err
		s.mu.Unlock()
	}()
	<-opened
	// A resync of the calendar makes an event, which shows that the stream is open.
	var r struct {
		ID string `json:"id"`
	}
	if _, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+s.calendarID+"/resync", map[string]any{"full": false}, &r); err != nil {
		return "follow the live stream", err
	}
	_, err := s.event1(ctx, func(e apiclient.Event) bool { return e.Topic == domain.TopicSyncProgress })
	return "following the live stream", err
}

// event1 waits for an event on the live stream, from its beginning on.
func (s *story) event1(ctx context.Context, match func(apiclient.Event) bool) (apiclient.Event, error) {
	var found apiclient.Event
	err := s.eventually(ctx, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.IndexFunc(s.seen, match); i >= 0 {
			found = s.seen[i]
			return nil
		}
		if s.streamErr != nil {
			return s.streamErr
		}
		return fmt.Errorf("no such event among %d", len(s.seen))
	})
	return found, err
}
