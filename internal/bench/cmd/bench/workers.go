package main

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/worker"
)

// startWorkers runs what a worker process runs, on every task queue.
func startWorkers(_ context.Context, d ingest.WorkerDeps) (stop func(context.Context), err error) {
	client, err := httpx.New(httpx.Options{})
	if err != nil {
		return nil, err
	}
	opener := connect.New(d.Provider, client, time.Now, 0)
	w, err := worker.New(worker.Deps{Temporal: d.Flow.Temporal(), Store: d.Store, Opener: opener, Log: d.Log}, worker.Options{})
	if err != nil {
		return nil, err
	}
	if err := w.Start(); err != nil {
		return nil, err
	}
	return w.Stop, nil
}
