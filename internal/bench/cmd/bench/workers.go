package main

import (
	"context"
	"runtime"
	"time"

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/worker"
)

// startWorkers runs what a worker process runs, on every task queue, with as many database steps at once as there are
// cores: more would not apply more, they would only take the CPU from the intake beside them.
func startWorkers(d ingest.WorkerDeps) (stop func(context.Context), err error) {
	client, err := httpx.New(httpx.Options{})
	if err != nil {
		return nil, err
	}
	opener := connect.New(findProvider, client, time.Now, 0)
	w, err := worker.New(worker.Deps{Temporal: d.Flow.Temporal(), Store: d.Store, Opener: opener, Log: d.Log, Broadcast: client},
		worker.Options{DatabaseSteps: max(2, runtime.NumCPU())})
	if err != nil {
		return nil, err
	}
	if err := w.Start(); err != nil {
		return nil, err
	}
	return w.Stop, nil
}

func findProvider(name string) (provider.Registration, bool) {
	return custom.Registration, name == custom.Registration.Name
}
