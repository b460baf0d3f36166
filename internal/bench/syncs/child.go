package syncs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/worker"
)

const subcommand = "sync-worker-process"

// workerConfig goes over standard input, because keys do not belong into arguments.
type workerConfig struct {
	DatabaseURL string
	Temporal    string
	Keys        string
	Profile     string
}

// usage is what the worker process says about itself, since the last reset.
type usage struct {
	Heap uint64 // highest, garbage included
	CPU  time.Duration
}

// Child turns this process into a worker when it was started as one, and then does not return. It works until its
// standard input ends, which it does with the process that started it.
func Child() {
	if len(os.Args) < 2 || os.Args[1] != subcommand {
		return
	}
	if err := work(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sync worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	words := bufio.NewReader(in)
	line, err := words.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var c workerConfig
	if err := json.Unmarshal(line, &c); err != nil {
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
	guarded, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		return err
	}
	defer guarded.Close()
	w, err := worker.New(worker.Deps{Temporal: temporal.Temporal(), Store: db, Opener: connect.New(findProvider, guarded, time.Now, 0), Log: log, Broadcast: guarded}, worker.Options{})
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		w.Stop(end)
	}()
	unprofile, err := profile(c.Profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unprofile()) }()
	m := watchHeap(ctx)
	answers := json.NewEncoder(out)
	if err := answers.Encode("ready"); err != nil {
		return err
	}
	for {
		word, err := words.ReadString('\n')
		if err != nil {
			return nil // the end of the process that started this one, or its wish
		}
		switch word {
		case "reset\n":
			m.reset()
			err = answers.Encode("reset")
		case "usage\n":
			err = answers.Encode(m.usage())
		}
		if err != nil {
			return err
		}
	}
}

// token is a grant that needs no refreshing.
type token struct{}

func (token) Token(context.Context) (string, error) { return password, nil }
func (token) Refused(string)                        {}

// findProvider finds the product's providers. That of Google has a grant already.
func findProvider(name string) (provider.Registration, bool) {
	r, err := providers.Get(name)
	if err == nil && name == "google" {
		open := r.Open
		r.Open = func(c provider.Connection) (any, error) {
			c.Tokens = token{}
			return open(c)
		}
	}
	return r, err == nil
}

// meter follows the heap.
type meter struct {
	mu   sync.Mutex
	heap uint64
	cpu  time.Duration
}

// watchHeap looks at the heap often enough to meet its highest points: between two collections it grows for longer.
func watchHeap(ctx context.Context) *meter {
	m := &meter{}
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				m.look()
			}
		}
	}()
	return m
}

func (m *meter) look() {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	m.mu.Lock()
	m.heap = max(m.heap, s[0].Value.Uint64())
	m.mu.Unlock()
}

func (m *meter) reset() {
	// Twice, since pools give up what they hold at the second collection.
	runtime.GC()
	runtime.GC()
	m.mu.Lock()
	m.heap, m.cpu = 0, used()
	m.mu.Unlock()
	m.look()
}

func (m *meter) usage() usage {
	m.look()
	m.mu.Lock()
	defer m.mu.Unlock()
	return usage{Heap: m.heap, CPU: used() - m.cpu}
}

func used() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func profile(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(dir, "sync-worker.cpu.pprof"))
	if err != nil {
		return nil, fmt.Errorf("write a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start a profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(filepath.Join(dir, "sync-worker.allocs.pprof"))
		if err != nil {
			return errors.Join(fmt.Errorf("write a profile: %w", err), f.Close())
		}
		return errors.Join(f.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}

// workerProcess is the worker, seen from outside.
type workerProcess struct {
	in  io.WriteCloser
	out *json.Decoder
	cmd *exec.Cmd
}

func (b *bed) startWorker(ctx context.Context) (*workerProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	w := &workerProcess{cmd: exec.CommandContext(ctx, program, subcommand)}
	w.cmd.Stderr = os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	w.out = json.NewDecoder(out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	err = json.NewEncoder(w.in).Encode(workerConfig{DatabaseURL: b.servers.DatabaseURL(), Temporal: b.servers.TemporalAddress(), Keys: b.ring.Encode(), Profile: b.o.Profile})
	if err == nil {
		err = w.hear("ready")
	}
	if err != nil {
		w.stop()
		return nil, fmt.Errorf("start the worker process: %w", err)
	}
	return w, nil
}

func (w *workerProcess) hear(want string) error {
	var word string
	if err := w.out.Decode(&word); err != nil {
		return err
	}
	if word != want {
		return fmt.Errorf("it said %q", word)
	}
	return nil
}

func (w *workerProcess) stop() {
	_ = w.in.Close() // this is what ends it
	_ = w.cmd.Wait() // its own words are on standard error
}

// reset forgets the highest heap so far, and lets the worker collect its garbage.
func (w *workerProcess) reset() error {
	_, err := io.WriteString(w.in, "reset\n")
	if err == nil {
		err = w.hear("reset")
	}
	if err != nil {
		return fmt.Errorf("speak to the worker process: %w", err)
	}
	return nil
}

func (w *workerProcess) usage() (u usage, err error) {
	if _, err = io.WriteString(w.in, "usage\n"); err == nil {
		err = w.out.Decode(&u)
	}
	if err != nil {
		return u, fmt.Errorf("ask the worker process: %w", err)
	}
	return u, nil
}
