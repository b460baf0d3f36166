package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// haveLoop says that loop works on this system.
const haveLoop = true

// lane is a connection of the loop.
type lane struct {
	fd     int
	n      uint64 // message under way
	began  time.Time
	have   int
	breaks int
	buf    [4096]byte
}

// loop drives all connections from one thread by epoll. Goroutines over net.Conn use twice the CPU, which on a shared
// machine is taken from the server.
func (r *run) loop(ctx context.Context, requests []*request, tallies []tally) (err error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make an epoll: %w", err)
	}
	defer func() { _ = syscall.Close(ep) }() // the process ends
	lanes := make([]lane, len(requests))
	open := 0
	for i := range lanes {
		lanes[i].fd = -1
		ok, err := r.begin(ep, i, &lanes[i], requests[i], &tallies[i])
		if err != nil {
			return err
		}
		if ok {
			open++
		}
	}
	events := make([]syscall.EpollEvent, len(lanes))
	last := time.Now()
	for open > 0 {
		n, err := syscall.EpollWait(ep, events, 1000)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for answers: %w", err)
		}
		switch now := time.Now(); {
		case ctx.Err() != nil:
			return ctx.Err()
		case n > 0:
			last = now
		case now.Sub(last) > answerTimeout:
			return fmt.Errorf("no answer on any of %d connections for %v", open, answerTimeout)
		}
		for _, e := range events[:max(n, 0)] {
			i := int(e.Fd)
			done, err := r.answer(i, &lanes[i], &tallies[i])
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			ok, err := r.begin(ep, i, &lanes[i], requests[i], &tallies[i])
			if err != nil {
				return err
			}
			if !ok {
				open--
			}
		}
	}
	return nil
}

// begin posts the next message on a lane, over a new connection where there is none. ok is false when the run is over.
func (r *run) begin(ep, i int, l *lane, req *request, t *tally) (ok bool, err error) {
	for {
		now := time.Now()
		n, ok := r.number(now)
		if !ok {
			if l.fd >= 0 {
				_ = syscall.Close(l.fd) // the answer has been read
			}
			return false, nil
		}
		if l.fd < 0 {
			if l.fd, err = dialRaw(r.cfg.Addr); err != nil {
				return false, err
			}
			e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)} // the lane's index, given back by epoll as it is
			if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, l.fd, &e); err != nil {
				return false, fmt.Errorf("watch a connection: %w", err)
			}
		}
		l.n, l.began, l.have = n, now, 0
		text := r.text(req, n, now)
		sent, err := syscall.Write(l.fd, text)
		if err == nil && sent == len(text) {
			return true, nil
		}
		if err == nil {
			err = errors.New("the server does not read")
		}
		if err := l.broke(t, err); err != nil {
			return false, err
		}
	}
}

// answer reads what has come on a lane; done says that it may go on to its next message.
func (r *run) answer(i int, l *lane, t *tally) (done bool, err error) {
	n, err := syscall.Read(l.fd, l.buf[l.have:])
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	if err == nil && n == 0 {
		err = errors.New("the server closed the connection")
	}
	if err != nil {
		return true, l.broke(t, err)
	}
	l.have += n
	whole, status, id, err := parseAnswer(l.buf[:l.have])
	switch {
	case err != nil:
		return true, l.broke(t, err)
	case !whole && l.have == len(l.buf):
		return true, l.broke(t, errLongAnswer)
	case !whole:
		return false, nil
	}
	t.statuses[status]++
	r.count(t, i, l.n, status, id, l.began, time.Now())
	return true, nil
}

// broke ends a lane's connection. The error is returned when that happened too often.
func (l *lane) broke(t *tally, err error) error {
	_ = syscall.Close(l.fd) // it is broken
	l.fd = -1
	t.statuses[0]++
	if l.breaks++; l.breaks > maxBreaks {
		return fmt.Errorf("a connection broke %d times: %w", l.breaks, err)
	}
	return nil
}

// dialRaw connects to a loopback address without the runtime's poller.
func dialRaw(addr string) (int, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return -1, fmt.Errorf("connect to the server: %w", err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	sa := &syscall.SockaddrInet4{Port: to.Port}
	copy(sa.Addr[:], to.IP.To4())
	err = syscall.Connect(fd, sa)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, fmt.Errorf("connect to the server: %w", err)
	}
	return fd, nil
}
