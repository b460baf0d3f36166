// Package openapitest holds requests and answers against a vendor's own OpenAPI 3.0 document, in tests of a provider and
// of the simulator that stands for the vendor. What neither side would notice, because one person wrote both, the
// vendor's document does.
//
//	doc := openapitest.Load(t, "../../../../shared/specs/vendor-openapi.json", openapitest.Options{Base: "/api/v2"})
//	server := httptest.NewServer(sim.Handler())     // sim wraps its honest part by doc.Wrap(t, handler); Wrap of nil checks nothing
//
// Documents are contract data that may not be copied into this repository. Load reads one in place; where it is not
// there it says so in the test's log and returns nil, and a nil Document checks nothing.
//
// What is checked: path, method and query of a request (unknown parameters are faults, and so are wrong types), its JSON
// body, the status of the answer and its JSON body. Members that the schema does not name are faults, read-only members
// in a request too, and write-only ones in an answer. Options.Answers names statuses that a document forgets.
//
// OpenAPI 3.0 schemas are no JSON Schemas. They are rewritten into draft 2020-12: nullable becomes a further type,
// exclusive bounds and formats their new form, and objects are closed (unevaluatedProperties) at every place where a
// schema with properties is used.
//
// It imports nothing of ours, so any package's tests may use it. Test it with go test ./internal/openapitest.
package openapitest
