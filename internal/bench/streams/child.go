package streams

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/stream"
)

const subcommand = "stream-server-process"

// Child turns this process into a server when it was started as one, and then does not return. It works until its
// standard input ends, which it does with the process that started it.
func Child() {
	if len(os.Args) < 3 || os.Args[1] != subcommand {
		return
	}
	if err := serve(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "stream server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// log is a stream in memory. Its cursors are numbers.
type log struct {
	mu     sync.Mutex
	events []domain.Event
	wake   func()
}

func (l *log) append() {
	l.mu.Lock()
	n := strconv.Itoa(len(l.events) + 1)
	l.events = append(l.events, domain.Event{Cursor: n, OrgID: org, Topic: domain.TopicBookingChanged, At: time.Now().UTC(), Refs: map[string]string{"n": n}})
	wake := l.wake
	l.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func (l *log) StreamAfter(_ context.Context, cursor string, _ domain.OrgID, limit int) ([]domain.Event, string, error) {
	n, err := strconv.Atoi(cursor)
	if err != nil {
		return nil, cursor, domain.Invalid("cursor", "is no number")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end := min(len(l.events), n+limit)
	return l.events[n:end], strconv.Itoa(end), nil
}

func (l *log) StreamHead(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strconv.Itoa(len(l.events)), nil
}

func (l *log) Listen(ctx context.Context, _ string, wake func()) error {
	l.mu.Lock()
	l.wake = wake
	l.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// org is the one organisation, the worst case for an event.
const org domain.OrgID = "00000000-0000-7000-8000-000000000001"

func serve(count string) error {
	total, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("number of subscribers: %w", err)
	}
	events := &log{}
	hub := stream.New(events, stream.Options{Total: total, PerOrg: total})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = hub.Run(ctx) }() // returns nil only
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := hub.Serve(w, r, stream.Request{Org: org}); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = srv.Serve(l) }() // ends with the process
	defer func() { _ = srv.Close() }()
	fmt.Println(l.Addr())
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		switch words.Text() {
		case "emit":
			events.append()
		case "usage":
			if err := json.NewEncoder(os.Stdout).Encode(measure(hub)); err != nil {
				return err
			}
		}
	}
	return nil
}

func measure(hub *stream.Hub) usage {
	// Twice, since pools give up what they hold at the second collection.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{Heap: m.HeapAlloc, Stack: m.StackInuse, Subscribers: hub.Counts().Subscribers}
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}
