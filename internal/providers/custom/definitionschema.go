package custom

import (
	_ "embed" // for the schema
	"encoding/json"
	"sync"
)

//go:embed samples.schema.json
var samplesSchema []byte

// DefinitionSchema is the JSON Schema (draft 2020-12) of definition files: that of settings, with name, about and samples
// beside them.
func DefinitionSchema() json.RawMessage { return definitionSchema() }

var definitionSchema = sync.OnceValue(func() json.RawMessage {
	var whole, more map[string]any
	for raw, into := range map[*[]byte]*map[string]any{&schema: &whole, &samplesSchema: &more} {
		if err := json.Unmarshal(*raw, into); err != nil {
			panic("a schema of this package is no JSON: " + err.Error())
		}
	}
	for _, part := range []string{"properties", "$defs"} {
		to, _ := whole[part].(map[string]any)
		from, _ := more[part].(map[string]any)
		for name, v := range from {
			to[name] = v
		}
	}
	whole["title"] = "Definition of a custom integration"
	out, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		panic("marshal a schema: " + err.Error())
	}
	return append(out, '\n')
})
