package flows

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

const integrationsPerOrg = 4

type target struct {
	id       domain.IntegrationID
	org      domain.OrgID
	secret   webhookauth.Secret
	resource domain.ResourceID
	sent     int // bookings so far: each has an hour of its own
}

type bed struct {
	o       Options
	stack   *app.Stack
	targets []*target
	orgs    []domain.OrgID
	http    *http.Client
	owner   *pgx.Conn
	seq     int

	mu     sync.Mutex
	sentAt map[domain.DeliveryID]time.Time
	events map[string]int // booking key to number of times it was sent
	seen   map[domain.DeliveryID]time.Time
}

func (b *bed) seed(ctx context.Context) error {
	now := time.Now().UTC()
	db := b.stack.Core.Store
	for len(b.targets) < b.o.Integrations {
		org := domain.NewID[domain.OrgID](now)
		if err := db.CreateOrganization(ctx, domain.Organization{ID: org, Name: fmt.Sprintf("Studio %d", len(b.orgs)+1), Zone: "UTC"}, "system:bench"); err != nil {
			return err
		}
		b.orgs = append(b.orgs, org)
		var made []*target
		err := db.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			made = nil
			for range min(integrationsPerOrg, b.o.Integrations-len(b.targets)) {
				res := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
				if err := tx.CreateResource(ctx, res); err != nil {
					return err
				}
				secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(string(domain.NewID[domain.PushID](now))))
				t := &target{id: domain.NewID[domain.IntegrationID](now), org: org, secret: webhookauth.Secret(secret), resource: res.ID}
				if err := tx.CreateIntegration(ctx, domain.Integration{ID: t.id, OrgID: org, Name: "Studio system", Provider: "custom",
					State: domain.IntegrationActive, Direction: domain.DirectionImport, ResourceID: res.ID, Settings: crmsim.MinimalWebhookSettings()},
					map[string]string{"webhook_secret": secret}); err != nil {
					return err
				}
				made = append(made, t)
			}
			return nil
		})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, made...)
	}
	return nil
}

func (b *bed) subscribe(ctx context.Context, org domain.OrgID) error {
	t, err := b.stack.Config.Mint(token.Grant{Org: org, Role: domain.RoleViewer, Subject: "bench"}, time.Hour)
	if err != nil {
		return err
	}
	api := apiclient.New(b.stack.Ready.HTTP, t)
	go func() {
		err := api.Stream(ctx, "", func(e apiclient.Event) bool {
			if e.Topic == domain.TopicDeliveryApplied {
				now := time.Now()
				b.mu.Lock()
				b.seen[domain.DeliveryID(e.Refs["delivery"])] = now
				b.mu.Unlock()
			}
			return true
		})
		if err != nil && ctx.Err() == nil {
			b.o.Say("a live stream ended: " + err.Error())
		}
	}()
	return nil
}
