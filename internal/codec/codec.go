// Package codec encrypts what Temporal stores. Workflow histories carry ids and not people, and this codec covers what
// is left: inputs, results, signals, queries, updates, memos, heartbeat details, summaries and the texts of failures.
//
// Give the same pair to every Temporal client and worker of an installation:
//
//	client.Options{DataConverter: codec.DataConverter(ring), FailureConverter: codec.FailureConverter(ring)}
//
// and mount [NewHandler] where operators' browsers reach it, so that Temporal's UI can show payloads to whoever is
// allowed to see them.
//
// # Promises
//
//   - Every payload leaving a client or worker is sealed under the ring's active key; its own encoding, type name and
//     other metadata are sealed with it. What stays readable is that it is encrypted, and by which key id.
//   - A payload sealed under any key still in the ring decodes, so keys can be rotated under running workflows. Keep a
//     retired key until the last history that used it is past its retention.
//   - A payload that was never sealed passes through decoding as it is: workflows started from the UI or the command
//     line, and histories from before encryption, work.
//   - A sealed payload that cannot be opened is an error, never an empty value. In a workflow task this blocks the
//     workflow until the key is back, instead of letting it decide on missing input.
//   - Errors name the key id, never content. Codec is safe for many goroutines at once.
//
// Temporal never passes through a codec: workflow ids, types, task queues, signal and query names, search attributes,
// and the type string of an application error. Keep personal data out of those.
//
// # Testing
//
// Tests need a ring only, made from vault.GenerateKey; no server.
package codec

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/wedsync/wedsync/internal/vault"
)

const (
	// EncodingEncrypted is the value of metadata "encoding" of a sealed payload.
	EncodingEncrypted = "binary/encrypted"
	// MetadataKeyID is the metadata field with the id of the key that sealed a payload. It is there for people; the
	// authenticated id inside the sealed bytes is the one that is used.
	MetadataKeyID = "encryption-key-id"

	// The scope is part of the key and the place is authenticated: changing either makes every history unreadable.
	scope = "temporal payload"
	place = "payload v1"
)

// Codec seals and opens Temporal payloads. Make one with [New].
type Codec struct {
	ring   *vault.Keyring
	sealer *vault.Sealer
}

var _ converter.PayloadCodec = (*Codec)(nil)

// New returns a codec over the keys of ring.
func New(ring *vault.Keyring) *Codec {
	return &Codec{ring: ring, sealer: ring.Scope(scope)}
}

// DataConverter returns Temporal's default converter with every payload sealed.
func DataConverter(ring *vault.Keyring) converter.DataConverter {
	return converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), New(ring))
}

// FailureConverter returns a failure converter whose messages and stack traces are sealed too. The type string of an
// application error stays readable, since retry policies match on it.
func FailureConverter(ring *vault.Keyring) converter.FailureConverter {
	return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter:          DataConverter(ring),
		EncodeCommonAttributes: true,
	})
}

// Encode seals each payload whole. Sealing twice is allowed and undone by decoding twice.
func (c *Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		text, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("seal payload %d of %d: marshal: %w", i+1, len(payloads), err)
		}
		out[i] = &commonpb.Payload{
			Metadata: map[string][]byte{
				converter.MetadataEncoding: []byte(EncodingEncrypted),
				MetadataKeyID:              []byte(c.ring.ActiveID()),
			},
			Data: c.sealer.Seal(text, place),
		}
	}
	return out, nil
}

// Decode opens the sealed payloads among the given and passes the others through.
func (c *Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != EncodingEncrypted {
			out[i] = p
			continue
		}
		text, err := c.sealer.Open(p.GetData(), place)
		if err != nil {
			return nil, fmt.Errorf("decode payload %d of %d: %w", i+1, len(payloads), err)
		}
		out[i] = new(commonpb.Payload)
		// The bytes are authentic, so this fails only if this program sealed something that is no payload. The cause is
		// dropped because protobuf may quote the input.
		if proto.Unmarshal(text, out[i]) != nil {
			return nil, fmt.Errorf("decode payload %d of %d: sealed content is not a payload", i+1, len(payloads))
		}
	}
	return out, nil
}
