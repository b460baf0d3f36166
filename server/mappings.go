package server

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// sampleView is a kind of webhook with a sample and the expressions that read it.
type sampleView struct {
	provider.DeliveryKind
	Mapping map[string]string `json:"mapping" doc:"Expressions by field, in CEL"`
}

type samplesInput struct {
	Name string `path:"name" maxLength:"60" example:"honeybook" doc:"Name of a provider"`
}

// mappingsOf returns how deliveries of a provider are read, or why nothing can be changed about that.
func (s *Server) mappingsOf(name string) (*provider.Mappings, error) {
	reg, known := s.providers[name]
	switch {
	case !known:
		return nil, domain.E(domain.KindNotFound, "no such provider")
	case reg.Mappings == nil:
		return nil, domain.E(domain.KindConflict, "%s has no kinds of webhooks with a mapping of their own", reg.Title)
	}
	return reg.Mappings, nil
}

func (s *Server) listSamples(_ context.Context, in *samplesInput) (*listOutput[sampleView], error) {
	m, err := s.mappingsOf(in.Name)
	if err != nil {
		return nil, err
	}
	out := make([]sampleView, 0, len(m.Kinds))
	for _, k := range m.Kinds {
		have, err := m.Read(json.RawMessage("{}"), k.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, sampleView{DeliveryKind: k, Mapping: have.Own})
	}
	return list(out, ""), nil
}

type mappingView struct {
	provider.DeliveryKind
	Mapping map[string]string `json:"mapping" doc:"Expressions by field, in CEL: those in effect"`
	Changed []string          `json:"changed" doc:"The fields whose expression is not the provider's own"`
}

type mappingsOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Version int64         `json:"version" doc:"Of the integration; a change must name it"`
		Fields  []string      `json:"fields" doc:"The fields that an expression may be given for"`
		Kinds   []mappingView `json:"kinds"`
	}
}

// mappingOf reads by what a kind of webhook is read in an integration.
func mappingOf(m *provider.Mappings, i domain.Integration, k provider.DeliveryKind) (mappingView, error) {
	have, err := m.Read(i.Settings, k.Name)
	v := mappingView{DeliveryKind: k, Mapping: have.InEffect, Changed: []string{}}
	for _, f := range m.Fields {
		if have.InEffect[f] != have.Own[f] {
			v.Changed = append(v.Changed, f)
		}
	}
	return v, err
}

func (s *Server) listMappings(ctx context.Context, in *IDParam) (*mappingsOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	i, err := s.readIntegration(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.mappingsOf(i.Provider)
	if err != nil {
		return nil, err
	}
	out := &mappingsOutput{ETag: etag(i.Version)}
	out.Body.Version, out.Body.Fields, out.Body.Kinds = i.Version, slices.Clone(m.Fields), []mappingView{}
	for _, k := range m.Kinds {
		v, err := mappingOf(m, i, k)
		if err != nil {
			return nil, err
		}
		out.Body.Kinds = append(out.Body.Kinds, v)
	}
	return out, nil
}

type setMappingInput struct {
	IDParam
	VersionHeader
	FreezeHeader
	Kind string `path:"kind" maxLength:"60" example:"project_booked" doc:"Kind of webhook, as list-mappings names it"`
	Body struct {
		Version int64             `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Mapping map[string]string `json:"mapping" doc:"Expressions by field, in CEL. A field that is left out or empty gets the provider's own"`
		Reason  string            `json:"reason,omitempty" maxLength:"500"`
	}
}

// setMapping is a change of the integration's settings, checked and kept as every other.
func (s *Server) setMapping(ctx context.Context, in *setMappingInput) (*integrationOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	i, err := s.readIntegration(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.mappingsOf(i.Provider)
	if err != nil {
		return nil, err
	}
	change := &updateIntegrationInput{IDParam: in.IDParam, VersionHeader: in.VersionHeader, FreezeHeader: in.FreezeHeader}
	change.Body.Version, change.Body.Reason = in.Body.Version, in.Body.Reason
	if change.Body.Settings, err = m.Change(i.Settings, in.Kind, in.Body.Mapping); err != nil {
		return nil, err
	}
	return s.updateIntegration(ctx, change)
}
