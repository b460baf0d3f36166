package syncs

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// front counts the requests that pass it.
type front struct {
	server *httptest.Server
	url    string
	count  atomic.Int64
}

func newFront(h http.Handler) *front {
	f := &front{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.count.Add(1)
		h.ServeHTTP(w, r)
	}))
	f.url = f.server.URL
	return f
}

// passOn hands requests on to a server.
func passOn(address string) http.Handler {
	to := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
}

// processorOf is how much processor time another process used so far; 0 where the system does not tell.
func processorOf(pid int) time.Duration {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(line, []byte(") ")) // the name may hold spaces
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0
	}
	const tick = time.Second / 100 // USER_HZ, which Linux fixes for /proc
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0
		}
		sum += time.Duration(n) * tick
	}
	return sum
}
