package server

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/wedsync/wedsync/internal/provider"
)

type providerView struct {
	Name             string                 `json:"name" example:"custom"`
	Title            string                 `json:"title"`
	Doc              string                 `json:"doc"`
	SettingsSchema   json.RawMessage        `json:"settings_schema" doc:"JSON Schema of settings"`
	Secrets          []provider.SecretField `json:"secrets" doc:"The secrets that it takes"`
	DefinitionSchema json.RawMessage        `json:"definition_schema,omitempty" doc:"JSON Schema of definition files, which wedsync integration lint checks"`
	Abilities        []provider.Ability     `json:"abilities" doc:"What a connection can do, and cannot, and why"`
	Limits           []string               `json:"limits" doc:"What the system does not offer, in plain words"`
	Mappings         bool                   `json:"mappings" doc:"Its webhooks are read by mappings that can be changed; see list-samples"`
	Consent          bool                   `json:"consent" doc:"A person lets WedSync in, by the link of connect-integration; where settings decide it, connect_url of an integration tells"`
}

func (s *Server) listProviders(_ context.Context, _ *struct{}) (*listOutput[providerView], error) {
	var out []providerView
	for _, name := range slices.Sorted(maps.Keys(s.providers)) {
		p := s.providers[name]
		v := providerView{Name: p.Name, Title: p.Title, Doc: p.Doc, SettingsSchema: p.SettingsSchema, DefinitionSchema: p.DefinitionSchema, Secrets: p.Secrets, Consent: p.OAuth != nil && p.ByConsent == nil,
			Abilities: append([]provider.Ability{}, p.Abilities...), Limits: append([]string{}, p.Limits...), Mappings: p.Mappings != nil}
		if len(v.SettingsSchema) == 0 {
			v.SettingsSchema = json.RawMessage("{}")
		}
		if v.Secrets == nil {
			v.Secrets = []provider.SecretField{}
		}
		out = append(out, v)
	}
	return list(out, ""), nil
}
