package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/mailer"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	rules "github.com/wedsync/wedsync/internal/rules/notify"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Senders hand messages over.
type Senders struct {
	Mail *mailer.Mailer // nil = this installation sends no mail
	HTTP *httpx.Client  // posts to Slack and to webhooks; it must follow no redirects and bound addresses, time and answers
	// PagerDuty is where events are posted; "" = [PagerDutyURL].
	PagerDuty string
}

// Message is what is handed over.
type Message struct {
	ID      string
	To      domain.Recipient
	Secret  string // signs webhooks
	Channel domain.NotifyChannel
	All     []domain.Notification // that it tells of, one or those of a digest
	View    View
	At      time.Time // of this attempt, by which a webhook is signed
}

// Send hands a message over once. nil means that the other side took it. Errors have the kinds of mailer and httpx; their texts
// hold no address.
func (s Senders) Send(ctx context.Context, m Message) error {
	switch m.Channel {
	case domain.ChannelEmail:
		return s.mail(ctx, m)
	case domain.ChannelSlack:
		return s.slack(ctx, m)
	case domain.ChannelWebhook:
		return s.webhook(ctx, m)
	case domain.ChannelPagerDuty:
		return s.pagerDuty(ctx, m)
	case domain.ChannelLive:
		return nil // the event that says so is the message
	}
	return domain.E(domain.KindPermanent, "there is no channel %q", string(m.Channel))
}

func (s Senders) mail(ctx context.Context, m Message) error {
	if s.Mail == nil {
		return domain.E(domain.KindPermanent, "this installation sends no mail: set WEDSYNC_SMTP_ADDR and WEDSYNC_SMTP_FROM for workers, then send it again")
	}
	c, err := Render(m.View)
	if err != nil {
		return err
	}
	// The date is that of the notification, so that a repeat is the same message.
	return s.Mail.Send(ctx, mailer.Message{ID: m.ID, To: m.To.Addresses.Email, Subject: c.Subject, Text: c.Text, HTML: c.HTML, Date: m.All[0].CreatedAt})
}

func (s Senders) slack(ctx context.Context, m Message) error {
	c, err := Render(m.View)
	if err != nil {
		return err
	}
	return s.post(ctx, m.To.Addresses.Slack, c.Slack, http.Header{})
}

// said is what a webhook says of a notification: ids and states.
type said struct {
	ID         domain.NotificationID `json:"id"`
	Kind       domain.NotifyKind     `json:"kind"`
	Severity   domain.Severity       `json:"severity"`
	WeddingDay bool                  `json:"wedding_day"`
	Subject    string                `json:"subject"`
	Reminders  int                   `json:"reminders"`
	At         time.Time             `json:"at"`
}

func (s Senders) webhook(ctx context.Context, m Message) error {
	body := struct {
		ID            string             `json:"id"`
		Topic         string             `json:"topic"`
		At            time.Time          `json:"at"`
		Recipient     domain.RecipientID `json:"recipient"`
		Notifications []said             `json:"notifications"`
	}{ID: m.ID, Topic: "notification", At: m.All[0].CreatedAt, Recipient: m.To.ID}
	for _, n := range m.All {
		body.Notifications = append(body.Notifications, said{n.ID, n.Kind, n.Severity, n.WeddingDay, n.Subject, n.Reminders, n.CreatedAt})
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return domain.E(domain.KindInternal, "render a webhook")
	}
	header, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Secret(m.Secret), m.ID, m.At, raw)
	if err != nil {
		return domain.E(domain.KindPermanent, "the person's webhook has no valid secret")
	}
	return s.post(ctx, m.To.Addresses.Webhook, raw, header)
}

func (s Senders) post(ctx context.Context, url string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return domain.E(domain.KindPermanent, "the address is no URL")
	}
	header.Set("Content-Type", "application/json")
	req.Header = header
	res, err := s.HTTP.Do(req)
	if res != nil && res.Status >= 200 && res.Status < 300 {
		return nil // whatever else it said, it took the message
	}
	return err
}

// Outcome says what becomes of a message after an attempt: sent, tried again, or given up.
// text is what may be told of err. A later try keeps out of quiet hours as the first one did.
func Outcome(err error, text string, o store.Outgoing, m Message, now time.Time) store.SendOutcome {
	if err == nil {
		return store.SendOutcome{State: domain.NotificationSent}
	}
	failing := now
	if o.Failing != nil {
		failing = *o.Failing
	}
	// The same message would be refused again. Once a person mended the address it is sent again by hand.
	switch domain.KindOf(err) {
	case domain.KindPermanent, domain.KindInvalid, domain.KindNotFound, domain.KindForbidden, domain.KindTooLarge:
		return store.SendOutcome{State: domain.NotificationFailed, Reason: text}
	}
	if now.Sub(failing) >= rules.GiveUpAfter {
		return store.SendOutcome{State: domain.NotificationFailed, Reason: "given up after two days: " + text}
	}
	wait := max(rules.Wait(o.Failures+1), domain.RetryAfter(err))
	due := now.Add(wait)
	urgent := slices.ContainsFunc(m.All, func(n domain.Notification) bool {
		return n.WeddingDay || n.Kind == domain.NotifyAlertEscalated || n.Kind == domain.NotifyTest
	})
	if loc, err := calendartime.LoadZone(m.To.Zone); err == nil && !urgent && (m.Channel == domain.ChannelEmail || m.Channel == domain.ChannelSlack) {
		due = rules.QuietUntil(m.To.Prefer.Quiet, due, loc)
	}
	return store.SendOutcome{State: domain.NotificationRetrying, Reason: text, Due: due}
}
