package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type resourceView struct {
	domain.Resource
	BufferBeforeMinutes int64 `json:"buffer_before_minutes" doc:"Set-up and travel before each booking"`
	BufferAfterMinutes  int64 `json:"buffer_after_minutes" doc:"Teardown and travel after each booking"`
}

type resourceOutput struct {
	ETag string `header:"ETag"`
	Body resourceView
}

func viewResource(r domain.Resource) resourceView {
	if r.Hours == nil {
		r.Hours = domain.WorkingHours{}
	}
	if r.Skills == nil {
		r.Skills = []string{}
	}
	if r.Blackouts == nil {
		r.Blackouts = []domain.Blackout{}
	}
	return resourceView{Resource: r, BufferBeforeMinutes: int64(r.BufferBefore / time.Minute), BufferAfterMinutes: int64(r.BufferAfter / time.Minute)}
}

func resourceAnswer(r domain.Resource) *resourceOutput {
	return &resourceOutput{ETag: etag(r.Version), Body: viewResource(r)}
}

type createResourceInput struct {
	KeyHeader
	Body struct {
		Name                string              `json:"name" minLength:"1" maxLength:"200"`
		Kind                domain.ResourceKind `json:"kind" enum:"person,team,room"`
		Zone                string              `json:"zone" minLength:"1" maxLength:"64" example:"Europe/Berlin" doc:"IANA zone where it works"`
		Capacity            int                 `json:"capacity,omitempty" minimum:"1" maximum:"100" default:"1"`
		BufferBeforeMinutes int64               `json:"buffer_before_minutes,omitempty" minimum:"0" maximum:"2880"`
		BufferAfterMinutes  int64               `json:"buffer_after_minutes,omitempty" minimum:"0" maximum:"2880"`
		Hours               domain.WorkingHours `json:"working_hours,omitempty" maxItems:"28" doc:"Local hours in minutes after midnight; empty = around the clock"`
		Skills              []string            `json:"skills,omitempty" maxItems:"20"`
		OneWeddingADay      bool                `json:"one_wedding_a_day,omitempty" default:"true"`
		LeadMinutes         int                 `json:"lead_minutes,omitempty" minimum:"0" maximum:"527040" doc:"Nothing is offered that begins sooner than this from now; suggestions never offer the next two hours"`
		Travel              domain.Travel       `json:"travel,omitempty" doc:"How long the way from one booking to the next takes; without it ways are part of the buffers"`
		Reason              string              `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) createResource(ctx context.Context, in *createResourceInput) (*resourceOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, repeatable := newOrRepeated[domain.ResourceID](in.Key, who, "resource", s.now())
	if repeatable {
		if had, err := s.readResource(ctx, id); err == nil {
			return resourceAnswer(had), nil
		} else if domain.KindOf(err) != domain.KindNotFound {
			return nil, err
		}
	}
	r := domain.Resource{ID: id, OrgID: who.Org, Name: b.Name, Kind: b.Kind, Zone: b.Zone, Capacity: b.Capacity,
		BufferBefore: time.Duration(b.BufferBeforeMinutes) * time.Minute, BufferAfter: time.Duration(b.BufferAfterMinutes) * time.Minute,
		Hours: b.Hours, Skills: b.Skills, OneWeddingADay: b.OneWeddingADay, LeadMinutes: b.LeadMinutes, Travel: b.Travel}
	if _, err := loadZone("body.zone", r.Zone); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "resource.create", Reason: reason,
			Subject: "resource/" + string(id), After: resourceFacts(r)}); err != nil {
			return err
		}
		r, err = tx.Resource(ctx, id)
		return err
	})
	if repeatable && domain.KindOf(err) == domain.KindConflict {
		r, err = s.readResource(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return resourceAnswer(r), nil
}

// resourceFacts leaves out the name, which is often a person's.
func resourceFacts(r domain.Resource) map[string]string {
	return map[string]string{"kind": string(r.Kind), "zone": r.Zone, "capacity": strconv.Itoa(r.Capacity),
		"buffer_before": r.BufferBefore.String(), "buffer_after": r.BufferAfter.String(), "one_wedding_a_day": strconv.FormatBool(r.OneWeddingADay),
		"stretches_of_hours": strconv.Itoa(len(r.Hours)), "skills": strconv.Itoa(len(r.Skills)), "blackouts": strconv.Itoa(len(r.Blackouts)), "lead_minutes": strconv.Itoa(r.LeadMinutes),
		"travel":  fmt.Sprintf("%d km/h, at least %d min, else %d min", r.Travel.SpeedKmh, r.Travel.MinMinutes, r.Travel.FixedMinutes),
		"version": strconv.FormatInt(max(r.Version, 1), 10)}
}

func (s *Server) readResource(ctx context.Context, id domain.ResourceID) (r domain.Resource, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		r, err = tx.Resource(ctx, id)
		return err
	})
	return r, err
}

func (s *Server) listResources(ctx context.Context, in *PageParams) (*listOutput[resourceView], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]resourceView, string, error) {
		all, next, err := tx.Resources(ctx, in.page())
		return views(all, viewResource), next, err
	})
}

func (s *Server) getResource(ctx context.Context, in *IDParam) (*resourceOutput, error) {
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	r, err := s.readResource(ctx, id)
	if err != nil {
		return nil, err
	}
	return resourceAnswer(r), nil
}

type updateResourceInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version             int64                `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Name                *string              `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Kind                *domain.ResourceKind `json:"kind,omitempty" enum:"person,team,room"`
		Zone                *string              `json:"zone,omitempty" minLength:"1" maxLength:"64"`
		Capacity            *int                 `json:"capacity,omitempty" minimum:"1" maximum:"100"`
		BufferBeforeMinutes *int64               `json:"buffer_before_minutes,omitempty" minimum:"0" maximum:"2880"`
		BufferAfterMinutes  *int64               `json:"buffer_after_minutes,omitempty" minimum:"0" maximum:"2880"`
		Hours               *domain.WorkingHours `json:"working_hours,omitempty" maxItems:"28"`
		Skills              *[]string            `json:"skills,omitempty" maxItems:"20"`
		OneWeddingADay      *bool                `json:"one_wedding_a_day,omitempty"`
		LeadMinutes         *int                 `json:"lead_minutes,omitempty" minimum:"0" maximum:"527040"`
		Travel              *domain.Travel       `json:"travel,omitempty" doc:"Replaces all three values"`
		Reason              string               `json:"reason,omitempty" maxLength:"500"`
	}
}

// updateResource changes what is asked for. Where rules changed, coming bookings are looked at anew in the same transaction.
func (s *Server) updateResource(ctx context.Context, in *updateResourceInput) (*resourceOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	if b.Zone != nil {
		if _, err := loadZone("body.zone", *b.Zone); err != nil {
			return nil, err
		}
	}
	var now domain.Resource
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Resource(ctx, id)
		if err != nil {
			return err
		}
		expect, err := in.expect(b.Version, was.Version)
		if err != nil {
			return err
		}
		r := was
		assign(&r.Name, b.Name)
		assign(&r.Kind, b.Kind)
		assign(&r.Zone, b.Zone)
		assign(&r.Capacity, b.Capacity)
		assign(&r.Hours, b.Hours)
		assign(&r.Skills, b.Skills)
		assign(&r.OneWeddingADay, b.OneWeddingADay)
		assign(&r.LeadMinutes, b.LeadMinutes)
		assign(&r.Travel, b.Travel)
		if b.BufferBeforeMinutes != nil {
			r.BufferBefore = time.Duration(*b.BufferBeforeMinutes) * time.Minute
		}
		if b.BufferAfterMinutes != nil {
			r.BufferAfter = time.Duration(*b.BufferAfterMinutes) * time.Minute
		}
		if err := tx.UpdateResource(ctx, r, expect); err != nil {
			return err
		}
		if now, err = tx.Resource(ctx, id); err != nil {
			return err
		}
		if err := rejudged(ctx, tx, was, now); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "resource.update", Reason: reason,
			Subject: "resource/" + string(id), Before: resourceFacts(was), After: resourceFacts(now)})
	})
	if err != nil {
		return nil, err
	}
	return resourceAnswer(now), nil
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
