package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func (s *story) resync(ctx context.Context) (string, error) {
	said := "an admin asks for a full resync and follows its progress"
	var run domain.SyncRun
	var asked map[string]any
	status, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+s.calendarID+"/resync", map[string]any{"full": true, "reason": "to be sure"}, &asked)
	if err != nil || status != http.StatusAccepted {
		return said, fmt.Errorf("status %d: %w", status, err)
	}
	for _, key := range []string{"run_id", "id"} {
		if id, ok := asked[key].(string); ok && s.runID == "" {
			s.runID = id
		}
	}
	err = s.eventually(ctx, func() error {
		if _, err := s.api.Do(ctx, http.MethodGet, "/v1/syncs/"+s.runID, nil, &run); err != nil {
			return err
		}
		if run.State != domain.SyncDone {
			return fmt.Errorf("the run is %s", run.State)
		}
		return nil
	})
	if err != nil {
		return said, err
	}
	if run.Seen < 2 || run.Applied != 0 || run.Removed != 0 {
		return said, fmt.Errorf("read %d, changed %d, removed %d; want at least 2, 0 and 0", run.Seen, run.Applied, run.Removed)
	}
	return fmt.Sprintf("a full resync read %d entries in %d pages and found nothing to change", run.Seen, run.Pages), nil
}

func (s *story) trail(ctx context.Context) (string, error) {
	said := "the audit trail says who decided, and why"
	var trail struct {
		Items []domain.AuditEntry `json:"items"`
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/audit?limit=200", nil, &trail); err != nil {
		return said, err
	}
	for _, e := range trail.Items {
		if e.Action == "conflict.resolve" && e.Subject == "conflict/"+string(s.conflict.ID) && e.Reason == "agreed on the phone" && e.Actor != "" {
			return said, nil
		}
	}
	return said, fmt.Errorf("no line about the decision among %d", len(trail.Items))
}

// workflows are the stories behind the story, as operators find them.
func (s *story) workflows() map[string]string {
	return map[string]string{
		"calendar": contract.IntegrationWorkflowID(domain.IntegrationID(s.calendarID)),
		"customer": contract.IntegrationWorkflowID(domain.IntegrationID(s.crmID)),
		"conflict": contract.ConflictWorkflowID(s.conflict.ID),
		"resync":   contract.SyncWorkflowID(domain.SyncRunID(s.runID)),
	}
}

func (s *story) visible(ctx context.Context) (string, error) {
	said := "operators find all four workflows in Temporal UI"
	if s.target.TemporalUI == "" {
		return "Temporal UI is not known to this stack, so its links are left out", nil
	}
	for _, id := range s.workflows() {
		err := s.eventually(ctx, func() error {
			var found struct {
				Executions []any `json:"executions"`
			}
			path := "/api/v1/namespaces/" + s.target.Namespace + "/workflows?query=" + url.QueryEscape(`WorkflowId="`+id+`"`)
			if _, err := apiclient.New(s.target.TemporalUI, "").Do(ctx, http.MethodGet, path, nil, &found); err != nil {
				return err
			}
			if len(found.Executions) == 0 {
				return fmt.Errorf("%s is not there", id)
			}
			return nil
		})
		if err != nil {
			return said, err
		}
	}
	return said, nil
}

func (s *story) links() {
	if s.target.TemporalUI == "" || s.conflict.ID == "" {
		return
	}
	for _, name := range []string{"calendar", "customer", "conflict", "resync"} {
		if id := s.workflows()[name]; !strings.HasSuffix(id, "/") {
			fmt.Fprintf(s.o.Out, "  see  %-9s %s/namespaces/%s/workflows/%s\n", name, strings.TrimSuffix(s.target.TemporalUI, "/"), s.target.Namespace, url.PathEscape(id))
		}
	}
}

func (s *story) close(ctx context.Context) {
	if s.stopStream != nil {
		s.stopStream()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, id := range []string{s.calendarID, s.crmID} {
		if id == "" {
			continue
		}
		if _, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+id+"/pause", map[string]any{"reason": "the demo's systems have stopped"}, nil); err != nil {
			fmt.Fprintf(s.o.Out, "  note  a connection of the demo could not be paused: %v\n", err)
		}
	}
	if s.calendar != nil {
		s.calendar.stop()
	}
	if s.crmHTTP != nil {
		_ = s.crmHTTP.Close()
	}
	if s.crm != nil {
		s.crm.Close()
	}
	s.api.Close()
}
