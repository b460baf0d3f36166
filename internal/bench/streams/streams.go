// Package streams measures what live streams cost: bytes and processor time of idle subscribers, and the time until an
// event has reached all of them.
//
//	result, err := streams.Run(ctx, streams.Options{Subscribers: 5000})
//	fmt.Println(result.Line())
//
// The hub serves in a process of its own over net/http on loopback, so that what is counted there is the server's: heap
// and stacks after a garbage collection, and processor time. Events come from memory: the database's part is measured
// by bench flow. The subscribers are plain connections in this process; their reading counts into the fan-out, since
// both share the machine.
//
// A process started as a server must call [Child] first thing in main. Tests run it with few subscribers.
package streams

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what to measure. Zero values take the defaults named.
type Options struct {
	Subscribers int           // idle connections; 5000
	Idle        time.Duration // how long idling is watched; 20 s, more than a heartbeat
	Rounds      int           // events sent to all; 50
	Say         func(string)  // progress
}

// Result is what was measured.
type Result struct {
	Bench       string  `json:"bench"` // "stream"
	Subscribers int     `json:"subscribers"`
	Heap        float64 `json:"heap_per_subscriber_kib"`  // Go heap in use, connections and all
	Stack       float64 `json:"stack_per_subscriber_kib"` // of goroutines
	IdleCPU     float64 `json:"idle_cpu_percent"`         // of one core, heartbeats included
	ConnectMS   float64 `json:"connect_ms"`               // until all are connected
	FanoutP50   float64 `json:"fanout_p50_ms"`            // until an event has reached all
	FanoutP99   float64 `json:"fanout_p99_ms"`
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("marshal numbers: " + err.Error())
	}
	return string(b)
}

// usage is what the server process says about itself.
type usage struct {
	Heap, Stack uint64
	CPU         time.Duration
	Subscribers int
}

// child is the server process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(ctx context.Context, total int) (*child, string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("find this program: %w", err)
	}
	c := &child{cmd: exec.CommandContext(ctx, program, subcommand, fmt.Sprint(total))}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, "", fmt.Errorf("start server: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, "", fmt.Errorf("start server: %w", err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start server: %w", err)
	}
	addr, err := c.out.ReadString('\n')
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("wait for server: %w", err)
	}
	return c, strings.TrimSpace(addr), nil
}

// stop ends the process, which ends with its standard input.
func (c *child) stop() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

func (c *child) tell(word string) error {
	_, err := io.WriteString(c.in, word+"\n")
	return err
}

func (c *child) usage() (u usage, err error) {
	if err = c.tell("usage"); err != nil {
		return u, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("ask server: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}

// Run measures. It needs two file descriptors per subscriber on this machine, one in each process.
func Run(ctx context.Context, o Options) (Result, error) {
	setDefaults(&o)
	r := Result{Bench: "stream", Subscribers: o.Subscribers}
	c, addr, err := startChild(ctx, o.Subscribers)
	if err != nil {
		return r, err
	}
	defer c.stop()
	before, err := c.usage()
	if err != nil {
		return r, err
	}
	o.Say(fmt.Sprintf("connecting %d subscribers", o.Subscribers))
	began := time.Now()
	all, err := connect(ctx, addr, o)
	defer func() {
		for _, s := range all {
			_ = s.conn.Close()
		}
	}()
	if err != nil {
		return r, err
	}
	r.ConnectMS = ms(time.Since(began))
	first, err := c.usage()
	if err != nil {
		return r, err
	}
	if first.Subscribers != o.Subscribers {
		return r, fmt.Errorf("%d subscribers are connected, want %d", first.Subscribers, o.Subscribers)
	}
	r.Heap, r.Stack = kib(first.Heap, before.Heap, o.Subscribers), kib(first.Stack, before.Stack, o.Subscribers)
	o.Say(fmt.Sprintf("idle for %s", o.Idle))
	if err := idle(ctx, o.Idle); err != nil {
		return r, err
	}
	last, err := c.usage()
	if err != nil {
		return r, err
	}
	r.IdleCPU = round(100 * float64(last.CPU-first.CPU) / float64(o.Idle))
	o.Say(fmt.Sprintf("sending %d events to all", o.Rounds))
	times, err := fanout(ctx, c, all, o.Rounds)
	if err != nil {
		return r, err
	}
	slices.Sort(times)
	at := func(q float64) float64 { return ms(times[min(len(times)-1, int(math.Ceil(q*float64(len(times))))-1)]) }
	r.FanoutP50, r.FanoutP99 = at(0.5), at(0.99)
	return r, nil
}

func setDefaults(o *Options) {
	for _, d := range []struct {
		v    *int
		then int
	}{{&o.Subscribers, 5000}, {&o.Rounds, 50}} {
		if *d.v <= 0 {
			*d.v = d.then
		}
	}
	if o.Idle <= 0 {
		o.Idle = 20 * time.Second
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
}

func idle(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// subscriber is one connection. It reads what comes and tells when an event was there.
type subscriber struct {
	conn net.Conn
	rest []byte // the end of what was read, in which an event may begin
}

// connect opens all connections, some at a time, and returns when the first frame of each has come.
func connect(ctx context.Context, addr string, o Options) ([]*subscriber, error) {
	all := make([]*subscriber, o.Subscribers)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var fault error
	next := 0
	for range 64 {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(all) || fault != nil
				mu.Unlock()
				if stop {
					return
				}
				s, err := open(ctx, addr)
				mu.Lock()
				if all[i] = s; err != nil {
					fault = fmt.Errorf("connect subscriber %d: %w", i, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(all, func(s *subscriber) bool { return s == nil }), fault
}

func open(ctx context.Context, addr string) (*subscriber, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &subscriber{conn: conn}
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := s.await("retry: 2000\nid: "); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// await reads up to and with the words.
func (s *subscriber) await(words string) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, 512)
	for {
		if i := bytes.Index(s.rest, []byte(words)); i >= 0 {
			s.rest = slices.Clone(s.rest[i+len(words):])
			return nil
		}
		n, err := s.conn.Read(buf)
		if err != nil {
			return err
		}
		s.rest = append(s.rest[max(0, len(s.rest)-len(words)):], buf[:n]...)
	}
}

// fanout sends events one after the other and returns how long each took to reach the last subscriber.
func fanout(ctx context.Context, c *child, all []*subscriber, rounds int) ([]time.Duration, error) {
	var times []time.Duration
	for n := range rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		words := fmt.Sprintf(`"n":"%d"`, n+1)
		var wg sync.WaitGroup
		faults := make(chan error, len(all))
		began := time.Now()
		for _, s := range all {
			wg.Go(func() {
				if err := s.await(words); err != nil {
					faults <- err
				}
			})
		}
		if err := c.tell("emit"); err != nil {
			return nil, err
		}
		wg.Wait()
		times = append(times, time.Since(began))
		select {
		case err := <-faults:
			return nil, fmt.Errorf("event %d did not reach all: %w", n+1, err)
		default:
		}
	}
	return times, nil
}

func kib(after, before uint64, n int) float64 {
	return round((float64(after) - float64(before)) / 1024 / float64(n))
}

func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

func round(f float64) float64 { return math.Round(f*100) / 100 }
