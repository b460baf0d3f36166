package flow

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// TaskTimeout bounds one workflow task. It is longer than Temporal's 10 s default because database steps run as local
// activities inside the task.
const TaskTimeout = 30 * time.Second

// story is a workflow as it is started.
type story struct {
	name, id string // of package contract
	input    any
	org      domain.OrgID // whose it is, and whom its tasks are shared out to; "" = nobody's
	summary  string       // shown to operators
	attrs    []temporal.SearchAttributeUpdate
}

// keyword is a search attribute.
func keyword[V ~string](name string, value V) temporal.SearchAttributeUpdate {
	return temporal.NewSearchAttributeKeyKeyword(name).ValueSet(string(value))
}

// options start the story when it does not run, also when it ran before.
func (s story) options() client.StartWorkflowOptions {
	o := client.StartWorkflowOptions{
		ID:                       s.id,
		TaskQueue:                contract.QueueCore,
		WorkflowTaskTimeout:      TaskTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            s.summary,
	}
	if s.org != "" {
		o.TypedSearchAttributes = temporal.NewSearchAttributes(append(s.attrs, keyword(contract.AttrOrg, s.org))...)
		o.Priority = temporal.Priority{FairnessKey: string(s.org)}
	}
	return o
}

// what names the story in errors.
func (s story) what() string { return strings.ToLower(s.name) }

// start starts a story unless it runs, or ran where it may run only once.
func (c *Client) start(ctx context.Context, s story, again enums.WorkflowIdReusePolicy) error {
	o := s.options()
	o.WorkflowIDReusePolicy, o.WorkflowIDConflictPolicy = again, enums.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED
	_, err := c.temporal.ExecuteWorkflow(ctx, o, s.name, s.input)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return translate("start "+s.what(), err)
}

// tell signals a story, and starts it when it does not run.
func (c *Client) tell(ctx context.Context, s story, signal string, payload any) error {
	_, err := c.temporal.SignalWithStartWorkflow(ctx, s.id, signal, payload, s.options(), s.name, s.input)
	return translate("signal "+s.what(), err)
}

// ask updates a story, which is started when it does not run, and waits for its answer. Updates with the same id are one; "" is a
// new one.
func ask[R any](ctx context.Context, c *Client, s story, name, id string, arg any) (R, error) {
	return update[R](ctx, "update "+s.what(), func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(s.options(), s.name, s.input),
			UpdateOptions:          client.UpdateWorkflowOptions{UpdateID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
	})
}

// askRunning is ask of a story that is not started by questions: KindNotFound when there is none.
func askRunning[R any](ctx context.Context, c *Client, what, workflowID, name, id string, arg any) (R, error) {
	return update[R](ctx, "update "+what, func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: workflowID, UpdateID: id, UpdateName: name, Args: []any{arg},
			WaitForStage: client.WorkflowUpdateStageCompleted})
	})
}

// query asks a story, one that has ended too.
func query[R any](ctx context.Context, c *Client, workflowID, name string) (R, error) {
	var out R
	value, err := c.temporal.QueryWorkflow(ctx, workflowID, "", name)
	if err == nil {
		err = value.Get(&out)
	}
	return out, translate("query workflow", err)
}
