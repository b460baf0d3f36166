package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a running `wedsync server` or `wedsync worker`.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// launch starts a process with the settings of the rig, and no others of the environment.
func (r *Rig) launch(name string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(r.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(r.o.Binary, name)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WEDSYNC_") && !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "TEMPORAL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, r.env...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, diesWithUs()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s: %w", name, err), log.Close())
	}
	p := &Process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		_ = log.Close()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

func (p *Process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Killed reports whether a process that has ended was ended by SIGKILL.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// End says how a process ended that has, with the last line of its log.
func (p *Process) End() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		text = []byte(err.Error())
	}
	text = bytes.TrimSpace(text)
	return fmt.Sprintf("(%s): %s", p.cmd.ProcessState, text[bytes.LastIndexByte(text, '\n')+1:])
}

// end asks the process to end, and ends it after half a minute.
func (p *Process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
