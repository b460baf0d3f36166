package monitors

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/worker"
)

const subcommand = "monitor-worker-process"

// task is what a worker process is told.
type task struct {
	Database, Temporal, Keys string
	Every                    time.Duration
	Platforms                int
}

// usage is what the worker process says about itself.
type usage struct {
	CPU time.Duration
	RSS int64 // the most so far, in bytes
}

// Child turns this process into a worker when it was started as one, and then does not return. It works until its standard
// input ends, which it does with the process that started it.
func Child() {
	if len(os.Args) < 2 || os.Args[1] != subcommand {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// connection is a system that is probed by one request.
type connection struct {
	url  string
	http *httpx.Client
}

// Probe asks the system.
func (c connection) Probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	_, err = c.http.Do(req)
	return err
}

func open(c provider.Connection) (any, error) {
	var settings struct{ URL string }
	if err := json.Unmarshal(c.Integration.Settings, &settings); err != nil {
		return nil, err
	}
	return connection{url: settings.URL + "/" + string(c.Integration.ID), http: c.HTTP}, nil
}

func serve() error {
	words := bufio.NewScanner(os.Stdin)
	var t task
	if !words.Scan() {
		return fmt.Errorf("no task: %w", words.Err())
	}
	if err := json.Unmarshal(words.Bytes(), &t); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ring, err := vault.ParseKeys(t.Keys)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, t.Database, ring, store.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := flow.New(flow.Options{Address: t.Temporal, Ring: ring, Logger: log})
	if err != nil {
		return err
	}
	defer client.Close()
	out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, MaxConnsPerHost: worker.ProbeConns})
	if err != nil {
		return err
	}
	defer out.Close()
	opener := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: open}, strings.HasPrefix(name, platformPrefix)
	}, out, time.Now, 0)
	w, err := worker.New(worker.Deps{Temporal: client.Temporal(), Store: db, Opener: opener, Log: log},
		worker.Options{Queues: []string{contract.QueueCore, contract.QueueProbe}, ProbeEvery: t.Every})
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	fmt.Println("ready")
	for words.Scan() {
		if words.Text() == "usage" {
			if err := json.NewEncoder(os.Stdout).Encode(measure()); err != nil {
				return err
			}
		}
	}
	end, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	w.Stop(end)
	return words.Err()
}

func measure() (u usage) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
		u.RSS = int64(r.Maxrss) << 10 // KiB on Linux
	}
	return u
}
