package load

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// run is what the connections of one generator share.
type run struct {
	cfg     Config
	numbers atomic.Uint64
	ready   [][]byte // prepared messages, from the first number on
	spent   atomic.Bool
	warm    time.Time // the measurement begins
	end     time.Time
}

// tally is what one connection saw.
type tally struct {
	acks     []Ack
	took     []time.Duration // of measured acknowledgements
	statuses map[int]int     // 0 for a broken connection
}

func generate(ctx context.Context, cfg Config) (Summary, error) {
	if cfg.Connections <= 0 {
		cfg.Connections = 64
	}
	if cfg.BodyBytes <= 0 {
		cfg.BodyBytes = 1024
	}
	if len(cfg.Targets) == 0 || len(cfg.Targets) > 1<<16-1 {
		return Summary{}, errors.New("targets: want 1 to 65535")
	}
	r := &run{cfg: cfg}
	if cfg.Prepared > 0 {
		var err error
		if r.ready, err = prepare(cfg, time.Now()); err != nil {
			return Summary{}, fmt.Errorf("prepare messages: %w", err)
		}
	}
	start := time.Now()
	r.warm, r.end = start.Add(cfg.Warmup), start.Add(cfg.Warmup+cfg.Duration)
	r.numbers.Store(cfg.First)
	tallies := make([]tally, cfg.Connections)
	perTarget := int64((cfg.Connections + len(cfg.Targets) - 1) / len(cfg.Targets))
	requests := make([]*request, cfg.Connections)
	for i := range requests {
		tallies[i].statuses = make(map[int]int)
		var err error
		target := cfg.Targets[i%len(cfg.Targets)]
		if requests[i], err = newRequest(cfg.Addr, target, cfg.BodyBytes, int64(i/len(cfg.Targets)), perTarget); err != nil {
			return Summary{}, err
		}
	}
	if cfg.Rate == 0 && haveLoop {
		if err := r.loop(ctx, requests, tallies); err != nil {
			return Summary{}, err
		}
		return r.summarise(tallies)
	}
	faults := make([]error, cfg.Connections)
	var all sync.WaitGroup
	for i := range cfg.Connections {
		all.Go(func() { faults[i] = r.connection(ctx, i, requests[i], &tallies[i]) })
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return Summary{}, err
	}
	return r.summarise(tallies)
}

// maxBreaks is how often one connection may break before the run counts as failed.
const maxBreaks = 100

// connection posts until the run ends. The answer to the last request is awaited, however late it comes.
func (r *run) connection(ctx context.Context, index int, req *request, t *tally) error {
	var c *answers
	defer func() { c.close() }()
	due, pause := time.Now(), time.Duration(0)
	if r.cfg.Rate > 0 {
		pause = time.Duration(float64(r.cfg.Connections) / r.cfg.Rate * float64(time.Second))
		due = due.Add(time.Duration(index) * pause / time.Duration(r.cfg.Connections))
	}
	for breaks := 0; ; {
		now := time.Now()
		if pause > 0 {
			if wait := due.Sub(now); wait > 0 {
				timer := time.NewTimer(wait)
				<-timer.C
			}
			now, due = due, due.Add(pause)
		}
		n, ok := r.number(now)
		if !ok || ctx.Err() != nil {
			return ctx.Err()
		}
		if c == nil {
			var err error
			if c, err = dial(r.cfg.Addr); err != nil {
				return err
			}
		}
		status, id, err := c.post(r.text(req, n, now))
		done := time.Now()
		t.statuses[status]++
		if err != nil {
			c.close()
			c = nil
			if breaks++; breaks > maxBreaks {
				return fmt.Errorf("a connection broke %d times: %w", breaks, err)
			}
			continue
		}
		r.count(t, index, n, status, id, now, done)
	}
}

// count notes an answer to message n on a connection.
func (r *run) count(t *tally, index int, n uint64, status int, id [16]byte, began, done time.Time) {
	if status < 200 || status > 299 {
		return
	}
	measured := !began.Before(r.warm) && !done.After(r.end)
	if r.ready != nil {
		index = int(n - r.cfg.First)
	}
	t.acks = append(t.acks, Ack{Message: n, Delivery: id, Target: uint16(index % len(r.cfg.Targets)), Measured: measured})
	if measured {
		t.took = append(t.took, done.Sub(began))
	}
}

// number takes the next message's number; ok is false when the run is over.
func (r *run) number(now time.Time) (n uint64, ok bool) {
	if !now.Before(r.end) {
		return 0, false
	}
	n = r.numbers.Add(1) - 1
	if r.ready != nil && n-r.cfg.First >= uint64(len(r.ready)) {
		r.spent.Store(true)
		return 0, false
	}
	return n, r.cfg.Count == 0 || n-r.cfg.First < r.cfg.Count
}

