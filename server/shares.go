package server

import (
	"context"
	"net/url"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sharelink"
	"github.com/wedsync/wedsync/internal/store"
)

type createShareInput struct {
	IDParam
	Body struct {
		Role       domain.ShareRole  `json:"role" enum:"couple,vendor" doc:"couple sees the whole wedding; vendor the wedding and the items of one resource, which it may confirm"`
		ResourceID domain.ResourceID `json:"resource_id,omitempty" maxLength:"36" doc:"Of a vendor"`
		Label      string            `json:"label" minLength:"1" maxLength:"120" doc:"For whom it is; sealed in storage, not shown to who has the link"`
		Title      string            `json:"title,omitempty" maxLength:"120" doc:"Heading of the page; sealed in storage. Without one the page says the date only"`
		ExpiresAt  *time.Time        `json:"expires_at,omitempty" doc:"When the link ends; 30 days after the wedding where absent"`
		Reason     string            `json:"reason,omitempty" maxLength:"500"`
	}
}

type shareView struct {
	domain.Share
	URL   string `json:"url,omitempty" doc:"The address to hand out; only in the answer that made the link. Whoever knows it sees the wedding"`
	Token string `json:"token,omitempty" doc:"The secret part of the address; only in the answer that made the link"`
}

type shareOutput struct{ Body shareView }

// createShare makes a link by which somebody without an account sees a wedding.
func (s *Server) createShare(ctx context.Context, in *createShareInput) (*shareOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	if s.deps.Links == nil {
		return nil, domain.E(domain.KindUnavailable, "this server makes no links")
	}
	link := domain.Share{ID: domain.NewID[domain.ShareID](s.now()), OrgID: who.Org, BookingID: id, Role: b.Role, ResourceID: b.ResourceID,
		Label: b.Label, Title: b.Title, CreatedBy: who.Subject}
	var token string
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		booking, err := tx.Booking(ctx, id)
		if err != nil {
			return err
		}
		link.ExpiresAt = later(booking.When.End, tx.Now).Add(domain.DefaultShareLife)
		if most := tx.Now.Add(domain.MaxShareLife); link.ExpiresAt.After(most) {
			link.ExpiresAt = most
		}
		if b.ExpiresAt != nil {
			link.ExpiresAt = *b.ExpiresAt
		}
		// A token counts whole seconds.
		link.ExpiresAt = link.ExpiresAt.UTC().Truncate(time.Second)
		if link.ResourceID != "" {
			if _, err := tx.Resource(ctx, link.ResourceID); domain.KindOf(err) == domain.KindNotFound {
				return domain.Invalid("body.resource_id", "no such resource")
			} else if err != nil {
				return err
			}
		}
		if token, err = s.deps.Links.Mint(sharelink.Claims{Org: who.Org, Share: link.ID, Expires: link.ExpiresAt}); err != nil {
			return err
		}
		if err := tx.CreateShare(ctx, link, sharelink.Hash(token)); err != nil {
			return atBody(err, "")
		}
		if link, err = tx.Share(ctx, id, link.ID); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "share.create", Reason: reason, Subject: "booking/" + string(id), After: shareFacts(link)})
	})
	if err != nil {
		return nil, err
	}
	return &shareOutput{Body: shareView{Share: link, Token: token, URL: s.baseURL(ctx) + "/s/" + token}}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shareFacts is what the trail keeps: neither label nor title.
func shareFacts(l domain.Share) map[string]string {
	facts := map[string]string{"share": string(l.ID), "role": string(l.Role), "expires_at": l.ExpiresAt.Format(time.RFC3339)}
	if l.ResourceID != "" {
		facts["resource"] = string(l.ResourceID)
	}
	if l.RevokedAt != nil {
		facts["revoked_at"] = l.RevokedAt.Format(time.RFC3339)
	}
	return facts
}

type listSharesInput struct {
	IDParam
	PageParams
}

func (s *Server) listShares(ctx context.Context, in *listSharesInput) (*listOutput[domain.Share], error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Share, string, error) {
		if _, err := tx.Booking(ctx, id); err != nil {
			return nil, "", err
		}
		return tx.Shares(ctx, id, in.page())
	})
}

type revokeShareInput struct {
	IDParam
	Share  string `path:"share" maxLength:"36" doc:"UUID in lower case"`
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

// revokeShare ends a link. The next request that comes by it is refused.
func (s *Server) revokeShare(ctx context.Context, in *revokeShareInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	booking, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ShareID]("link", in.Share)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Booking(ctx, booking); err != nil {
			return err
		}
		was, err := tx.Share(ctx, booking, id)
		if err != nil || was.RevokedAt != nil {
			return err
		}
		now, err := tx.RevokeShare(ctx, booking, id)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "share.revoke", Reason: reason, Subject: "booking/" + string(booking),
			Before: shareFacts(was), After: shareFacts(now)})
	})
}

// sharePath is the address of a link's page, for forms and redirects on it.
func sharePath(token string) string { return "/s/" + url.PathEscape(token) }
