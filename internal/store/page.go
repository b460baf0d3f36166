package store

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Limits of a page.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// Page asks for a part of a list.
type Page struct {
	Limit int    // 1..200; 0 means 50
	After string // cursor that the page before returned; "" starts at the beginning
}

func (p Page) limit() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultPage, nil
	case p.Limit < 0 || p.Limit > MaxPage:
		return 0, domain.Invalid("limit", "must be 1 to %d, is %d", MaxPage, p.Limit)
	}
	return p.Limit, nil
}

// afterID reads a cursor that is the identifier of the last row seen; empty is the value to begin at.
func (p Page) afterID(empty string) (rowID, error) {
	if p.After == "" {
		return rowID(empty), nil
	}
	if _, ok := domain.ParseUUID(p.After); !ok {
		return "", badCursor()
	}
	return rowID(p.After), nil
}

func badCursor() error { return domain.Invalid("after", "is not a cursor of this list") }

// cut takes the surplus row that was read to learn whether there are more, and names the cursor of the next page.
func cut[T any](rows []T, limit int, cursor func(T) string) ([]T, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, cursor(rows[limit-1])
}

// newestFirst reads a page of the rows that q selects so far, newest first: their ids, which id returns, order by time. what names
// the list in errors.
func newestFirst[T any](ctx context.Context, tx *Tx, what string, q *query, p Page, scan func(pgx.Row) (T, error), id func(T) string) ([]T, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	before, err := p.afterID(lastUUID)
	if err != nil {
		return nil, "", err
	}
	q.where("id < %s", before)
	q.add(" ORDER BY id DESC LIMIT %s", limit+1)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scan)
	if err != nil {
		return nil, "", fault("list "+what, err)
	}
	all, next := cut(all, limit, id)
	return all, next, nil
}

// timeCursor orders by an instant, then by identifier.
func timeCursor(t time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(t.UnixMicro(), 10) + " " + id))
}

func parseTimeCursor(s string) (time.Time, string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, "", badCursor()
	}
	at, id, _ := strings.Cut(string(raw), " ")
	micro, err := strconv.ParseInt(at, 10, 64)
	if _, ok := domain.ParseUUID(id); err != nil || !ok {
		return time.Time{}, "", badCursor()
	}
	return time.UnixMicro(micro).UTC(), id, nil
}
