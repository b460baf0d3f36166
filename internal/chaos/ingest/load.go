package ingest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bench "github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/domain"
)

// What the senders do beside sending each message once, in parts of all messages.
const (
	updates   = 0.4 // are a new state of an entry of before
	atOnce    = 0.1 // go out two to six times at the same moment
	again     = 0.2 // are sent again at once after they were acknowledged
	later     = 0.1 // are sent again some time after that
	mostState = 4   // states of one entry
	keptBack  = 100 // messages that a sender keeps to send again later
)

const (
	answerTimeout = 30 * time.Second
	firstBackOff  = 50 * time.Millisecond
	lastBackOff   = time.Second
)

// firstDay is where entries begin. Each has a stretch of its own in its calendar, so that none clashes.
var firstDay = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// stretch holds every state of an entry, each beginning a quarter of an hour after the one before.
const stretch = 2 * time.Hour

// entry is one appointment in the vendor's system.
type entry struct {
	target int
	name   string
	begins time.Time
	sent   []*message // by version, from 1
}

func (e *entry) state(version int) (start, end time.Time) {
	start = e.begins.Add(time.Duration(version-1) * 15 * time.Minute)
	return start, start.Add(30 * time.Minute)
}

// message is one event with all that became of it. The fields below mu are guarded by it.
type message struct {
	number  uint64
	entry   *entry
	version int
	body    []byte

	mu       sync.Mutex
	requests int
	acks     []domain.DeliveryID // one per 2xx; "" for an answer cut off behind its status
}

// load is the senders with their books.
type load struct {
	b       *bed
	seed    *rand.Rand
	client  *http.Client
	numbers atomic.Uint64
	slots   []atomic.Int64 // entries made, by target
	count   atomic.Int64   // messages acknowledged
	ending  chan struct{}

	mu       sync.Mutex
	entries  []*entry
	messages []*message
}

func newLoad(b *bed, seed *rand.Rand) *load {
	return &load{b: b, seed: seed, slots: make([]atomic.Int64, len(b.targets)), ending: make(chan struct{}),
		client: &http.Client{Timeout: answerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 8 * b.o.Senders, MaxConnsPerHost: 0}}}
}

func (l *load) acked() int { return int(l.count.Load()) }

// finish lets the senders end once everything they sent is acknowledged.
func (l *load) finish() { close(l.ending) }

// start lets the senders begin. The channel is closed when all have ended, after finish or with ctx.
func (l *load) start(ctx context.Context) <-chan struct{} {
	var senders sync.WaitGroup
	for n := range l.b.o.Senders {
		draw := rand.New(rand.NewPCG(l.seed.Uint64(), uint64(n)))
		senders.Go(func() { l.send(ctx, n, draw) })
	}
	done := make(chan struct{})
	go func() {
		senders.Wait()
		l.client.CloseIdleConnections()
		close(done)
	}()
	return done
}

// send is one sender. It alone makes the states of its entries, and each only after the one before was acknowledged, so
// that the last one sent is the one that must hold.
func (l *load) send(ctx context.Context, n int, draw *rand.Rand) {
	every := time.Duration(float64(l.b.o.Senders) / l.b.o.Rate * float64(time.Second))
	tick := time.NewTicker(every)
	defer tick.Stop()
	var mine []*entry
	var back []*message
	for {
		select {
		case <-tick.C:
		case <-l.ending:
			return
		case <-ctx.Done():
			return
		}
		var e *entry
		if recent := mine[max(0, len(mine)-50):]; len(recent) > 0 && draw.Float64() < updates {
			e = recent[draw.IntN(len(recent))]
		}
		if e == nil || len(e.sent) == mostState {
			e = l.newEntry((n + len(mine)*l.b.o.Senders) % len(l.b.targets))
			mine = append(mine, e)
		}
		m := l.newMessage(e)
		copies := 1
		if draw.Float64() < atOnce {
			copies = 2 + draw.IntN(5)
		}
		var all sync.WaitGroup
		for range copies {
			all.Go(func() { l.deliver(ctx, m) })
		}
		all.Wait()
		switch p := draw.Float64(); {
		case p < again:
			l.deliver(ctx, m)
		case p < again+later && len(back) < keptBack:
			back = append(back, m)
		case len(back) > keptBack/2:
			i := draw.IntN(len(back))
			l.deliver(ctx, back[i])
			back[i] = back[len(back)-1]
			back = back[:len(back)-1]
		}
	}
}

func (l *load) newEntry(target int) *entry {
	slot := l.slots[target].Add(1) - 1
	e := &entry{target: target, name: fmt.Sprintf("entry-%d-%d", target, slot), begins: firstDay.Add(time.Duration(slot) * stretch)}
	l.mu.Lock()
	l.entries = append(l.entries, e)
	l.mu.Unlock()
	return e
}

func (l *load) newMessage(e *entry) *message {
	type data struct {
		ID       string    `json:"id"`
		Version  int       `json:"version"`
		Category string    `json:"category"`
		Start    time.Time `json:"start"`
		End      time.Time `json:"end"`
		Zone     string    `json:"zone"`
		Title    string    `json:"title"`
	}
	m := &message{number: l.numbers.Add(1), entry: e, version: len(e.sent) + 1}
	start, end := e.state(m.version)
	body, err := json.Marshal(struct {
		Type string `json:"type"`
		Data data   `json:"data"`
	}{"event.changed", data{ID: e.name, Version: m.version, Category: "consultation", Start: start, End: end, Zone: "UTC", Title: e.name}})
	if err != nil {
		panic("marshal plain texts: " + err.Error())
	}
	m.body = body
	l.mu.Lock()
	e.sent = append(e.sent, m)
	l.messages = append(l.messages, m)
	l.mu.Unlock()
	return m
}

// deliver sends a message until one request of its own is answered with 2xx, or ctx ends.
func (l *load) deliver(ctx context.Context, m *message) {
	for wait := firstBackOff; ; wait = min(2*wait, lastBackOff) {
		if l.post(ctx, m) {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (l *load) post(ctx context.Context, m *message) (acked bool) {
	to := l.b.targets[m.entry.target]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.b.Addr+"/v1/webhooks/"+string(to.id), bytes.NewReader(m.body))
	if err != nil {
		panic("make a request to our own address: " + err.Error())
	}
	id, stamp := bench.MessageID(m.number), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, to.secret)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(m.body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	m.mu.Lock()
	m.requests++
	m.mu.Unlock()
	resp, err := l.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status is the acknowledgement, whatever follows
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return false
	}
	var receipt struct {
		ID domain.DeliveryID `json:"id"`
	}
	if json.Unmarshal(text, &receipt) != nil {
		receipt.ID = ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.acks) == 0 {
		l.count.Add(1)
	}
	m.acks = append(m.acks, receipt.ID)
	return true
}
