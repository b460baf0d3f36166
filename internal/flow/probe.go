package flow

import (
	"context"
	"errors"
	"strconv"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/wedsync/wedsync/internal/contract"
)

// StartProbe starts the workflow that probes a shard; one that runs is left alone.
func (c *Client) StartProbe(ctx context.Context, shard int) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    contract.ProbeWorkflowID(shard),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "probes of shard " + strconv.Itoa(shard),
	}, contract.ProbeWorkflow, contract.ProbeInput{Shard: shard})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return translate("start probes", err)
}

// ProbeStatus asks the workflow of a shard where it stands.
func (c *Client) ProbeStatus(ctx context.Context, shard int) (contract.ProbeStatus, error) {
	return query[contract.ProbeStatus](ctx, c, contract.ProbeWorkflowID(shard), contract.QueryStatus)
}
