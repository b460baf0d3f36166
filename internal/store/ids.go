package store

import (
	"errors"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wedsync/wedsync/internal/domain"
)

// What sorts before and behind every identifier.
const (
	firstUUID = "00000000-0000-0000-0000-000000000000"
	lastUUID  = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

// rowID is an identifier of any kind.
type rowID string

// registerIDs makes uuid columns and the identifier types of package domain meet in binary both ways, without a detour
// over text. The empty identifier is NULL.
func registerIDs(m *pgtype.Map) {
	id := &pgtype.Type{Name: "uuid", OID: pgtype.UUIDOID, Codec: idCodec{}}
	m.RegisterType(id)
	m.RegisterType(&pgtype.Type{Name: "_uuid", OID: pgtype.UUIDArrayOID, Codec: &pgtype.ArrayCodec{ElementType: id}})
}

// idCodec is pgtype's codec, and in front of it one for types whose underlying type is string.
type idCodec struct{ pgtype.UUIDCodec }

func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if t := reflect.TypeOf(value); t != nil && t.Kind() == reflect.String {
		return encodeID{format}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

func (c idCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	t := reflect.TypeOf(target)
	if format == pgtype.BinaryFormatCode && t != nil && t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String {
		return scanID{}
	}
	return c.UUIDCodec.PlanScan(m, oid, format, target)
}

var errNotUUID = errors.New("identifier is not a UUID in lower-case canonical form")

type encodeID struct{ format int16 }

func (p encodeID) Encode(value any, buf []byte) ([]byte, error) {
	var text string
	switch v := value.(type) {
	case domain.DeliveryID:
		text = string(v)
	case domain.IntegrationID:
		text = string(v)
	case domain.OrgID:
		text = string(v)
	case domain.BookingID:
		text = string(v)
	case domain.ResourceID:
		text = string(v)
	case rowID:
		text = string(v)
	default:
		text = reflect.ValueOf(value).String()
	}
	if text == "" {
		return nil, nil
	}
	b, ok := domain.ParseUUID(text)
	if !ok {
		return nil, errNotUUID
	}
	if p.format == pgtype.TextFormatCode {
		return append(buf, text...), nil
	}
	return append(buf, b[:]...), nil
}

type scanID struct{}

func (scanID) Scan(src []byte, target any) error {
	text := ""
	switch len(src) {
	case 0:
		if src != nil {
			return errors.New("empty value for a uuid")
		}
	case 16:
		text = domain.FormatUUID([16]byte(src))
	default:
		return errors.New("a uuid must have 16 bytes")
	}
	switch t := target.(type) {
	case *domain.DeliveryID:
		*t = domain.DeliveryID(text)
	case *domain.IntegrationID:
		*t = domain.IntegrationID(text)
	case *domain.OrgID:
		*t = domain.OrgID(text)
	case *domain.BookingID:
		*t = domain.BookingID(text)
	case *domain.ResourceID:
		*t = domain.ResourceID(text)
	case *rowID:
		*t = rowID(text)
	case *string:
		*t = text
	default:
		reflect.ValueOf(target).Elem().SetString(text)
	}
	return nil
}

// arrayOf wraps a slice as a parameter of an array type without reflection over the slice.
func arrayOf[T any](s []T) pgtype.FlatArray[T] { return pgtype.FlatArray[T](s) }

// column collects one column of rows for an unnest.
func column[R, T any](rows []R, f func(R) T) pgtype.FlatArray[T] {
	out := make(pgtype.FlatArray[T], len(rows))
	for i, r := range rows {
		out[i] = f(r)
	}
	return out
}

// collect reads all rows of a query with one scan function, and closes them.
func collect[T any](rows pgx.Rows, err error, scan func(pgx.Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// collectMap reads all rows of a query for two columns, the first of which is unique, and closes them.
func collectMap[K comparable, V any](rows pgx.Rows, err error) (map[K]V, error) {
	if err != nil {
		return nil, err
	}
	out := map[K]V{}
	var key K
	var value V
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		out[key] = value
		return nil
	})
	return out, err
}

// idFloor is below every identifier made at t or later, and above every one made in an earlier millisecond.
func idFloor(t time.Time) rowID {
	var b [16]byte
	ms := uint64(min(max(t.UnixMilli(), 0), 1<<48-1))
	b[0], b[1], b[2], b[3], b[4], b[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	return rowID(domain.FormatUUID(b))
}

// idTime is when an identifier was made, to the millisecond; nil for what is none.
func idTime(id string) *time.Time {
	b, ok := domain.ParseUUID(id)
	if !ok {
		return nil
	}
	t := time.UnixMilli(int64(b[0])<<40 | int64(b[1])<<32 | int64(b[2])<<24 | int64(b[3])<<16 | int64(b[4])<<8 | int64(b[5])).UTC()
	return &t
}
