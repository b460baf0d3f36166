// Command prepare builds what the tests need and the machine does not have: the Temporal command line, once per version,
// into .cache. Doing it before the tests keeps its minutes out of their time limits, and shows its progress.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/wedsync/wedsync/internal/devstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, err := devstack.TemporalBinary(ctx, devstack.Options{Log: func(line string) { fmt.Println(line) }, Terminal: os.Stderr})
	if err != nil {
		// The tests that need it say what they miss; the others run.
		fmt.Fprintln(os.Stderr, "prepare:", err)
	}
}