// text is the request of message n.
func (r *run) text(req *request, n uint64, now time.Time) []byte {
	if r.ready != nil {
		return r.ready[n-r.cfg.First]
	}
	return req.next(n, now)
}

func (r *run) summarise(tallies []tally) (Summary, error) {
	cfg := r.cfg
	sum := Summary{Seconds: cfg.Duration.Seconds(), Statuses: make(map[string]int)}
	var acks []Ack
	var took []time.Duration
	for _, t := range tallies {
		acks, took = append(acks, t.acks...), append(took, t.took...)
		for status, n := range t.statuses {
			name := strconv.Itoa(status)
			if status == 0 {
				name = "error"
			}
			sum.Statuses[name] += n
			if status < 200 || status > 299 {
				sum.Refused += n
			}
		}
	}
	if r.spent.Load() {
		return sum, fmt.Errorf("the %d prepared messages were used up before the end; answers %v", len(r.ready), sum.Statuses)
	}
	slices.Sort(took)
	sum.Acked = len(took)
	if n := len(took); n > 0 {
		sum.P50, sum.P99, sum.Max = took[n/2], took[min(n-1, n*99/100)], took[n-1]
	}
	var err error
	sum.Log, err = writeLog(cfg.Dir, acks)
	return sum, err
}

// answers reads the answers of one connection.
type answers struct {
	conn net.Conn
	buf  [4096]byte
}

// answerTimeout is how long an answer may take before the connection counts as broken.
const answerTimeout = time.Minute

func dial(addr string) (*answers, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return &answers{conn: conn}, nil
}

func (a *answers) close() {
	if a != nil {
		_ = a.conn.Close() // nothing is pending on it
	}
}

var (
	endOfHead = []byte("\r\n\r\n")
	lengthIs  = []byte("\r\nContent-Length: ")
	idIs      = []byte(`"id":"`)
)

// post sends a request and reads its whole answer.
func (a *answers) post(req []byte) (status int, id [16]byte, err error) {
	if err := a.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, id, err
	}
	if _, err := a.conn.Write(req); err != nil {
		return 0, id, err
	}
	for have := 0; ; {
		n, err := a.conn.Read(a.buf[have:])
		have += n
		if err != nil {
			return 0, id, err
		}
		if whole, status, id, err := parseAnswer(a.buf[:have]); whole || err != nil {
			return status, id, err
		}
		if have == len(a.buf) {
			return 0, id, errLongAnswer
		}
	}
}

var errLongAnswer = errors.New("the answer is longer than 4 KiB")

// parseAnswer reads an answer as far as it has come; whole says that it is all there. A 2xx answer without an id is an
// error.
func parseAnswer(text []byte) (whole bool, status int, id [16]byte, err error) {
	head := bytes.Index(text, endOfHead)
	if head < 0 {
		return false, 0, id, nil
	}
	length, err := contentLength(text[:head+2])
	if err != nil {
		return false, 0, id, err
	}
	body := text[head+len(endOfHead):]
	switch {
	case len(body) < length:
		return false, 0, id, nil
	case len(body) > length || head < 12:
		return false, 0, id, errors.New("the answer has another length than it says")
	}
	if status, err = strconv.Atoi(string(text[9:12])); err != nil {
		return false, 0, id, fmt.Errorf("the answer's status: %w", err)
	}
	if status < 200 || status > 299 {
		return true, status, id, nil
	}
	i := bytes.Index(body, idIs)
	if i < 0 || len(body) < i+len(idIs)+36 {
		return false, 0, id, errors.New("a 2xx answer without an id")
	}
	if !parseUUID(&id, body[i+len(idIs):][:36]) {
		return false, 0, id, errors.New("the id in the answer is no UUID")
	}
	return true, status, id, nil
}

func contentLength(head []byte) (int, error) {
	i := bytes.Index(head, lengthIs)
	if i < 0 {
		return 0, errors.New("an answer without Content-Length")
	}
	rest := head[i+len(lengthIs):]
	end := bytes.IndexByte(rest, '\r')
	if end < 0 {
		return 0, errors.New("an answer without Content-Length")
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return 0, fmt.Errorf("the answer's Content-Length: %w", err)
	}
	return n, nil
}

func parseUUID(id *[16]byte, text []byte) bool {
	var digits [32]byte
	n := copy(digits[:], text[:8])
	for _, part := range [][2]int{{9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		if text[part[0]-1] != '-' {
			return false
		}
		n += copy(digits[n:], text[part[0]:part[1]])
	}
	_, err := hex.Decode(id[:], digits[:])
	return err == nil
}
