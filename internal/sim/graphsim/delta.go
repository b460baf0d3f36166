package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// position is what a token of a delta holds.
type position struct {
	Epoch      int
	Start, End time.Time
	From       int64  // changes after this revision
	To         int64  // where the next delta begins
	After      string // the last entity of the page before
}

func (p position) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("graphsim: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *Server) delta(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cal := s.pathCalendar(w, r)
	if cal == nil {
		return
	}
	q := r.URL.Query()
	for _, no := range []string{"$select", "$expand", "$filter", "$orderby", "$search"} {
		if q.Has(no) {
			refuse(w, http.StatusBadRequest, "ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking over the 'CalendarView' resource: "+no)
			return
		}
	}
	var at position
	token := q.Get("$deltatoken") + q.Get("$skiptoken")
	if token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || json.Unmarshal(raw, &at) != nil || at.Epoch != s.epoch {
			s.reset(w, r)
			return
		}
	} else {
		var ok [2]bool
		at.Start, ok[0] = bound(q.Get("startDateTime"))
		at.End, ok[1] = bound(q.Get("endDateTime"))
		if !ok[0] || !ok[1] || !at.End.After(at.Start) {
			refuse(w, http.StatusBadRequest, "ErrorInvalidParameter", "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
			return
		}
		at.Epoch = s.epoch
	}
	if at.To == 0 {
		at.To = s.rev
	}
	rows, last, more := s.page(r, cal, at)
	answer := map[string]any{"@odata.context": "$metadata#Collection(event)", "value": rows}
	link := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path}
	if s.opt.LooseLinks {
		link.Host = "graph.example.net"
	}
	if more {
		next := at
		next.After = last
		if at.After == "" {
			switch repeat, skip := s.astray(); {
			case repeat:
				next.After = ""
			case skip:
				_, next.After, _ = s.page(r, cal, next)
			}
		}
		link.RawQuery = "$skiptoken=" + next.String()
		answer["@odata.nextLink"] = link.String()
	} else {
		link.RawQuery = "$deltatoken=" + position{Epoch: at.Epoch, Start: at.Start, End: at.End, From: at.To}.String()
		answer["@odata.deltaLink"] = link.String()
	}
	reply(w, http.StatusOK, answer)
}

// bound reads a bound of the window; without an offset it is UTC.
func bound(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.9999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func (s *Server) reset(w http.ResponseWriter, r *http.Request) {
	switch s.opt.ResetBy {
	case ResetSyncState:
		refuse(w, http.StatusBadRequest, "syncStateNotFound", "The sync state generation is not found; continue with a full synchronization.")
	case ResetNotFound:
		refuse(w, http.StatusNotFound, "SyncStateNotFound", "The sync state generation is not found.")
	case ResetGone:
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?$deltatoken=")
		refuse(w, http.StatusGone, "SyncStateInvalid", "The sync state is no longer valid.")
	}
}

// page lists entities after the position. A series is never split. Ids order it, so neither time nor change does.
func (s *Server) page(r *http.Request, cal *calendar, at position) (rows []any, last string, more bool) {
	size := s.opt.PageSize
	if n := preference(r, "odata.maxpagesize"); n != "" {
		if asked, err := strconv.Atoi(n); err == nil && asked > 0 {
			size = min(asked, s.opt.MaxPage)
		}
	}
	var ids []string
	for id, it := range s.items {
		if it.cal == cal && it.rev > at.From && id > at.After {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	rows = []any{}
	for _, id := range ids {
		if len(rows) >= size {
			return rows, last, true
		}
		rows = append(rows, s.rows(r, s.items[id], at)...)
		last = id
	}
	return rows, last, false
}

// rows is what a delta tells of one entity.
func (s *Server) rows(r *http.Request, it *item, at position) []any {
	immutable := prefers(r, `IdType="ImmutableId"`)
	id := func(a, b string) string {
		if immutable {
			return a
		}
		return b
	}
	removed := func(id string) any {
		return map[string]any{"@odata.type": "#microsoft.graph.event", "id": id, "@removed": map[string]any{"reason": "deleted"}}
	}
	first := at.From == 0
	inside := func(start, end time.Time) bool { return start.Before(at.End) && end.After(at.Start) }
	if !it.repeats() {
		switch {
		case !it.deleted && inside(it.ev.Start, it.ev.End):
			rows := []any{s.render(r, it, nil, "")}
			if s.opt.Replays && it.before != nil {
				rows = append(rows, s.render(r, it.before, nil, ""))
			}
			return rows
		case first:
			return nil
		}
		return []any{removed(id(it.id, it.mutable))}
	}
	if it.deleted {
		if first {
			return nil
		}
		return []any{removed(id(it.id, it.mutable))}
	}
	var rows []any
	if s.opt.RemovedOccurrences {
		for date, rev := range it.gone {
			if rev > at.From && !first {
				rows = append(rows, removed(id(occurrenceIDs(it, date))))
			}
		}
	}
	some := false
	for _, o := range it.occurrences() {
		if !inside(o.start, o.end) {
			continue
		}
		some = true
		if o.exception != nil {
			rows = append(rows, s.render(r, o.exception, nil, ""))
			continue
		}
		a, b := occurrenceIDs(it, o.date)
		start, end := s.times(r, it.at(o))
		rows = append(rows, map[string]any{"@odata.type": "#microsoft.graph.event", "id": id(a, b), "type": "occurrence",
			"seriesMasterId": id(it.id, it.mutable), "start": start, "end": end})
	}
	switch {
	case some && !s.opt.NoMasters:
		rows = append(rows, s.render(r, it, nil, "")) // behind its occurrences: no order is promised
	case !some && !first:
		rows = append(rows, removed(id(it.id, it.mutable)))
	}
	return rows
}

// prefers reports whether the request states a preference.
func prefers(r *http.Request, what string) bool {
	return slices.ContainsFunc(preferences(r), func(p string) bool { return strings.EqualFold(p, what) })
}

// preference returns the value of a preference, without quotes.
func preference(r *http.Request, name string) string {
	for _, p := range preferences(r) {
		if k, v, ok := strings.Cut(p, "="); ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func preferences(r *http.Request) []string {
	var out []string
	for _, line := range r.Header.Values("Prefer") {
		for p := range strings.SplitSeq(line, ",") {
			out = append(out, strings.TrimSpace(p))
		}
	}
	return out
}
