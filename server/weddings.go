package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type listWeddingsInput struct {
	PageParams
	State string    `query:"state" enum:"waiting,preflight,frozen,day,handed_over,ended"`
	Open  bool      `query:"open" doc:"Only those that something is still done for"`
	From  time.Time `query:"from" doc:"Whose day begins at or after this"`
	To    time.Time `query:"to" doc:"Whose day begins before this"`
}

func (s *Server) listWeddings(ctx context.Context, in *listWeddingsInput) (*listOutput[domain.WeddingCare], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.WeddingCare, string, error) {
		return tx.WeddingCares(ctx, store.CareFilter{State: domain.CareState(in.State), Open: in.Open, From: in.From, To: in.To}, in.page())
	})
}

type weddingView struct {
	domain.WeddingCare
	Newest   *domain.Preflight `json:"newest_preflight,omitempty" doc:"What the newest preflight found, the worst first"`
	HandOver *handOverView     `json:"handover,omitempty" doc:"The report of the day, once it is over"`
}

type weddingOutput struct{ Body weddingView }

func (s *Server) getWedding(ctx context.Context, in *IDParam) (*weddingOutput, error) {
	v, err := s.wedding(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &weddingOutput{Body: v}, nil
}

func (s *Server) wedding(ctx context.Context, raw string) (v weddingView, err error) {
	id, err := parseID[domain.BookingID]("wedding", raw)
	if err != nil {
		return v, err
	}
	return v, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if v.WeddingCare, err = tx.WeddingCare(ctx, id, false); err != nil {
			return err
		}
		if v.PreflightID != "" {
			p, err := tx.Preflight(ctx, id, v.PreflightID)
			if err != nil && domain.KindOf(err) != domain.KindNotFound {
				return err
			}
			if err == nil {
				v.Newest = &p
			}
		}
		h, err := tx.HandOver(ctx, id)
		if domain.KindOf(err) == domain.KindNotFound {
			return nil
		}
		if err == nil {
			one := viewHandOver(h)
			v.HandOver = &one
		}
		return err
	})
}

type wantedOutput struct{ Body domain.WeddingCare }

// wantPreflight has everything checked that a wedding rests on. It takes some seconds, after which the newest preflight is another
// one, and wanted_at is gone.
func (s *Server) wantPreflight(ctx context.Context, in *actionInput) (*wantedOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.reason())
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.BookingID]("wedding", in.ID)
	if err != nil {
		return nil, err
	}
	out := &wantedOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if out.Body, err = tx.WantPreflight(ctx, id, who.Subject); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "wedding.ask_preflight", Reason: reason, Subject: "booking/" + string(id),
			After: map[string]string{"state": string(out.Body.State)}})
	})
}

type listPreflightsInput struct {
	IDParam
	PageParams
}

func (s *Server) listPreflights(ctx context.Context, in *listPreflightsInput) (*listOutput[domain.Preflight], error) {
	id, err := parseID[domain.BookingID]("wedding", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Preflight, string, error) {
		if _, err := tx.WeddingCare(ctx, id, false); err != nil {
			return nil, "", err
		}
		return tx.Preflights(ctx, id, in.page())
	})
}

// shownNotes is how many lines of a log are shown at once.
const shownNotes = 1000

// getWeddingLog tells what happened on the day so far, the oldest first.
func (s *Server) getWeddingLog(ctx context.Context, in *IDParam) (*listOutput[domain.WeddingNote], error) {
	id, err := parseID[domain.BookingID]("wedding", in.ID)
	if err != nil {
		return nil, err
	}
	var out []domain.WeddingNote
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.WeddingCare(ctx, id, false)
		if err != nil {
			return err
		}
		out, err = tx.WeddingNotes(ctx, id, c.DayFrom, shownNotes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, ""), nil
}

// handOverView is the report of a day as it is shown.
type handOverView struct {
	domain.HandOver
	Failures []dayFailure `json:"failures" doc:"What went wrong, in the order in which it was noticed"`
}

type dayFailure struct {
	domain.DayFailure
	LastedSeconds int64 `json:"lasted_seconds" doc:"Until it was over, or until the report was made"`
}

func viewHandOver(h domain.HandOver) handOverView {
	v := handOverView{HandOver: h, Failures: []dayFailure{}}
	for _, f := range h.Failures {
		v.Failures = append(v.Failures, dayFailure{f, int64(f.Lasted / time.Second)})
	}
	return v
}

type handOverOutput struct{ Body handOverView }

func (s *Server) getHandOver(ctx context.Context, in *IDParam) (*handOverOutput, error) {
	id, err := parseID[domain.BookingID]("wedding", in.ID)
	if err != nil {
		return nil, err
	}
	out := &handOverOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		h, err := tx.HandOver(ctx, id)
		out.Body = viewHandOver(h)
		return err
	})
}
