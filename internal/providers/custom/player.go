package custom

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/httpx"
)

// player answers requests by the exchanges of a sample, over a server on this machine: bodies, statuses and headers go the
// way that they go in production.
type player struct {
	client *httpx.Client
	server *http.Server
	host   string

	mu        sync.Mutex
	exchanges []SampleExchange
	base      *url.URL
	next      int
	faults    []playFault
}

type playFault struct {
	exchange int
	text     string
}

func newPlayer() (*player, error) {
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		client.Close()
		return nil, err
	}
	p := &player{client: client, host: listener.Addr().String()}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

func (p *player) close() {
	p.client.Close()
	_ = p.server.Close() // nobody is asking any more
}

func (p *player) begin(exchanges []SampleExchange, base *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges, p.base, p.next, p.faults = exchanges, base, 0, nil
}

// end tells how many exchanges were used, and what was wrong with their requests.
func (p *player) end() (asked int, faults []playFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, p.faults
}

// Do is sender: it sends the request to the server on this machine.
func (p *player) Do(req *http.Request) (*httpx.Response, error) {
	sent := req.Clone(req.Context())
	sent.URL.Scheme, sent.URL.Host, sent.Host = "http", p.host, ""
	return p.client.Do(sent)
}

func (p *player) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next >= len(p.exchanges) {
		p.faults = append(p.faults, playFault{max(len(p.exchanges)-1, 0), "a further request is made: " + r.Method + " " + r.URL.RequestURI()})
		w.WriteHeader(http.StatusTeapot)
		return
	}
	e, n := p.exchanges[p.next], p.next
	p.next++
	for _, text := range e.Request.differences(r, p.base) {
		p.faults = append(p.faults, playFault{n, text})
	}
	w.Header()["Date"] = nil // the clock of this machine is none of the recorded system's
	for name, value := range e.Answer.Headers {
		w.Header().Set(name, value)
	}
	body := []byte(e.Answer.Body)
	if e.Answer.Text != "" {
		body = []byte(e.Answer.Text)
	} else if len(body) > 0 && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	status := e.Answer.Status
	if status == 0 {
		status = http.StatusOK
	}
	if status < 200 || status > 599 {
		p.faults = append(p.faults, playFault{n, "the status of the answer must be 200 to 599"})
		status = http.StatusTeapot
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a 204 takes none
}

// differences tells in what a request is another one.
func (want SampleRequest) differences(r *http.Request, base *url.URL) (out []string) {
	method := want.Method
	if method == "" {
		method = http.MethodGet
	}
	if r.Method != method {
		out = append(out, "the method is "+r.Method)
	}
	path := r.URL.EscapedPath()
	if base != nil {
		path = strings.TrimPrefix(path, strings.TrimSuffix(base.EscapedPath(), "/"))
	}
	if path != want.Path {
		out = append(out, "the path is "+path)
	}
	got := map[string]string{}
	for name, values := range r.URL.Query() {
		got[name] = strings.Join(values, ",")
	}
	if len(got) != len(want.Query) || len(got) > 0 && !reflect.DeepEqual(got, want.Query) {
		out = append(out, fmt.Sprintf("the query is %s", r.URL.Query().Encode()))
	}
	for _, name := range sortedKeys(want.Headers) {
		if have := r.Header.Get(name); have != want.Headers[name] {
			out = append(out, fmt.Sprintf("header %s is %q", safeName(name), have))
		}
	}
	if len(want.Body) > 0 {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil || !slices.Equal(compactJSON(body), compactJSON(want.Body)) {
			out = append(out, "the body is "+string(body))
		}
	}
	return out
}
