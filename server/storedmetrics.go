package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	storedFreshFor = 15 * time.Second
	storedTimeout  = 5 * time.Second
)

// storedFigures are figures for metrics that are read from storage. Workers have no port and many processes measure, so every
// server shows the figures of all.
type storedFigures[T any] struct {
	what string // in the log
	read func(ctx context.Context) (T, error)
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex
	readAt time.Time
	last   T
}

// newest returns the figures. They are read at most every 15 s; while storage does not answer the last ones stand.
func (f *storedFigures[T]) newest() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); f.readAt.IsZero() || now.Sub(f.readAt) >= storedFreshFor {
		ctx, cancel := context.WithTimeout(context.Background(), storedTimeout)
		figures, err := f.read(ctx)
		cancel()
		if err != nil {
			f.log.Warn(f.what+" for metrics could not be read; the last figures are shown", "error", err)
		} else {
			f.last = figures
		}
		f.readAt = now
	}
	return f.last
}
