package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (it *item) etag() string { return fmt.Sprintf(`W/"ck%d=="`, it.change) }

const clock = "2006-01-02T15:04:05.0000000"

// times writes the times of an event in the zone that the request prefers, under its Windows name unless the
// preference named another.
func (s *Server) times(r *http.Request, e Event) (start, end map[string]any) {
	zone := preference(r, "outlook.timezone")
	loc := location(zone)
	if loc == nil {
		zone, loc = "UTC", time.UTC
	}
	if e.AllDay {
		loc = time.UTC
	}
	in := func(t time.Time) map[string]any {
		return map[string]any{"dateTime": t.In(loc).Format(clock), "timeZone": zone}
	}
	return in(e.Start), in(e.End)
}

// render is an event as Graph shows it. o is the occurrence of a master that is meant. It needs the lock.
func (s *Server) render(r *http.Request, it *item, o *occurrence, expand string) map[string]any {
	immutable := prefers(r, `IdType="ImmutableId"`)
	pick := func(a, b string) string {
		if immutable {
			return a
		}
		return b
	}
	e, kind, id, master := it.ev, "singleInstance", pick(it.id, it.mutable), any(nil)
	switch {
	case o != nil:
		e, kind, id, master = it.at(*o), "occurrence", pick(occurrenceIDs(it, o.date)), pick(it.id, it.mutable)
	case it.master != nil:
		kind, master = "exception", pick(it.master.id, it.master.mutable)
	case it.repeats():
		kind = "seriesMaster"
	}
	start, end := s.times(r, e)
	body := map[string]any{"contentType": "html", "content": "<html><body>" + e.Body + "</body></html>"}
	if preference(r, "outlook.body-content-type") == "text" {
		body = map[string]any{"contentType": "text", "content": strings.ReplaceAll(e.Body, "\n", "\r\n") + "\r\n"}
	}
	preview := []rune(e.Body)
	out := map[string]any{
		"@odata.etag": it.etag(), "id": id, "changeKey": fmt.Sprintf("ck%d==", it.change), "type": kind, "seriesMasterId": master,
		"createdDateTime": it.created.Format(clock + "Z"), "lastModifiedDateTime": it.modified.Format(clock + "Z"),
		"categories": append([]string{}, e.Categories...), "transactionId": nil,
		"originalStartTimeZone": e.Zone, "originalEndTimeZone": e.Zone,
		"iCalUId": "040000008200E00074C5B7101A82E008" + it.id[4:20], "subject": e.Subject, "bodyPreview": string(preview[:min(len(preview), 255)]),
		"body": body, "sensitivity": e.Sensitivity, "isAllDay": e.AllDay, "isCancelled": e.Cancelled, "isOrganizer": e.Answer == "organizer",
		"showAs": e.ShowAs, "responseStatus": map[string]any{"response": e.Answer, "time": "0001-01-01T00:00:00Z"},
		"start": start, "end": end, "location": map[string]any{"displayName": e.Location, "locationType": "default"},
		"attendees": []any{}, "recurrence": nil, "isReminderOn": false, "hasAttachments": false, "importance": "normal",
	}
	if it.transaction != "" {
		out["transactionId"] = it.transaction
	}
	if e.NoText {
		out["subject"], out["body"], out["iCalUId"], out["location"] = nil, nil, nil, nil
	}
	if kind == "seriesMaster" {
		out["recurrence"] = map[string]any{"pattern": map[string]any{"type": "daily", "interval": e.Repeat.Days},
			"range": map[string]any{"type": "numbered", "numberOfOccurrences": e.Repeat.Count, "recurrenceTimeZone": e.Zone}}
	}
	if strings.HasPrefix(expand, "singleValueExtendedProperties(") {
		var props []any
		for id, value := range it.props {
			if strings.Contains(expand, "'"+id+"'") {
				props = append(props, map[string]any{"id": id, "value": value})
			}
		}
		if len(props) > 0 {
			slices.SortFunc(props, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			out["singleValueExtendedProperties"] = props
		}
	}
	return out
}
