// Package load posts signed webhooks as fast as the server acknowledges them, or at a steady rate, and logs every
// acknowledged id. The benchmarks share it.
//
// The generator is a process of its own, so that its garbage and its scheduler do not mix with the server's: [Run]
// starts the same program again with [Subcommand], whose main must call [Child] first thing. It runs on one thread,
// keeps its connections, and changes only what differs in a request that was built once: address, message id, time,
// signature, and the booking's id and times in the body. Every message is sent once and is another booking.
//
//	load.Child()                       // at the top of main
//	sum, err := load.Run(ctx, load.Config{Addr: "127.0.0.1:8080", Targets: targets, Duration: 20 * time.Second})
//	acks, err := load.ReadLog(sum.Log) // to hold against the database
//
// A message counts as acknowledged only with a 2xx answer that carries an id. Latency is from before the write of the
// request to after the read of the whole answer; with a rate it is from the time at which the request was due, so that
// a server that stalls does not hide its stall.
//
// Where each webhook has its time, and the program that measures is to know when it was sent, [Studio] makes connections and
// [Connection.Post] sends one.
//
// To test it, point it at any HTTP server; see load_test.go.
package load

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Target is an integration that takes webhooks signed by Standard Webhooks.
type Target struct {
	Integration domain.IntegrationID
	Secret      []byte // key bytes, not their text form
	// Text is the secret as a sender is given it, for messages that are prepared.
	Text string
}

// Config says what is posted where.
type Config struct {
	Addr        string // host:port
	Targets     []Target
	Connections int           // default 64; connection i posts to target i modulo their number
	Warmup      time.Duration // posts before the measurement; logged, but in no figure
	Duration    time.Duration
	BodyBytes   int    // default 1024, at least 512
	First       uint64 // number of the first message
	// Prepared is how many messages are made and signed before the run begins, in turn for each target, so that a scheme
	// whose signatures cost much is not paid for by the server's cores; Auth is that scheme. 0 makes each message when it
	// is sent, by Standard Webhooks. A run that uses them up fails.
	Prepared int
	Auth     webhookauth.Config
	// Private signs prepared messages where the targets' secret is a public key: Standard Webhooks v1a, and JWT.
	Private ed25519.PrivateKey
	// Rate is the requests a second over all connections; 0 posts the next as soon as the one before is answered.
	Rate float64
	// Count ends the run after so many messages, 0 for never.
	Count uint64
	// Dir is where the log goes.
	Dir string
}

// Summary is what a run measured, warm-up left out.
type Summary struct {
	Seconds  float64        `json:"seconds"`
	Acked    int            `json:"acked"`
	Refused  int            `json:"refused"`  // answers other than 2xx, warm-up included
	Statuses map[string]int `json:"statuses"` // of all answers, warm-up included; "error" for broken connections
	P50      time.Duration  `json:"p50"`
	P99      time.Duration  `json:"p99"`
	Max      time.Duration  `json:"max"`
	CPU      time.Duration  `json:"cpu"` // used by the generator, warm-up included
	Log      string         `json:"log"` // path of the log of acknowledgements
}

// PerSecond is the acknowledgements a second.
func (s Summary) PerSecond() float64 { return float64(s.Acked) / s.Seconds }

// Ack is one acknowledged message.
type Ack struct {
	Message  uint64
	Delivery [16]byte
	Target   uint16 // index in Config.Targets
	Measured bool   // after the warm-up
}

const ackSize = 8 + 16 + 2 + 1

// MessageID is the id in the header of message n; all have one length.
func MessageID(n uint64) string { return string(appendMessageID(nil, n)) }

const messageIDLength = 4 + 16

func appendMessageID(dst []byte, n uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return hex.AppendEncode(append(dst, "msg_"...), b[:])
}

// DedupeKey is what the server stores as the dedupe key of message n.
func DedupeKey(n uint64) [sha256.Size]byte {
	return sha256.Sum256(appendMessageID([]byte{'m', 0}, n))
}

// Subcommand is the first argument of a program that is to be a generator.
const Subcommand = "load-generator"

// Child turns this process into a generator when it was started as one, and then does not return.
func Child() {
	if len(os.Args) < 2 || os.Args[1] != Subcommand {
		return
	}
	var cfg Config
	if err := json.NewDecoder(os.Stdin).Decode(&cfg); err != nil {
		fmt.Fprintln(os.Stderr, "read the generator's configuration:", err)
		os.Exit(1)
	}
	sum, err := generate(context.Background(), cfg)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(sum)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run starts a generator process and waits for its summary. The end of ctx kills it.
func Run(ctx context.Context, cfg Config) (Summary, error) {
	var sum Summary
	program, err := os.Executable()
	if err != nil {
		return sum, fmt.Errorf("find this program: %w", err)
	}
	in, err := json.Marshal(cfg)
	if err != nil {
		return sum, fmt.Errorf("write the generator's configuration: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, Subcommand)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return sum, fmt.Errorf("run the load generator: %w", err)
	}
	if err := json.Unmarshal(out, &sum); err != nil {
		return sum, fmt.Errorf("read the generator's summary: %w", err)
	}
	sum.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return sum, nil
}

// ReadLog reads a log of acknowledgements.
func ReadLog(path string) ([]Ack, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the log of acknowledgements: %w", err)
	}
	if len(raw)%ackSize != 0 {
		return nil, fmt.Errorf("the log of acknowledgements is cut short at %d bytes", len(raw))
	}
	acks := make([]Ack, 0, len(raw)/ackSize)
	for ; len(raw) > 0; raw = raw[ackSize:] {
		a := Ack{Message: binary.BigEndian.Uint64(raw), Target: binary.BigEndian.Uint16(raw[24:]), Measured: raw[26] == 1}
		copy(a.Delivery[:], raw[8:])
		acks = append(acks, a)
	}
	return acks, nil
}

func writeLog(dir string, acks []Ack) (string, error) {
	raw := make([]byte, 0, len(acks)*ackSize)
	for _, a := range acks {
		raw = binary.BigEndian.AppendUint64(raw, a.Message)
		raw = append(raw, a.Delivery[:]...)
		raw = binary.BigEndian.AppendUint16(raw, a.Target)
		if a.Measured {
			raw = append(raw, 1)
		} else {
			raw = append(raw, 0)
		}
	}
	path := filepath.Join(dir, "acks-"+strconv.Itoa(os.Getpid())+".log")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return "", fmt.Errorf("write the log of acknowledgements: %w", err)
	}
	return path, nil
}
