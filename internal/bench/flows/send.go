package flows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// first is where the calendars begin.
var first = time.Now().UTC().AddDate(0, 1, 0).Truncate(24 * time.Hour)

// send posts the next webhook of a target and remembers when.
func (b *bed) send(ctx context.Context, t *target, seq, slot int) error {
	start := first.Add(time.Duration(slot) * time.Hour)
	if seq%50 == 49 && slot > 0 {
		start = start.Add(-30 * time.Minute) // into the booking before
	}
	key := fmt.Sprintf("b%012d", seq)
	body, err := json.Marshal(map[string]any{"id": key, "type": "event.created", "data": map[string]any{"id": key, "category": "consultation",
		"start": start.Format(time.RFC3339), "end": start.Add(time.Hour).Format(time.RFC3339), "zone": "UTC", "title": "Consultation " + key,
		"notes": pad}})
	if err != nil {
		return err
	}
	now := time.Now()
	header, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, t.secret, "msg_"+key, now, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.stack.Ready.HTTP+"/v1/webhooks/"+string(t.id), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var ack struct {
		ID domain.DeliveryID `json:"id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&ack); err != nil || res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("webhook was answered %d: %w", res.StatusCode, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sentAt[ack.ID] = now
	b.events[string(t.id)+" "+key]++
	return nil
}

// pad makes a body about 1 KiB.
var pad = string(bytes.Repeat([]byte("a garden wedding with room for dancing; "), 21))

func (b *bed) next() (*target, int, int) {
	t := b.targets[b.seq%len(b.targets)]
	b.seq++
	t.sent++
	return t, b.seq, t.sent
}

// steady sends at the rate for a while, each on time whatever the answers take.
func (b *bed) steady(ctx context.Context, d time.Duration) error {
	var sending sync.WaitGroup
	errs := make(chan error, 1)
	tick := time.NewTicker(time.Duration(float64(time.Second) / b.o.Rate))
	defer tick.Stop()
	for n := 0; n < int(d.Seconds()*b.o.Rate); n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			return err
		case <-tick.C:
		}
		t, seq, slot := b.next()
		sending.Go(func() {
			if err := b.send(ctx, t, seq, slot); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	sending.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// burst sends as fast as 64 connections go.
func (b *bed) burst(ctx context.Context) error {
	type job struct {
		t         *target
		seq, slot int
	}
	jobs := make(chan job)
	errs := make(chan error, 64)
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for j := range jobs {
				if err := b.send(ctx, j.t, j.seq, j.slot); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range b.o.Burst {
		t, seq, slot := b.next()
		select {
		case jobs <- job{t, seq, slot}:
		case err := <-errs:
			close(jobs)
			return err
		}
	}
	close(jobs)
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
