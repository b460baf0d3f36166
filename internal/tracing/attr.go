package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/wedsync/wedsync/internal/domain"
)

// Attr is one fact about a span. Make it with ID, Word, Count, Flag or Seconds.
type Attr = attribute.KeyValue

// Key names an attribute.
type Key string

// The keys in use. There is no other, so this list is what a receiver learns.
const (
	KeyOrg         Key = "wedsync.org.id"
	KeyIntegration Key = "wedsync.integration.id"
	KeyDelivery    Key = "wedsync.delivery.id"
	KeyBooking     Key = "wedsync.booking.id"
	KeyPush        Key = "wedsync.push.id"
	KeyConflicts   Key = "wedsync.conflict.ids" // found by the step, at most eight
	KeyBookings    Key = "wedsync.booking.ids"  // altered by the step, at most eight
	KeyProvider    Key = "wedsync.provider"
	KeyState       Key = "wedsync.state" // of the delivery or copy after the step
	KeyPriority    Key = "wedsync.priority"
	KeyOp          Key = "wedsync.op"
	KeyHeld        Key = "wedsync.held" // why a call was not sent
	KeyDuplicate   Key = "wedsync.duplicate"
	KeyReplay      Key = "wedsync.replay"
	KeyAdopted     Key = "wedsync.adopted"
	KeyBytes       Key = "wedsync.bytes"
	KeyDeliveries  Key = "wedsync.deliveries" // these are counts
	KeyPushes      Key = "wedsync.pushes"
	KeyChanges     Key = "wedsync.changes"
	KeyConflicted  Key = "wedsync.conflicts"
	KeyCleared     Key = "wedsync.conflicts_cleared"
	KeyTry         Key = "wedsync.try"
	KeyVersion     Key = "wedsync.booking.version"
	KeyWaited      Key = "wedsync.waited_seconds"

	KeyMethod     Key = "http.request.method"
	KeyStatus     Key = "http.response.status_code"
	KeyRoute      Key = "http.route"
	KeyActivity   Key = "temporal.activity"
	KeyWorkflow   Key = "temporal.workflow.id"
	KeyRun        Key = "temporal.run.id"
	keyErrorType  Key = "error.type"
	maxWord           = 64
	maxRoute          = 120
	maxListed         = 8
	maxWorkflowID     = 80
)

// ID is an identifier of ours. A value that is no UUID is left out.
func ID[T ~string](key Key, id T) Attr {
	if _, ok := domain.ParseUUID(string(id)); !ok {
		return Attr{}
	}
	return attribute.String(string(key), string(id))
}

// IDs are identifiers of ours, the first eight of them.
func IDs[T ~string](key Key, ids []T) Attr {
	var list []string
	for _, id := range ids {
		if _, ok := domain.ParseUUID(string(id)); ok && len(list) < maxListed {
			list = append(list, string(id))
		}
	}
	if list == nil {
		return Attr{}
	}
	return attribute.StringSlice(string(key), list)
}

// Word is a word of a fixed list, such as a state or a provider's name: up to 64 letters, digits and _ - . of ASCII. A value of
// another form is left out.
func Word[T ~string](key Key, word T) Attr {
	if len(word) == 0 || len(word) > maxWord {
		return Attr{}
	}
	for _, c := range []byte(word) {
		if !wordByte(c) {
			return Attr{}
		}
	}
	return attribute.String(string(key), string(word))
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// Route is a path of our own as the table of routes has it, with names in braces for what differs.
func Route(template string) Attr {
	if len(template) == 0 || len(template) > maxRoute || template[0] != '/' {
		return Attr{}
	}
	return attribute.String(string(KeyRoute), template)
}

// WorkflowID is the id of a workflow: a word, a slash, and an identifier of ours or a word.
func WorkflowID(id string) Attr {
	if len(id) == 0 || len(id) > maxWorkflowID {
		return Attr{}
	}
	for _, c := range []byte(id) {
		if !wordByte(c) && c != '/' {
			return Attr{}
		}
	}
	return attribute.String(string(KeyWorkflow), id)
}

// Count is a number of things.
func Count[T ~int | ~int64](key Key, n T) Attr { return attribute.Int64(string(key), int64(n)) }

// Flag is a yes or no.
func Flag(key Key, yes bool) Attr { return attribute.Bool(string(key), yes) }

// Seconds is a length of time.
func Seconds(key Key, d time.Duration) Attr { return attribute.Float64(string(key), d.Seconds()) }
