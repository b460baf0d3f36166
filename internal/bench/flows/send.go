package flows

import (
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/bench/load"
)

// send posts the next webhook of a target and remembers when.
func (b *bed) send(ctx context.Context, t *load.Connection, seq, slot int) error {
	start := load.First.Add(time.Duration(slot) * time.Hour)
	if seq%50 == 49 && slot > 0 {
		start = start.Add(-30 * time.Minute) // into the booking before
	}
	sent, err := t.Post(ctx, b.http, b.stack.Ready.HTTP, seq, start)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sentAt[sent.Delivery] = sent.At
	b.events[string(t.ID)+" "+sent.Booking]++
	return nil
}

func (b *bed) next() (*load.Connection, int, int) {
	t := b.targets[b.seq%len(b.targets)]
	b.seq++
	t.Sent++
	return t, b.seq, t.Sent
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
		t         *load.Connection
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
