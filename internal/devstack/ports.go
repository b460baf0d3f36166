package devstack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The flags of `wedsync dev` that errors point to.
const (
	flagTemporalPort = "--temporal-port"
	flagUIPort       = "--ui-port"
	flagPostgresPort = "--postgres-port"
)

// portChoice picks loopback ports: the one asked for, else the remembered one,
// else a free one, which is then remembered.
type portChoice struct {
	flag string
	want int
	keep string // file that remembers the port, "" for none
}

func (c portChoice) automatic() bool { return c.want == 0 }

func (c portChoice) pick() (int, error) {
	if c.want != 0 {
		if err := tryPort(c.want); err != nil {
			return 0, portError(c.flag, c.want, err)
		}
		return c.want, nil
	}
	if old := c.remembered(); old != 0 && tryPort(old) == nil {
		return old, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free loopback port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("release port %d: %w", port, err)
	}
	if c.keep != "" {
		if err := os.WriteFile(c.keep, []byte(strconv.Itoa(port)+"\n"), 0o644); err != nil {
			return 0, fmt.Errorf("remember the port: %w", err)
		}
	}
	return port, nil
}

func (c portChoice) remembered() int {
	if c.keep == "" {
		return 0
	}
	raw, err := os.ReadFile(c.keep)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

func tryPort(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

func portError(flag string, port int, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return userErrorf(err, "port %d on 127.0.0.1 is already in use; choose another with %s", port, flag)
	case errors.Is(err, syscall.EACCES):
		return userErrorf(err, "port %d needs more rights than this user has; choose one above 1023 with %s", port, flag)
	}
	return userErrorf(err, "port %d on 127.0.0.1 cannot be used (%v); choose another with %s", port, err, flag)
}
