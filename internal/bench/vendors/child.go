package vendors

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/app"
)

const subcommand = "vendors-product-process"

// productConfig goes over standard input, because keys do not belong into arguments.
type productConfig struct {
	DatabaseURL string
	Temporal    string
	Keys        string
	TokenKeys   string
	Profile     string
	MemoryLimit string
}

// usage is what the product process says about itself. Sizes are in MiB.
type usage struct {
	RSS         float64 // now
	Live        float64 // of the heap at the end of the last collection
	Heap        float64 // with what is garbage by now
	Stacks      float64
	Goroutines  int
	CPU         time.Duration
	Connections int // to outside systems, open now
}

func (u usage) String() string {
	return fmt.Sprintf("%.0f MiB (heap %.0f of which %.0f live, stacks of %d goroutines %.0f), %d connections open", u.RSS, u.Heap, u.Live,
		u.Goroutines, u.Stacks, u.Connections)
}

// measure fills what the runtime knows.
func (u *usage) measure() {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	for n, to := range []*float64{&u.Live, &u.Heap, &u.Stacks} {
		*to = float64(s[n].Value.Uint64()) / (1 << 20)
	}
	u.Goroutines = runtime.NumGoroutine()
}

// Child turns this process into server and worker when it was started as such, and then does not return. It works until its
// standard input ends, which it does with the process that started it.
func Child() {
	if len(os.Args) < 2 || os.Args[1] != subcommand {
		return
	}
	if err := work(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server and worker:", err)
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
	var c productConfig
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer l.Close()
	cfg := app.Defaults()
	cfg.DatabaseURL, cfg.TemporalAddress, cfg.Keys, cfg.TokenKeys, cfg.AllowPrivate, cfg.LogLevel = c.DatabaseURL, c.Temporal, c.Keys, c.TokenKeys, true, "error"
	cfg.HTTPAddr, cfg.PublicURL = l.Addr().String(), "http://"+l.Addr().String()
	cfg.AddressRate, cfg.OrganizationRate = 0, 0 // every sender is this machine
	cfg.ProbeEvery = 0                           // bench monitor measures probing
	cfg.MemoryLimit = c.MemoryLimit
	if _, err := app.LimitMemory(cfg); err != nil {
		return err
	}
	core, err := app.Open(ctx, cfg, "bench")
	if err != nil {
		return err
	}
	defer core.Close()
	run, stop := context.WithCancel(ctx)
	parts := make(chan error, 2)
	go func() { parts <- app.RunServer(run, core, l) }()
	go func() { parts <- app.RunWorker(run, core) }()
	defer func() {
		stop()
		err = errors.Join(err, <-parts, <-parts)
	}()
	answers := json.NewEncoder(out)
	if err := answers.Encode("http://" + l.Addr().String()); err != nil {
		return err
	}
	for {
		word, err := words.ReadString('\n')
		if err != nil {
			return nil // the end of the process that started this one, or its wish
		}
		switch strings.TrimSpace(word) {
		case "usage":
			u := usage{RSS: resident(), CPU: used(), Connections: core.HTTP.Connections().Open}
			u.measure()
			err = answers.Encode(u)
		case "profile":
			err = errors.Join(heap(c.Profile, "vendors.idle-heap.pprof"), profile(c.Profile), answers.Encode("profiling"))
		case "profiled":
			pprof.StopCPUProfile()
			err = errors.Join(heap(c.Profile, "vendors.heap.pprof"), answers.Encode("profiled"))
		}
		if err != nil {
			return err
		}
	}
}

func used() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// resident is the memory that the system says this process has, in MiB; 0 where there is no /proc.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.ParseFloat(f[1], 64)
			return n / 1024
		}
	}
	return 0
}

func profile(dir string) error {
	if dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(dir, "vendors.cpu.pprof"))
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	return pprof.StartCPUProfile(f)
}

func heap(dir, name string) error {
	if dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("write a profile: %w", err)
	}
	runtime.GC() // what is garbage by now does not belong into it
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// product is server and worker, seen from outside.
type product struct {
	url string
	in  io.WriteCloser
	out *json.Decoder
	cmd *exec.Cmd
}

func startProduct(ctx context.Context, c productConfig) (*product, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &product{cmd: exec.CommandContext(ctx, program, subcommand)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start server and worker: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start server and worker: %w", err)
	}
	p.out = json.NewDecoder(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server and worker: %w", err)
	}
	err = json.NewEncoder(p.in).Encode(c)
	if err == nil {
		err = p.out.Decode(&p.url)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start server and worker: %w", err)
	}
	return p, nil
}

// ask says a word and reads the answer.
func (p *product) ask(word string, answer any) error {
	_, err := io.WriteString(p.in, word+"\n")
	if err == nil {
		err = p.out.Decode(answer)
	}
	if err != nil {
		return fmt.Errorf("ask server and worker: %w", err)
	}
	return nil
}

func (p *product) stop() {
	_ = p.in.Close() // this is what ends it
	_ = p.cmd.Wait() // its own words are on standard error
}
