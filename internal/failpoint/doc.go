// Package failpoint names the places at which the chaos run kills a process, so that "between the insert and the answer"
// is hit exactly and not by luck.
//
// A place calls [Hit]. In every build without the tag chaos that is an empty function which the compiler leaves out, and
// [Enabled] is a constant false that takes the code behind it along: nothing of this package is in a released program,
// which a test holds against the symbols of the binary.
//
// With the tag, the process reads the file named by WEDSYNC_FAILPOINTS again and again. Its one line "SEQUENCE POINT NTH"
// arms one point: at the NTH time that it is reached from then on, the process writes "SEQUENCE POINT" into the same file
// with ".hit" appended and ends itself with SIGKILL. Without the variable nothing is ever armed.
//
// Further tags, chaos_nodedupe, chaos_ackearly, chaos_noledger and chaos_losepolled, build programs with a fault on purpose, for the
// tests that the checkers of the chaos runs find it.
package failpoint

// The places, in the order in which a webhook passes them.
const (
	// AfterCommit is behind the commit of a batch and before anybody is answered.
	AfterCommit = "intake/after-commit"
	// AfterAnswer is behind the answer to one delivery of a batch, flushed to its connection, and before the dispatcher
	// learns of the batch.
	AfterAnswer = "intake/after-answer"
	// BeforeCall is in the dispatcher, between taking an errand up and the call to Temporal.
	BeforeCall = "dispatch/before-call"
	// AfterCall is in the dispatcher, between Temporal's answer and the note that the errand is done.
	AfterCall = "dispatch/after-call"
)
