package provider

import "encoding/json"

// Mappings is how people see and change by which expressions the deliveries of a connection are read. All functions are
// pure, and errors are domain.Invalid with the field.
type Mappings struct {
	// Kinds are the kinds of deliveries, in the order in which people see them.
	Kinds []DeliveryKind
	// Fields are the names of the fields that an expression may be given for.
	Fields []string
	// Read returns the expressions of a kind under settings. An unknown kind is domain.Invalid.
	Read func(settings json.RawMessage, kind string) (Expressions, error)
	// Change returns settings in which a kind has the expressions given by field, and the provider's own where none is
	// given or the given one is the same. Nothing is compiled: Registration.Validate does that.
	Change func(settings json.RawMessage, kind string, fields map[string]string) (json.RawMessage, error)
}

// DeliveryKind is a kind of delivery with a sample of it.
type DeliveryKind struct {
	Name        string          `json:"kind"`
	Title       string          `json:"title"` // as the system calls it
	Doc         string          `json:"doc"`   // when it comes, and what becomes of it by the provider's own mapping
	ContentType string          `json:"content_type"`
	Sample      json.RawMessage `json:"sample"` // JSON; nobody's data
}

// Expressions are those by which a kind of delivery is read, by field.
type Expressions struct {
	InEffect map[string]string // the provider's own and those of the settings over them
	Own      map[string]string // the provider's own
}
