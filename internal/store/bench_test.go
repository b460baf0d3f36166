package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
)

// durable starts a cluster that flushes its commits, unlike the one of the tests, and migrates it.
var durable = sync.OnceValues(func() (string, error) {
	stack, err := devstack.Start(context.Background(), devstack.Options{Ephemeral: true, Private: true, SkipTemporal: true,
		Log: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	if err != nil {
		return "", err
	}
	_, err = Migrate(context.Background(), stack.DatabaseURL())
	return stack.DatabaseURL(), err
})

// BenchmarkInsertDeliveries measures rows of 1 KiB a second that are sealed and on disk, with as many batches under way
// as the intake has writers.
func BenchmarkInsertDeliveries(b *testing.B) {
	for _, size := range []int{64, 256} {
		for _, writers := range []int{1, 3} {
			b.Run(fmt.Sprintf("batch=%d/writers=%d", size, writers), func(b *testing.B) {
				url, err := durable()
				if err != nil {
					b.Fatal(err)
				}
				s, err := Open(b.Context(), url, newRing(b), Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				org := domain.NewID[domain.OrgID](time.Now())
				integrations := make([]domain.IntegrationID, 20)
				for i := range integrations {
					integrations[i] = domain.NewID[domain.IntegrationID](time.Now())
				}
				body := make([]byte, 1024)
				_, _ = rand.Read(body)
				headers := map[string]string{"content-type": "application/json", "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"}
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						batch := make([]NewDelivery, size)
						for left.Add(-1) >= 0 {
							now := time.Now()
							for i := range batch {
								d := &batch[i]
								*d = NewDelivery{ID: domain.NewID[domain.DeliveryID](now), OrgID: org, IntegrationID: integrations[i%len(integrations)],
									Size: len(body), ReceivedAt: now}
								_, _ = rand.Read(d.Dedupe[:])
								d.Content = s.SealDelivery(org, d.ID, headers, body)
							}
							out, err := s.InsertDeliveries(b.Context(), batch)
							if err != nil || len(out) != size || out[0].Duplicate {
								b.Errorf("insert: %v", err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
