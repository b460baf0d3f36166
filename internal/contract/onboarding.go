package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// OnboardWorkflow brings a connection from credentials to an integration that works, or to none. It answers QueryStatus with
// OnboardStatus and takes UpdateResume (OnboardResumeRequest) and UpdateCancel (CancelRequest), both answered with
// OnboardStatus.
const OnboardWorkflow = "Onboard"

// SignalOnboarding tells an onboarding that its row changed: it was begun, its settings or credentials were, or the
// integration was deleted. It has no payload.
const SignalOnboarding = "onboarding"

// OnboardWorkflowID is the id of the onboarding of an integration.
func OnboardWorkflowID(id domain.IntegrationID) string { return "onboard/" + string(id) }

// OnboardInput starts the onboarding of an integration, and carries its state over to a new run. What is to be done stands
// in the onboarding's row.
type OnboardInput struct {
	OrgID         domain.OrgID         `json:"org_id"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	Carried       *OnboardCarried      `json:"carried,omitempty"`
}

// OnboardCarried is what a run hands to the next one.
type OnboardCarried struct {
	Runs  int `json:"runs"`            // runs so far
	Tries int `json:"tries,omitempty"` // in a row that the system could not be reached
}

// OnboardStatus answers QueryStatus of an onboarding, and is the workflow's result.
type OnboardStatus struct {
	OnboardingID domain.OnboardingID    `json:"onboarding_id"`
	State        domain.OnboardingState `json:"state"`
	Step         domain.OnboardStep     `json:"step,omitempty"`
	Attempt      int                    `json:"attempt"`
	Kind         domain.ErrorKind       `json:"kind,omitempty"` // of the refusal that it waits because of
	RunID        domain.SyncRunID       `json:"run_id,omitempty"`
	RetryAt      time.Time              `json:"retry_at,omitzero"`
	Runs         int                    `json:"runs"`
}

// OnboardResumeRequest is the input of UpdateResume of an onboarding. By is a token subject.
type OnboardResumeRequest struct {
	By             string `json:"by"`
	AllowDuplicate bool   `json:"allow_duplicate,omitempty"` // both connections are wanted
}
