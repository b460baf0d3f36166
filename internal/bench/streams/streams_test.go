package streams

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// TestIdleSubscribersCostLittle holds the bar on memory with few subscribers; bench stream measures with many.
func TestIdleSubscribersCostLittle(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: starts a server process")
	}
	r, err := Run(t.Context(), Options{Subscribers: 300, Idle: 100 * time.Millisecond, Rounds: 5})
	if err != nil {
		t.Fatal(err)
	}
	if r.Heap <= 0 || r.Heap > 32 || r.Stack <= 0 || r.Stack > 48 {
		t.Errorf("%.1f KiB of heap and %.1f KiB of stacks per subscriber, want at most 32 and 48", r.Heap, r.Stack)
	}
	if r.FanoutP99 <= 0 || r.FanoutP50 > r.FanoutP99 {
		t.Errorf("fan-out %+v", r)
	}
	var back Result
	if err := json.Unmarshal([]byte(r.Line()), &back); err != nil || back != r {
		t.Errorf("line %s: %v", r.Line(), err)
	}
}
