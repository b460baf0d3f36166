package flows

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/token"
)

const integrationsPerOrg = 4

type bed struct {
	o       Options
	stack   *app.Stack
	targets []*load.Connection
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
	for len(b.targets) < b.o.Integrations {
		org, made, err := load.Studio(ctx, b.stack.Core.Store, fmt.Sprintf("Studio %d", len(b.orgs)+1), min(integrationsPerOrg, b.o.Integrations-len(b.targets)))
		if err != nil {
			return err
		}
		b.orgs, b.targets = append(b.orgs, org), append(b.targets, made...)
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
