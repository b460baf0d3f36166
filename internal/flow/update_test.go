package flow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// answers is a client whose updates have the given outcomes, one after the other; nil is success.
type answers struct {
	client.Client
	outcomes []error
	sent     int
}

func (a *answers) UpdateWorkflow(context.Context, client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	a.sent++
	err := a.outcomes[min(a.sent, len(a.outcomes))-1]
	return outcome{err: err}, nil
}

type outcome struct {
	client.WorkflowUpdateHandle
	err error
}

func (o outcome) Get(_ context.Context, out any) error {
	if o.err == nil {
		out.(*contract.ReplayStateResult).State = domain.ReplayPaused
	}
	return o.err
}

func TestAnUpdateThatMeetsTheEndOfARunIsSentAgain(t *testing.T) {
	t.Parallel()
	early := serviceerror.NewWorkflowNotReady("unexpected workflow task failure")
	for name, v := range map[string]struct {
		outcomes []error
		kind     domain.ErrorKind
		sent     int
	}{
		"at once":                 {[]error{nil}, "", 1},
		"after two ends":          {[]error{early, early, nil}, "", 3},
		"never":                   {[]error{early}, domain.KindUnavailable, updateTries},
		"other errors are told":   {[]error{serviceerror.NewUnavailable("no server"), nil}, domain.KindUnavailable, 1},
		"nobody runs":             {[]error{serviceerror.NewNotFound("no such run")}, domain.KindNotFound, 1},
		"an end, and nobody runs": {[]error{early, serviceerror.NewNotFound("no such run")}, domain.KindNotFound, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &answers{outcomes: v.outcomes}
			got, err := (&Client{temporal: a}).PauseReplay(t.Context(), "r", contract.PauseRequest{By: "admin-1"})
			if v.kind == "" && (err != nil || got.State != domain.ReplayPaused) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if v.kind != "" && domain.KindOf(err) != v.kind {
				t.Errorf("%s: kind %s of %v, want %s", name, domain.KindOf(err), err, v.kind)
			}
			if a.sent != v.sent {
				t.Errorf("%s: sent %d times, want %d", name, a.sent, v.sent)
			}
		})
	}
}

func TestWaitingToSendAnUpdateAgainEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a := &answers{outcomes: []error{serviceerror.NewWorkflowNotReady("unexpected workflow task failure")}}
		_, err := (&Client{temporal: a}).PauseReplay(ctx, "r", contract.PauseRequest{By: "admin-1"})
		var early *serviceerror.WorkflowNotReady
		if a.sent != 1 || !errors.As(err, &early) {
			t.Errorf("sent %d times: %v", a.sent, err)
		}
	})
}
