// Command wedsync is WedSync as one binary: the development stack, the server, the worker, and the tools around them.
// Run "wedsync help" for the list, and "wedsync server --help" for the settings; each flag is also an environment
// variable.
//
// Exit status is 0 on success, 1 when something did not work, 2 when the call was wrong, 3 when a change of the program is
// refused because a wedding's day is on or near. Faults that a person can mend
// are one line on standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	root := rootCommand()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	report(err)
	return status(err)
}

// status is the exit status for an error.
func status(err error) int {
	if errors.As(err, new(*frozenError)) {
		return 3
	}
	if domain.KindOf(err) == domain.KindInvalid || errors.As(err, new(*usageError)) {
		return 2
	}
	return 1
}

// usageError is a call with wrong words or flags.
type usageError struct{ error }

// report prints an error for people: faults that they can mend are a line each.
func report(err error) {
	var user *devstack.UserError
	if errors.As(err, &user) {
		fmt.Fprintln(os.Stderr, "wedsync: "+user.Line)
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Fprintln(os.Stderr, "wedsync: "+line)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wedsync",
		Short:         "Keeps a wedding business from being booked twice",
		Long:          "WedSync connects the calendars and booking systems of a wedding business, applies every change once,\nfinds double-bookings the moment they exist, and carries the way out through to the end.",
		Version:       app.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(quarantineCommand(), explainCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(devCommand(), demoCommand(), serverCommand(), workerCommand(), migrateCommand(), tokenCommand(), orgCommand(),
		keysCommand(), auditCommand(), integrationCommand(), conflictCommand(), editConflictCommand(), deliveryCommand(), replayCommand(), webhookCommand(), subscriptionCommand(), feedCommand(), eventsCommand())
	root.AddCommand(retentionCommand(), timelineCommand())
	root.AddCommand(weddingCommand())
	root.AddCommand(integrationsCommand())
	root.AddCommand(drillCommand())
	root.AddCommand(recipientCommand(), notificationCommand(), shareCommand())
	root.AddCommand(alertCommand(), silenceCommand(), objectiveCommand(), slaCommand(), healthCommand())
	root.AddCommand(maintenanceCommand())
	root.AddCommand(calendarCommand())
	root.AddCommand(holdCommand(), availabilityCommand(), whoIsFreeCommand(), suggestCommand())
	root.AddCommand(bookingCommand(), venueCommand(), blackoutCommand())
	root.AddCommand(scrapeCommand())
	root.AddCommand(freezeCommand())
	return root
}
