package notify

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// MaxSamples bounds the sample messages to one person in an hour, all ways together.
const MaxSamples = 20

// SendSample queues a sample message to a person in each of some ways, or in every way for which there is an address, whatever
// the person wants to be told of and whatever the hour. It is sent, tried again and shown as any other. Errors: KindInvalid with
// the field below prefix, KindConflict for a person who is paused, KindRateLimited above [MaxSamples].
func SendSample(ctx context.Context, tx *store.Tx, who domain.Recipient, by []domain.NotifyChannel, prefix string) ([]domain.Notification, error) {
	if who.State != domain.RecipientActive {
		return nil, domain.E(domain.KindConflict, "the person is %s", who.State)
	}
	for i, c := range by {
		if !who.Addresses.Has(c) {
			return nil, domain.Invalid(prefix+"channels["+strconv.Itoa(i)+"]", "the person has no address for %s", c)
		}
	}
	if len(by) == 0 {
		for _, c := range domain.NotifyChannels() {
			if who.Addresses.Has(c) {
				by = append(by, c)
			}
		}
	}
	subject := "recipient/" + string(who.ID)
	had, err := tx.NotificationsAbout(ctx, subject, MaxSamples)
	if err != nil {
		return nil, err
	}
	lately := 0
	for _, n := range had {
		if tx.Now.Sub(n.CreatedAt) < time.Hour {
			lately++
		}
	}
	if lately+len(by) > MaxSamples {
		return nil, domain.E(domain.KindRateLimited, "at most %d sample messages to one person in an hour", MaxSamples)
	}
	out := make([]domain.Notification, 0, len(by))
	for _, c := range by {
		n := domain.Notification{ID: domain.NewID[domain.NotificationID](tx.Now), OrgID: tx.Org, RecipientID: who.ID, Channel: c, Kind: domain.NotifyTest, Severity: domain.SeverityLow,
			Subject: subject, State: domain.NotificationQueued, DueAt: &tx.Now, CreatedAt: tx.Now, UpdatedAt: tx.Now}
		n.Fact = "test/" + string(n.ID)
		if c == domain.ChannelLive {
			// The event that tells of it is the delivery; it is written with it.
			n.State, n.DueAt, n.SentAt = domain.NotificationSent, nil, &tx.Now
		}
		if _, err := tx.AddNotification(ctx, n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, tx.Enqueue(ctx, store.OutboxNotify, string(tx.Org), "", tx.Now)
}
