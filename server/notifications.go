package server

import (
	"context"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/store"
)

type listNotificationsInput struct {
	PageParams
	Recipient string `query:"recipient" maxLength:"36" doc:"Id of a recipient"`
	State     string `query:"state" enum:"queued,held,retrying,sent,failed,suppressed"`
	Subject   string `query:"subject" maxLength:"120" doc:"What it is about, such as conflict/ID, edit-conflict/ID, quarantine/ID, integration/ID, freshness/ID or hold/ID"`
}

func (s *Server) listNotifications(ctx context.Context, in *listNotificationsInput) (*listOutput[domain.Notification], error) {
	who, err := optionalID[domain.RecipientID]("recipient", in.Recipient)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Notification, string, error) {
		return tx.Notifications(ctx, store.NotificationFilter{Recipient: who, State: domain.NotificationState(in.State), Subject: in.Subject}, in.page())
	})
}

type notificationOutput struct{ Body domain.Notification }

func (s *Server) getNotification(ctx context.Context, in *IDParam) (*notificationOutput, error) {
	id, err := parseID[domain.NotificationID]("notification", in.ID)
	if err != nil {
		return nil, err
	}
	out := &notificationOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out.Body, err = tx.Notification(ctx, id)
		return err
	})
}

// acknowledgeNotification notes that somebody knows, which stops reminders to the same person about the same.
func (s *Server) acknowledgeNotification(ctx context.Context, in *actionInput) (*notificationOutput, error) {
	return s.changeNotification(ctx, in, "notification.acknowledge", func(ctx context.Context, tx *store.Tx, id domain.NotificationID) (domain.Notification, error) {
		return tx.Acknowledge(ctx, id, callerOf(ctx).Subject)
	})
}

// resendNotification has a notification sent at once, whatever became of it before and whatever the hour.
func (s *Server) resendNotification(ctx context.Context, in *actionInput) (*notificationOutput, error) {
	return s.changeNotification(ctx, in, "notification.resend", func(ctx context.Context, tx *store.Tx, id domain.NotificationID) (domain.Notification, error) {
		return tx.Resend(ctx, id)
	})
}

func (s *Server) changeNotification(ctx context.Context, in *actionInput, action string,
	change func(context.Context, *store.Tx, domain.NotificationID) (domain.Notification, error)) (*notificationOutput, error) {
	who := callerOf(ctx)
	words := ""
	if in.Body != nil {
		words = in.Body.Reason
	}
	reason, err := checkReason(words)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.NotificationID]("notification", in.ID)
	if err != nil {
		return nil, err
	}
	out := &notificationOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Notification(ctx, id)
		if err != nil {
			return err
		}
		if out.Body, err = change(ctx, tx, id); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "notification/" + string(id),
			Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(out.Body.State), "subject": was.Subject}})
	})
}

type previewNotificationInput struct {
	Body struct {
		Kind      domain.NotifyKind `json:"kind" doc:"What is told"`
		Recipient string            `json:"recipient,omitempty" maxLength:"36" doc:"Whose name and zone to use; without one a made-up person in the organisation's zone"`
		Subject   string            `json:"subject,omitempty" maxLength:"120" doc:"A real thing to tell of, such as conflict/ID; without one a made-up one"`
	}
}

type previewNotificationOutput struct {
	Body struct {
		notify.Content
		Over string `json:"over,omitempty" doc:"Why it would not be sent"`
	}
}

// previewNotification shows what a message would say. Nothing is stored or sent.
func (s *Server) previewNotification(ctx context.Context, in *previewNotificationInput) (*previewNotificationOutput, error) {
	b := &in.Body
	if !slices.Contains(domain.NotifyKinds(), b.Kind) {
		var names []string
		for _, k := range domain.NotifyKinds() {
			names = append(names, string(k))
		}
		return nil, domain.Invalid("body.kind", "unknown kind; known are %s", strings.Join(names, ", "))
	}
	id, err := optionalID[domain.RecipientID]("body.recipient", b.Recipient)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	out := &previewNotificationOutput{}
	err = s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		person := domain.Recipient{Name: "Sample person", Zone: "UTC"}
		if id != "" {
			if person, err = presentRecipient(ctx, tx, id); err != nil {
				return domain.Invalid("body.recipient", "no such recipient")
			}
		} else if o, err := s.deps.Store.Organization(ctx, who.Org); err == nil {
			person.Zone = o.Zone
		}
		v := notify.Sample(b.Kind, person, tx.Now, s.o.PublicURL)
		if b.Subject != "" {
			about := notify.SubjectOf(b.Kind)
			if subject, ok := strings.CutPrefix(b.Subject, about+"/"); !ok || !isID(subject) {
				return domain.Invalid("body.subject", "must be %s/ and an id for this kind", about)
			}
			n := domain.Notification{Kind: b.Kind, Subject: b.Subject, Severity: domain.SeverityHigh, MessageID: "preview"}
			if v, out.Body.Over, err = notify.Load(ctx, tx, person, n, s.o.PublicURL); err != nil || out.Body.Over != "" {
				return err
			}
		}
		out.Body.Content, err = notify.Render(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func isID(s string) bool {
	_, ok := domain.ParseUUID(s)
	return ok
}
