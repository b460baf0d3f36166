package monitors

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const platformPrefix = "platform-"

func platformName(n int) string { return fmt.Sprintf("%s%d", platformPrefix, n) }

// systems are the platforms, one HTTP server each.
type systems struct {
	dead    []atomic.Bool
	refuse  atomic.Bool
	addrs   []string
	servers []*http.Server
}

// newSystems starts them. Each connection's answer takes 20 to 270 ms, always about the same for one connection.
func newSystems(n int) (*systems, error) {
	s := &systems{dead: make([]atomic.Bool, n)}
	for p := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		srv := &http.Server{ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(r.URL.Path))
			timer := time.NewTimer(time.Duration(20+h.Sum32()%250) * time.Millisecond)
			defer timer.Stop()
			select {
			case <-r.Context().Done():
				return
			case <-timer.C:
			}
			if s.dead[p].Load() {
				if s.refuse.Load() {
					panic(http.ErrAbortHandler) // breaks the connection off
				}
				<-r.Context().Done() // never answered
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})}
		go func() { _ = srv.Serve(l) }() // ends by close
		s.addrs, s.servers = append(s.addrs, "http://"+l.Addr().String()), append(s.servers, srv)
	}
	return s, nil
}

func (s *systems) url(platform int) string { return s.addrs[platform] }

func (s *systems) die(platform int, refuse bool) {
	s.refuse.Store(refuse)
	s.dead[platform].Store(true)
}

func (s *systems) close() {
	for _, srv := range s.servers {
		_ = srv.Close()
	}
}
