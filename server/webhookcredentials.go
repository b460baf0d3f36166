package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// withStored adds the stored credentials to those of the connection itself. One that does not fit, because the scheme of
// the settings was changed since or there are too many, is left out with a line in the log: it must not keep the others
// from working.
func withStored(intake provider.Intake, stored []store.SealedCredential, o webhookauth.Options, log *slog.Logger) []webhookauth.Credential {
	all := intake.Credentials[:len(intake.Credentials):len(intake.Credentials)]
	for _, c := range stored {
		next := webhookauth.Credential{ID: string(c.ID), Secret: webhookauth.Secret(c.Secret)}
		if c.NotAfter != nil {
			next.NotAfter = *c.NotAfter
		}
		longer := append(all[:len(all):len(all)], next)
		if _, err := webhookauth.New(intake.Auth, longer, o); err != nil {
			log.Warn("a credential does not fit its integration and is not used", "integration", c.IntegrationID, "credential", c.ID)
			continue
		}
		all = longer
	}
	return all
}

// credentialSlot is one credential of a ready integration, by its position; id is empty for those of the connection.
type credentialSlot struct {
	id    domain.CredentialID
	noted atomic.Int64 // Unix seconds
}

func credentialSlots(all []webhookauth.Credential, stored []store.SealedCredential) []*credentialSlot {
	known := make(map[string]bool, len(stored))
	for _, c := range stored {
		known[string(c.ID)] = true
	}
	out := make([]*credentialSlot, len(all))
	for i, c := range all {
		out[i] = &credentialSlot{}
		if known[c.ID] {
			out[i].id = domain.CredentialID(c.ID)
		}
	}
	return out
}

const (
	// writeUsesEvery is how often last uses are written, and so how often at most per credential.
	writeUsesEvery = time.Minute
	// maxUses bounds the credentials remembered between two writes. Those beyond are noted by a later webhook.
	maxUses = 20_000
)

// credentialUses remembers when stored credentials matched, until they are written. What a crash loses is a minute.
type credentialUses struct {
	mu   sync.Mutex
	uses map[domain.CredentialID]store.CredentialUse
}

// note is called for each genuine webhook, and takes the lock once a second per credential.
func (u *credentialUses) note(e *intakeEntry, index int, now time.Time) {
	if index >= len(e.slots) || e.slots[index].id == "" {
		return
	}
	slot := e.slots[index]
	if second := now.Unix(); slot.noted.Swap(second) == second {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.uses == nil {
		u.uses = make(map[domain.CredentialID]store.CredentialUse)
	}
	before, there := u.uses[slot.id]
	if there && !before.At.Before(now) || !there && len(u.uses) >= maxUses {
		return
	}
	u.uses[slot.id] = store.CredentialUse{Org: e.org, ID: slot.id, At: now}
}

// take returns what was noted and forgets it.
func (u *credentialUses) take() []store.CredentialUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]store.CredentialUse, 0, len(u.uses))
	for _, use := range u.uses {
		out = append(out, use)
	}
	u.uses = nil
	return out
}

// writeUses writes what was noted. It is lost if storage does not take it; the next webhook notes it again.
func (in *Intake) writeUses(ctx context.Context) {
	if in.deps.CredentialUses == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if uses := in.uses.take(); len(uses) > 0 {
		if err := in.deps.CredentialUses(ctx, uses); err != nil {
			in.log.Warn("the last uses of credentials were not written", "credentials", len(uses), "error", err)
		}
	}
}

// keepUses writes once a minute until ctx ends, and then once more.
func (in *Intake) keepUses(ctx context.Context) {
	tick := time.NewTicker(in.writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			in.writeUses(ctx)
		case <-ctx.Done():
			in.writeUses(context.WithoutCancel(ctx))
			return
		}
	}
}
