package server

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestLongAndSlowHeadersAreEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	b.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	for name, c := range map[string]struct{ text, answer string }{
		"too many bytes": {"POST /v1/webhooks/x HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", maxHeaderBytes+8<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"never ending":   {"POST /v1/webhooks/x HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		b.must(err)
		b.must(conn.SetDeadline(time.Now().Add(4 * readHeaderTimeout)))
		_, _ = io.WriteString(conn, c.text) // the server may end it before all is written
		began := time.Now()
		buffer := make([]byte, len(c.answer)+1)
		n, _ := io.ReadFull(conn, buffer) // a reset counts as an end too
		if took := time.Since(began); took > 2*readHeaderTimeout || !strings.HasPrefix(string(buffer[:n]), c.answer) {
			t.Errorf("%s: %q after %s; want %q and the end within %s", name, buffer[:n], took, c.answer, readHeaderTimeout)
		}
		b.must(conn.Close())
	}
}
