package store

import (
	"fmt"
	"strconv"
	"strings"
)

// query builds a statement from conditions that are present or not. Values only ever become parameters.
type query struct {
	sql  strings.Builder
	args []any
	word string
}

func newQuery(head string) *query {
	q := &query{word: " WHERE "}
	q.sql.WriteString(head)
	return q
}

// where adds a condition; each %s stands for one value.
func (q *query) where(condition string, values ...any) {
	q.sql.WriteString(q.word)
	q.word = " AND "
	q.add(condition, values...)
}

// add appends text; each %s stands for one value.
func (q *query) add(text string, values ...any) {
	names := make([]any, len(values))
	for i, v := range values {
		q.args = append(q.args, v)
		names[i] = "$" + strconv.Itoa(len(q.args))
	}
	fmt.Fprintf(&q.sql, text, names...)
}

func (q *query) text() string { return q.sql.String() }
