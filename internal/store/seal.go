package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

// Every sealed value is bound to its table, column and row id here, and to its organisation by the sealer.

func (tx *Tx) sealDetails(id domain.BookingID, d domain.Details) []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic("marshal details of plain texts: " + err.Error())
	}
	return tx.sealer.Seal(text, "bookings", "details", string(id))
}

func (tx *Tx) openDetails(id domain.BookingID, sealed []byte) (domain.Details, error) {
	var d domain.Details
	text, err := tx.sealer.Open(sealed, "bookings", "details", string(id))
	if err != nil {
		return d, fmt.Errorf("details of booking %s: %w", id, err)
	}
	if json.Unmarshal(text, &d) != nil {
		return d, fmt.Errorf("details of booking %s: not the JSON that was sealed", id)
	}
	return d, nil
}

// sealPlace seals latitude and longitude as 8 bytes each, big-endian; a place that is not known is NULL.
func (tx *Tx) sealPlace(id domain.AllocationID, p domain.Point) []byte {
	if !p.Known() {
		return nil
	}
	var text [16]byte
	binary.BigEndian.PutUint64(text[:8], math.Float64bits(p.Lat))
	binary.BigEndian.PutUint64(text[8:], math.Float64bits(p.Lon))
	return tx.sealer.Seal(text[:], "allocations", "place", string(id))
}

func (tx *Tx) openPlace(id domain.AllocationID, sealed []byte) (domain.Point, error) {
	if len(sealed) == 0 {
		return domain.Point{}, nil
	}
	text, err := tx.sealer.Open(sealed, "allocations", "place", string(id))
	if err != nil {
		return domain.Point{}, fmt.Errorf("place of allocation %s: %w", id, err)
	}
	if len(text) != 16 {
		return domain.Point{}, fmt.Errorf("place of allocation %s: not the two numbers that were sealed", id)
	}
	return domain.Point{Lat: math.Float64frombits(binary.BigEndian.Uint64(text[:8])), Lon: math.Float64frombits(binary.BigEndian.Uint64(text[8:]))}, nil
}

func (tx *Tx) sealName(id domain.ResourceID, name string) []byte {
	return tx.sealer.Seal([]byte(name), "resources", "name", string(id))
}

func (tx *Tx) openName(id domain.ResourceID, sealed []byte) (string, error) {
	text, err := tx.sealer.Open(sealed, "resources", "name", string(id))
	if err != nil {
		return "", fmt.Errorf("name of resource %s: %w", id, err)
	}
	return string(text), nil
}

func (tx *Tx) sealSecrets(id domain.IntegrationID, secrets map[string]string) []byte {
	if secrets == nil {
		secrets = map[string]string{}
	}
	text, err := json.Marshal(secrets)
	if err != nil {
		panic("marshal a map of strings: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "integrations", "secrets", string(id))
}

func (s *Store) openSecrets(org domain.OrgID, id domain.IntegrationID, sealed []byte) (map[string]string, error) {
	text, err := s.ring.Org(string(org)).Open(sealed, "integrations", "secrets", string(id))
	if err != nil {
		return nil, fmt.Errorf("secrets of integration %s: %w", id, err)
	}
	return parseSecrets(id, text)
}

func parseSecrets(id domain.IntegrationID, text []byte) (map[string]string, error) {
	defer clear(text)
	secrets := map[string]string{}
	if json.Unmarshal(text, &secrets) != nil {
		return nil, fmt.Errorf("secrets of integration %s: not the JSON that was sealed", id)
	}
	return secrets, nil
}

// SealDelivery makes the content of a delivery for [NewDelivery]: the kept headers and the raw body, sealed for the row.
//
// Sealed is: length of the headers' JSON (4 bytes, big-endian), that JSON, the body.
func (s *Store) SealDelivery(org domain.OrgID, id domain.DeliveryID, headers map[string]string, body []byte) []byte {
	return sealContent(s.ring.Org(string(org)), id, headers, body)
}

func sealContent(with *vault.Sealer, id domain.DeliveryID, headers map[string]string, body []byte) []byte {
	if headers == nil {
		headers = map[string]string{}
	}
	head, err := json.Marshal(headers)
	if err != nil {
		panic("marshal a map of strings: " + err.Error())
	}
	text := make([]byte, 4, 4+len(head)+len(body))
	binary.BigEndian.PutUint32(text, uint32(len(head)))
	text = append(append(text, head...), body...)
	return with.Seal(text, "deliveries", "content", string(id))
}

var errContent = errors.New("content is not in the form that was sealed")

// OpenDelivery is the reverse of [Store.SealDelivery]. The content type is taken from the kept headers.
func (tx *Tx) OpenDelivery(d domain.Delivery, sealed []byte) (domain.RawDelivery, error) {
	raw := domain.RawDelivery{Delivery: d}
	if d.ErasedAt != nil {
		return raw, domain.E(domain.KindNotFound, "the content of delivery %s was erased at %s, when its time was over", d.ID, d.ErasedAt.Format(time.RFC3339))
	}
	text, err := tx.sealer.Open(sealed, "deliveries", "content", string(d.ID))
	if err != nil {
		return raw, fmt.Errorf("content of delivery %s: %w", d.ID, err)
	}
	if len(text) < 4 {
		return raw, fmt.Errorf("delivery %s: %w", d.ID, errContent)
	}
	n := uint64(binary.BigEndian.Uint32(text))
	if n > uint64(len(text)-4) || json.Unmarshal(text[4:4+n], &raw.Headers) != nil {
		return raw, fmt.Errorf("delivery %s: %w", d.ID, errContent)
	}
	raw.Body = text[4+n:]
	raw.ContentType = raw.Headers["content-type"]
	return raw, nil
}
