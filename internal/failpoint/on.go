//go:build chaos

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled tells whether this build has failpoints.
const Enabled = true

// look is how often the control file is read.
const look = 10 * time.Millisecond

// answerWait bounds how long HitAnswered waits: the sender may have gone.
const answerWait = 2 * time.Second

// maxAnswered bounds the answers remembered.
const maxAnswered = 100_000

var control = os.Getenv("WEDSYNC_FAILPOINTS")

var state struct {
	sync.Mutex
	line     string // as read last
	sequence string
	point    string
	left     int
	answered map[string]struct{}
}

func init() {
	if control == "" {
		return
	}
	arm()
	go func() {
		for range time.Tick(look) {
			arm()
		}
	}()
}

// arm reads the control file. A line that is no order arms nothing.
func arm() {
	text, err := os.ReadFile(control)
	if err != nil {
		return
	}
	line := strings.TrimSpace(string(text))
	state.Lock()
	defer state.Unlock()
	if line == state.line {
		return
	}
	state.line, state.point = line, ""
	var sequence, point string
	var nth int
	if n, err := fmt.Sscan(line, &sequence, &point, &nth); n == 3 && err == nil && nth > 0 {
		state.sequence, state.point, state.left = sequence, point, nth
	}
}

// Hit ends the process with SIGKILL when the point is armed and this is the time it was armed for.
func Hit(point string) {
	if due(point) {
		die()
	}
}

func due(point string) bool {
	state.Lock()
	defer state.Unlock()
	if state.point != point {
		return false
	}
	state.left--
	return state.left == 0
}

// Answered notes that the answer that names id has been handed to the kernel.
func Answered(id string) {
	state.Lock()
	defer state.Unlock()
	if state.answered == nil || len(state.answered) >= maxAnswered {
		state.answered = make(map[string]struct{})
	}
	state.answered[id] = struct{}{}
}

// HitAnswered is Hit for a point that lies behind the answer that names id: it waits for that answer first. When its
// sender has gone, it waits for the next time.
func HitAnswered(point, id string) {
	if !due(point) {
		return
	}
	for end := time.Now().Add(answerWait); time.Now().Before(end); time.Sleep(time.Millisecond / 4) {
		state.Lock()
		_, ok := state.answered[id]
		state.Unlock()
		if ok {
			die()
		}
	}
	state.Lock()
	state.left = 1
	state.Unlock()
}

// die leaves word and goes at once, as in a power cut: no deferred call runs, nothing is flushed.
func die() {
	state.Lock() // and never unlock: no other point may be reported
	_ = os.WriteFile(control+".hit", []byte(state.sequence+" "+state.point+"\n"), 0o600)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
