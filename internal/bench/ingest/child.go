package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// WorkerDeps is what workers run on.
type WorkerDeps struct {
	Store *store.Store
	Flow  *flow.Client
	Log   *slog.Logger
}

// Workers starts what a worker process runs and returns how to stop it.
type Workers func(d WorkerDeps) (stop func(context.Context), err error)

const workerSubcommand = "worker-process"

// workerConfig goes over standard input, because keys do not belong into arguments.
type workerConfig struct {
	DatabaseURL string
	Temporal    string
	Keys        string
}

// workersReady is what a worker process prints when it serves.
const workersReady = "ready"

// Child turns this process into a worker when it was started as one, and then does not return. It works until its
// standard input ends, which it does with the process that started it.
func Child(start Workers) {
	if len(os.Args) < 2 || os.Args[1] != workerSubcommand {
		return
	}
	if err := workerProcess(context.Background(), start); err != nil {
		fmt.Fprintln(os.Stderr, "worker process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func workerProcess(ctx context.Context, start Workers) error {
	var c workerConfig
	in := json.NewDecoder(os.Stdin)
	if err := in.Decode(&c); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	ring, err := vault.ParseKeys(c.Keys)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	db, err := store.Open(ctx, c.DatabaseURL, ring, store.Options{AppName: "wedsync-worker"})
	if err != nil {
		return err
	}
	defer db.Close()
	temporal, err := flow.New(flow.Options{Address: c.Temporal, Ring: ring, Logger: log})
	if err != nil {
		return err
	}
	defer temporal.Close()
	stop, err := start(WorkerDeps{Store: db, Flow: temporal, Log: log})
	if err != nil {
		return err
	}
	if _, err := fmt.Println(workersReady); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("wait for the end: %w", err)
	}
	end, cancel := context.WithTimeout(ctx, workersEnd)
	defer cancel()
	stop(end)
	return nil
}

// workersEnd is how long workers may take to finish what they do.
const workersEnd = 20 * time.Second

// startWorkers starts a worker process and waits until it serves.
func (b *bed) startWorkers(ctx context.Context) (stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, workerSubcommand)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	stop = func() {
		_ = in.Close() // this is what ends it
		_ = cmd.Wait() // its own words are on standard error
	}
	err = json.NewEncoder(in).Encode(workerConfig{DatabaseURL: b.servers.DatabaseURL(), Temporal: b.servers.TemporalAddress(), Keys: b.ring.Encode()})
	if err == nil {
		var word string
		if _, err = fmt.Fscanln(out, &word); err == nil && word != workersReady {
			err = fmt.Errorf("it said %q", word)
		}
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	return stop, nil
}
