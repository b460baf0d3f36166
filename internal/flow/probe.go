package flow

import (
	"context"
	"strconv"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
)

// StartProbe starts the workflow that probes a shard; one that runs is left alone.
func (c *Client) StartProbe(ctx context.Context, shard int) error {
	return c.start(ctx, story{name: contract.ProbeWorkflow, id: contract.ProbeWorkflowID(shard), input: contract.ProbeInput{Shard: shard},
		summary: "probes of shard " + strconv.Itoa(shard)}, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
}

// ProbeStatus asks the workflow of a shard where it stands.
func (c *Client) ProbeStatus(ctx context.Context, shard int) (contract.ProbeStatus, error) {
	return query[contract.ProbeStatus](ctx, c, contract.ProbeWorkflowID(shard), contract.QueryStatus)
}
