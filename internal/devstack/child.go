package devstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// watchScript becomes the child by exec, after leaving a watcher behind. The
// watcher blocks on descriptor 3, a pipe whose other end only this process
// holds. "done" means the child has been reaped. End of file without it means
// that this process died: the watcher then ends the child, first with the
// signals in $WATCH_SIGNALS, about five seconds each, and at last with KILL,
// and removes the folders in $WATCH_REMOVE. Descriptor 4, the children's
// lock, stays open in the watcher until then.
//
// $$ is the child's process id in the watcher as well, because exec keeps it.
// A child that ended but was not reaped, as in a container whose first process
// does not, counts as gone.
const watchScript = `
signals=$WATCH_SIGNALS remove=$WATCH_REMOVE
unset WATCH_SCRIPT WATCH_SIGNALS WATCH_REMOVE
alive() {
  kill -0 $$ 2>/dev/null || return 1
  [ -r /proc/$$/stat ] || return 0
  read -r state </proc/$$/stat || return 1
  case $state in *') Z '*) return 1 ;; esac
}
(
  trap '' HUP INT QUIT TERM
  read -r word <&3
  [ "$word" = done ] && exit 0
  for signal in $signals KILL; do
    kill -s "$signal" $$ 2>/dev/null || break
    tick=0
    while [ $tick -lt 50 ] && alive; do
      sleep 0.1 2>/dev/null || sleep 1
      tick=$((tick + 1))
    done
  done
  [ -n "$remove" ] && rm -rf "$remove"
  exit 0
) </dev/null >/dev/null 2>&1 &
exec 3<&- 4<&-
exec "$@"
`

// childSpec describes one supervised process.
type childSpec struct {
	name    string
	path    string
	args    []string
	env     []string
	dir     string
	stdin   *os.File      // nil is empty input
	log     *os.File      // both outputs, required
	account *account      // nil keeps this process's user
	lock    *instanceLock // nil for none
	// end is the sequence of signals that ends the child, each given wait to
	// work before the next; SIGKILL follows by itself.
	end  []syscall.Signal
	wait time.Duration
	// remove is a folder the watcher deletes after this process was killed.
	remove string
}

// child is a running supervised process.
type child struct {
	spec childSpec
	cmd  *exec.Cmd
	hold *os.File // write end of the watcher's pipe
	done chan struct{}
	err  error // exit status, readable after done
	// expected is set before the child is taken away on purpose.
	expected atomic.Bool
}

var signalNames = map[syscall.Signal]string{
	syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGQUIT: "QUIT",
}

// spawn starts a child with its watcher. The child is in a session of its own,
// so that a Ctrl-C at the terminal reaches only this process, which then stops
// its children in order.
func spawn(spec childSpec) (*child, error) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		return nil, userErrorf(err, "no sh command on PATH; it is needed to supervise %s", spec.name)
	}
	watched, hold, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe that watches %s: %w", spec.name, err)
	}
	defer watched.Close()

	names := make([]string, len(spec.end))
	for i, s := range spec.end {
		names[i] = signalNames[s]
	}
	cmd := exec.Command(shell, append([]string{"-c", `eval "$WATCH_SCRIPT"`, spec.name, spec.path}, spec.args...)...)
	cmd.Env = append(spec.env, "WATCH_SCRIPT="+watchScript, "WATCH_SIGNALS="+strings.Join(names, " "), "WATCH_REMOVE="+spec.remove)
	cmd.Dir = spec.dir
	cmd.Stdout, cmd.Stderr = spec.log, spec.log
	if spec.stdin != nil {
		cmd.Stdin = spec.stdin
	}
	cmd.ExtraFiles = []*os.File{watched}
	if spec.lock != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, spec.lock.children)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if spec.account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: spec.account.uid, Gid: spec.account.gid}
	}
	if err := cmd.Start(); err != nil {
		hold.Close()
		if spec.account != nil {
			return nil, userErrorf(err, "cannot start %s as user %s: %v", spec.name, spec.account.name, err)
		}
		return nil, fmt.Errorf("start %s: %w", spec.name, err)
	}
	c := &child{spec: spec, cmd: cmd, hold: hold, done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		// Told before the pipe closes, so that the watcher never signals a
		// process id that may belong to somebody else by now.
		_, _ = hold.WriteString("done\n")
		_ = hold.Close()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// exited reports whether the child has ended.
func (c *child) exited() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop ends the child: each signal of the spec in turn, then SIGKILL. The end
// of ctx shortens all waits. It returns an error only when SIGKILL was needed.
func (c *child) stop(ctx context.Context) error {
	for _, sig := range c.spec.end {
		if c.exited() {
			return nil
		}
		_ = c.cmd.Process.Signal(sig)
		timer := time.NewTimer(c.spec.wait)
		select {
		case <-c.done:
			timer.Stop()
			return nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if c.exited() {
		return nil
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	return fmt.Errorf("stop %s: it did not end by itself and was killed", c.spec.name)
}

// exitText describes how the child ended, for people.
func (c *child) exitText() string {
	if c.err == nil {
		return "exit status 0"
	}
	return c.err.Error()
}

// run executes a short-lived command under the same supervision and waits for
// it. The end of ctx stops it.
func run(ctx context.Context, spec childSpec) error {
	c, err := spawn(spec)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		_ = c.stop(context.WithoutCancel(ctx))
		return ctx.Err()
	}
}

// endOrphan ends a server that an instance killed together with its watchers left
// behind. match must be part of its command line, or the process is a stranger.
func endOrphan(ctx context.Context, pid int, match string, sig syscall.Signal) (found bool, err error) {
	if pid == 0 || !processAlive(pid) || !strings.Contains(commandLine(pid), match) {
		return false, nil
	}
	_ = syscall.Kill(pid, sig)
	deadline := time.Now().Add(orphanGrace)
	for processAlive(pid) {
		if time.Now().After(deadline) {
			return true, userErrorf(nil, "process %d of an earlier run does not stop; end it by hand", pid)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return true, err
		}
	}
	return true, nil
}

func commandLine(pid int) string {
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return strings.ReplaceAll(string(raw), "\x00", " ")
	}
	out, err := exec.Command("ps", "-o", "command=", "-p", fmt.Sprint(pid)).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
