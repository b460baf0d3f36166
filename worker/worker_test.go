package worker

import (
	"slices"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

func TestWrongOptionsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for field, o := range map[string]Options{
		"queues":         {Queues: []string{"wedsync-cake"}},
		"database-steps": {DatabaseSteps: -1},
		"reads":          {Reads: 10_001},
		"writes":         {Writes: -5},
	} {
		if err := o.Validate(); domain.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
		if _, err := New(Deps{}, o); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("a worker with wrong %s: %v", field, err)
		}
	}
	if err := (Options{Queues: contract.Queues()}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestWorkerServesTheQueuesItIsTold(t *testing.T) {
	t.Parallel()
	temporal, err := client.NewLazyClient(client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Close)
	out, err := httpx.New(httpx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	if _, err := New(Deps{Temporal: temporal}, Options{}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a worker that sends webhooks without a client: %v", err)
	}
	for _, queues := range [][]string{nil, {contract.QueuePush}, {contract.QueueCore, contract.QueueSync}} {
		w, err := New(Deps{Temporal: temporal, Broadcast: out}, Options{Queues: queues})
		if err != nil {
			t.Fatal(err)
		}
		want := queues
		if want == nil {
			want = contract.Queues()
		}
		if !slices.Equal(w.queues, want) || len(w.workers) != len(want) {
			t.Errorf("serves %v, want %v", w.queues, want)
		}
	}
}

// names collects what is registered, and refuses a name that comes twice.
type names struct {
	t    *testing.T
	have []string
}

func (n *names) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	if slices.Contains(n.have, o.Name) {
		n.t.Errorf("workflow %s is registered twice", o.Name)
	}
	n.have = append(n.have, o.Name)
}

func (n *names) RegisterActivity(any) {}

func TestWorkflowsLiveOnTheCoreQueueOnly(t *testing.T) {
	t.Parallel()
	for _, queue := range contract.Queues() {
		n := &names{t: t}
		Register(n, queue, Deps{})
		if want := queue == contract.QueueCore; (len(n.have) == 13) != want || !want && len(n.have) != 0 {
			t.Errorf("%s has workflows %v", queue, n.have)
		}
	}
}
