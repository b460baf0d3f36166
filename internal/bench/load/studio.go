package load

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Connection is an integration whose webhooks are sent one by one from the program that measures, each at its time.
type Connection struct {
	ID     domain.IntegrationID
	Secret webhookauth.Secret
	Sent   int // bookings so far: each has an hour of its own
}

// Studio makes an organisation with so many connections, each with a resource of its own. Errors are those of the store.
func Studio(ctx context.Context, db *store.Store, name string, connections int) (org domain.OrgID, made []*Connection, err error) {
	now := time.Now().UTC()
	org = domain.NewID[domain.OrgID](now)
	if err := db.CreateOrganization(ctx, domain.Organization{ID: org, Name: name, Zone: "UTC"}, "system:bench"); err != nil {
		return "", nil, err
	}
	err = db.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		made = nil
		for range connections {
			res := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
			if err := tx.CreateResource(ctx, res); err != nil {
				return err
			}
			secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(string(domain.NewID[domain.PushID](now))))
			c := &Connection{ID: domain.NewID[domain.IntegrationID](now), Secret: webhookauth.Secret(secret)}
			if err := tx.CreateIntegration(ctx, domain.Integration{ID: c.ID, OrgID: org, Name: "Studio system", Provider: "custom",
				State: domain.IntegrationActive, Direction: domain.DirectionImport, ResourceID: res.ID, Settings: crmsim.MinimalWebhookSettings()},
				map[string]string{"webhook_secret": secret}); err != nil {
				return err
			}
			made = append(made, c)
		}
		return nil
	})
	return org, made, err
}

// First is where the calendars begin: far enough away to make nothing urgent.
var First = time.Now().UTC().AddDate(0, 1, 0).Truncate(24 * time.Hour)

// Sent is a webhook that was acknowledged.
type Sent struct {
	Delivery domain.DeliveryID
	At       time.Time // before it was sent
	Booking  string    // the vendor's id of its booking
}

// pad makes a body about 1 KiB.
var pad = string(bytes.Repeat([]byte("a garden wedding with room for dancing; "), 21))

// Post sends the webhook of a new booking, an hour from start, to the server at base. seq tells bookings apart. It is an error when it
// is not acknowledged.
func (c *Connection) Post(ctx context.Context, client *http.Client, base string, seq int, start time.Time) (Sent, error) {
	out := Sent{Booking: fmt.Sprintf("b%012d", seq)}
	body, err := json.Marshal(map[string]any{"id": out.Booking, "type": "event.created", "data": map[string]any{"id": out.Booking, "category": "consultation",
		"start": start.Format(time.RFC3339), "end": start.Add(time.Hour).Format(time.RFC3339), "zone": "UTC", "title": "Consultation " + out.Booking,
		"notes": pad}})
	if err != nil {
		return out, err
	}
	out.At = time.Now()
	header, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, c.Secret, "msg_"+out.Booking, out.At, body)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/webhooks/"+string(c.ID), bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	var ack struct {
		ID domain.DeliveryID `json:"id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&ack); err != nil || res.StatusCode != http.StatusAccepted {
		return out, fmt.Errorf("webhook was answered %d: %w", res.StatusCode, err)
	}
	out.Delivery = ack.ID
	return out, nil
}
