package httpx

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conns counts and bounds the connections of a client.
type conns struct {
	dialer    *net.Dialer
	slots     chan struct{} // one for each open connection
	made      atomic.Uint64
	closeIdle func()
}

func newConns(most int, d *net.Dialer) *conns {
	return &conns{dialer: d, slots: make(chan struct{}, most)}
}

// dial connects when there is room. Idle connections to other hosts are closed to make some.
func (c *conns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case c.slots <- struct{}{}:
	default:
		c.closeIdle()
		ctx, cancel := context.WithTimeout(ctx, c.dialer.Timeout)
		defer cancel()
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
	}
	conn, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		<-c.slots
		return nil, err
	}
	c.made.Add(1)
	return &counted{Conn: conn, free: sync.OnceFunc(func() { <-c.slots })}, nil
}

func (c *conns) stats() Connections {
	return Connections{Open: len(c.slots), Limit: cap(c.slots), Made: c.made.Load()}
}

// counted is a connection that gives its slot back when it is closed.
type counted struct {
	net.Conn
	free func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// pacedBody is a body of which each part must come in time. The timer stands while nobody reads.
type pacedBody struct {
	from  io.Reader
	each  time.Duration
	timer *time.Timer
}

// Read reads on.
func (b *pacedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.each)
	n, err := b.from.Read(p)
	b.timer.Stop()
	return n, err
}
