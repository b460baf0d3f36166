package custom

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Sample is one thing that a definition does, with the exchanges that it takes, as recorded or as documented, and what is
// to come out of it.
type Sample struct {
	Name string `json:"name"`
	Do   string `json:"do"` // list, read, probe, webhook, create, update or remove
	// Since makes the listing begin where an earlier one ended: a token, or with a watermark a time in RFC 3339.
	Since      string           `json:"since,omitempty"`
	ExternalID string           `json:"external_id,omitempty"` // for read, update and remove
	Entry      *SampleEntry     `json:"entry,omitempty"`       // for create and update
	Delivery   *SampleDelivery  `json:"delivery,omitempty"`    // for webhook
	Exchanges  []SampleExchange `json:"exchanges,omitempty"`   // in their order
	Expect     SampleExpect     `json:"expect"`
}

// SampleEntry is what is to be written.
type SampleEntry struct {
	BookingID string `json:"booking_id,omitempty"`
	Key       string `json:"key,omitempty"`
	Revision  string `json:"revision,omitempty"`
	Category  string `json:"category"`
	Status    string `json:"status,omitempty"` // default confirmed
	Start     string `json:"start"`            // RFC 3339
	End       string `json:"end"`
	Zone      string `json:"zone,omitempty"` // default UTC
	AllDay    bool   `json:"all_day,omitempty"`
	Source    bool   `json:"source,omitempty"`
	Title     string `json:"title,omitempty"`
	Location  string `json:"location,omitempty"`
	Notes     string `json:"notes,omitempty"`
	Contact   string `json:"contact,omitempty"`
}

// SampleDelivery is a webhook after its verification.
type SampleDelivery struct {
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
	Text    string            `json:"text,omitempty"` // in place of Body: a form or XML
}

// SampleExchange is a request and its answer.
type SampleExchange struct {
	Request SampleRequest `json:"request"`
	Answer  SampleAnswer  `json:"answer"`
}

// SampleRequest is what must be asked. The query must be exactly this one, without credentials; of headers only those
// named are compared, of a body everything where one is given.
type SampleRequest struct {
	Method  string            `json:"method,omitempty"` // default GET
	Path    string            `json:"path"`             // after base_url
	Query   map[string]string `json:"query,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// SampleAnswer is what the system answers.
type SampleAnswer struct {
	Status  int               `json:"status,omitempty"` // default 200
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
	Text    string            `json:"text,omitempty"` // in place of Body
}

// SampleExpect is what must come out.
type SampleExpect struct {
	Changes  []SampleChange `json:"changes,omitempty"`  // all of them, in their order; of a write the copy as it is stored
	Problems int            `json:"problems,omitempty"` // entries that cannot be understood
	Complete *bool          `json:"complete,omitempty"` // the listing named everything that there is
	Ignored  bool           `json:"ignored,omitempty"`  // a rule drops the delivery
	Error    string         `json:"error,omitempty"`    // kind of the error, such as rate_limited
}

// SampleChange is a change; what is left out is not compared.
type SampleChange struct {
	Op         string `json:"op,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
	Category   string `json:"category,omitempty"`
	Status     string `json:"status,omitempty"`
	Start      string `json:"start,omitempty"` // RFC 3339, or a date for whole days
	End        string `json:"end,omitempty"`
	Zone       string `json:"zone,omitempty"`
	AllDay     *bool  `json:"all_day,omitempty"`
	Title      string `json:"title,omitempty"`
	Location   string `json:"location,omitempty"`
	Notes      string `json:"notes,omitempty"`
	Contact    string `json:"contact,omitempty"`
	Private    *bool  `json:"private,omitempty"`
	Free       *bool  `json:"free,omitempty"`
	Revision   string `json:"revision,omitempty"`
	Origin     string `json:"origin,omitempty"`
}

// Bounds of samples.
const (
	samplesTime  = 30 * time.Second
	maxExchanges = 100
)

// samples carries the samples out and returns how many there were.
func (l *linter) samples(ctx context.Context, c *connection, all []Sample) int {
	if len(all) == 0 {
		l.add(SeverityWarning, "", "no samples: recorded answers with what they mean keep the definition true")
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, samplesTime)
	defer cancel()
	play, err := newPlayer()
	if err != nil {
		l.add(SeverityError, "samples", "cannot be run on this machine: %s", err)
		return 0
	}
	defer play.close()
	names := map[string]bool{}
	for i, s := range all {
		path := "samples[" + strconv.Itoa(i) + "]"
		if s.Name == "" || names[s.Name] {
			l.add(SeverityError, path, "needs a name of its own")
		}
		names[s.Name] = true
		if len(s.Exchanges) > maxExchanges {
			l.add(SeverityError, path+".exchanges", "at most %d", maxExchanges)
			continue
		}
		l.sample(ctx, play, c, s, path)
	}
	return len(all)
}

// sample carries one out.
func (l *linter) sample(ctx context.Context, play *player, real *connection, s Sample, path string) {
	fail := func(at, format string, args ...any) { l.add(SeverityError, path+at, format, args...) }
	c := *real
	c.now = func() time.Time { return time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC) }
	c.pace = nil
	hide := real.auth.hide
	c.auth = &authorizer{sign: func(*http.Request) {}, hide: hide}
	c.client = play
	play.begin(s.Exchanges, real.base)
	out, err := c.play(ctx, s)
	var bad *sampleFault
	if errors.As(err, &bad) {
		fail(bad.at, "%s", bad.text)
		return
	}
	asked, faults := play.end()
	for _, f := range faults {
		fail(".exchanges["+strconv.Itoa(f.exchange)+"].request", "%s", f.text)
	}
	if len(faults) > 0 {
		return
	}
	if asked < len(s.Exchanges) {
		fail(".exchanges["+strconv.Itoa(asked)+"]", "was not asked for")
	}
	switch {
	case err != nil && s.Expect.Error == "":
		fail("", "ends with an error: %s", err)
		return
	case err != nil && string(domain.KindOf(err)) != s.Expect.Error:
		fail(".expect.error", "the error is %s: %s", domain.KindOf(err), err)
		return
	case err == nil && s.Expect.Error != "":
		fail(".expect.error", "there is no error")
		return
	}
	if len(out.problems) != s.Expect.Problems {
		text := ""
		if len(out.problems) > 0 {
			text = ": " + out.problems[0].Error()
		}
		fail(".expect.problems", "%d entries cannot be understood%s", len(out.problems), text)
	}
	if want := s.Expect.Complete; want != nil && *want != out.complete {
		fail(".expect.complete", "is %t", out.complete)
	}
	if s.Expect.Ignored != out.ignored {
		fail(".expect.ignored", "is %t", out.ignored)
	}
	if len(out.changes) != len(s.Expect.Changes) {
		fail(".expect.changes", "%d changes come out, not %d", len(out.changes), len(s.Expect.Changes))
		return
	}
	for i, want := range s.Expect.Changes {
		for _, d := range want.differences(out.changes[i]) {
			fail(".expect.changes["+strconv.Itoa(i)+"]."+d.field, "is %s", d.is)
		}
	}
}

// sampleFault is a sample that cannot be carried out.
type sampleFault struct{ at, text string }

func (e *sampleFault) Error() string { return e.text }

// played is what came of a sample.
type played struct {
	changes  []domain.Change
	problems []error
	complete bool
	ignored  bool
}

func (c *connection) play(ctx context.Context, s Sample) (out played, err error) {
	lacks := func(part string) error { return &sampleFault{".do", "the definition has no part " + part} }
	one := func(change domain.Change, err error) (played, error) {
		if err != nil {
			return played{}, err
		}
		return played{changes: []domain.Change{change}}, nil
	}
	switch s.Do {
	case "list":
		if c.list == nil {
			return out, lacks("list")
		}
		return c.playList(ctx, s)
	case "read":
		if c.read == nil {
			return out, lacks("read")
		}
		return one(c.readEntry(ctx, s.ExternalID))
	case "probe":
		if c.probe == nil {
			return out, lacks("probe")
		}
		return out, probes{c}.Probe(ctx)
	case "webhook":
		if c.webhook == nil {
			return out, lacks("webhook")
		}
		return c.playHook(ctx, s)
	case "create", "update":
		if c.write == nil || s.Do == "update" && c.write.update == nil {
			return out, lacks("write." + s.Do)
		}
		wish, err := s.wish()
		if err != nil {
			return out, err
		}
		done, err := writes{c}.Put(ctx, wish)
		return one(done.ReadBack, err)
	case "remove":
		if c.write == nil {
			return out, lacks("write")
		}
		revision := ""
		if s.Entry != nil {
			revision = s.Entry.Revision
		}
		return out, writes{c}.Remove(ctx, s.ExternalID, revision)
	}
	return out, &sampleFault{".do", "must be list, read, probe, webhook, create, update or remove"}
}

func (c *connection) playList(ctx context.Context, s Sample) (out played, err error) {
	cursor := ""
	if s.Since != "" {
		start := cursorOf(c, s.Since)
		if c.list.mark != nil && c.list.mark.of != nil {
			if _, ok := parseMark(s.Since); !ok {
				return out, &sampleFault{".since", "must be a time in RFC 3339"}
			}
		}
		cursor = start.encode()
	}
	for {
		page, err := lists{c}.Pull(ctx, cursor)
		if err != nil {
			return out, err
		}
		out.changes = append(out.changes, page.Changes...)
		for _, p := range page.Problems {
			out.problems = append(out.problems, p.Err)
		}
		if !page.More {
			out.complete = page.Complete
			return out, nil
		}
		cursor = page.Next
	}
}

// cursorOf is where a listing ended.
func cursorOf(c *connection, since string) cursor {
	return cursor{Version: 1, Fingerprint: c.fingerprint, Since: since, Full: c.now().Unix()}
}

func (c *connection) playHook(ctx context.Context, s Sample) (out played, err error) {
	if s.Delivery == nil {
		return out, &sampleFault{"", "needs a delivery"}
	}
	hook := provider.Webhook{Header: http.Header{}, Body: s.Delivery.Body, ReceivedAt: c.now()}
	if s.Delivery.Text != "" {
		hook.Body = []byte(s.Delivery.Text)
	}
	for name, value := range s.Delivery.Headers {
		hook.Header.Set(name, value)
	}
	got, err := hooks{c}.Decode(ctx, hook)
	return played{changes: got.Changes, ignored: got.Ignore != ""}, err
}

// wish is the write of a sample.
func (s Sample) wish() (provider.Write, error) {
	e := s.Entry
	if e == nil {
		return provider.Write{}, &sampleFault{"", "needs an entry"}
	}
	w := provider.Write{Key: e.Key, BookingID: domain.BookingID(e.BookingID), ExternalID: s.ExternalID, Revision: e.Revision, Category: domain.Category(e.Category),
		Status: domain.BookingStatus(e.Status), Source: e.Source,
		Details: domain.Details{Title: e.Title, Location: e.Location, Notes: e.Notes, Contact: e.Contact}}
	if w.Status == "" {
		w.Status = domain.StatusConfirmed
	}
	w.When = domain.When{Zone: e.Zone, Kind: domain.TimeZoned}
	if w.When.Zone == "" {
		w.When.Zone = "UTC"
	}
	if e.AllDay {
		w.When.Kind = domain.TimeAllDay
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"start", e.Start, &w.When.Start}, {"end", e.End, &w.When.End}} {
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return w, &sampleFault{".entry." + t.name, "must be a time in RFC 3339"}
		}
		*t.to = at.UTC()
	}
	return w, nil
}

// difference is a field in which a change is something else.
type difference struct{ field, is string }

// differences compares what a sample names. Samples hold invented people, so values may be shown.
func (want SampleChange) differences(c domain.Change) (out []difference) {
	text := func(field, want, is string) {
		if want != "" && want != is {
			out = append(out, difference{field, strconv.Quote(is)})
		}
	}
	flag := func(field string, want *bool, is bool) {
		if want != nil && *want != is {
			out = append(out, difference{field, strconv.FormatBool(is)})
		}
	}
	moment := func(field, want string, is time.Time) {
		if want == "" {
			return
		}
		if t, err := time.Parse(time.RFC3339, want); err == nil && t.Equal(is) {
			return
		}
		loc, err := time.LoadLocation(c.When.Zone)
		if err != nil {
			loc = time.UTC
		}
		if c.When.Kind == domain.TimeAllDay && is.In(loc).Format(time.DateOnly) == want {
			return
		}
		out = append(out, difference{field, is.In(loc).Format(time.RFC3339)})
	}
	text("op", want.Op, string(c.Op))
	text("external_id", want.ExternalID, c.ExternalID)
	text("category", want.Category, string(c.Category))
	text("status", want.Status, string(c.Status))
	moment("start", want.Start, c.When.Start)
	moment("end", want.End, c.When.End)
	text("zone", want.Zone, c.When.Zone)
	flag("all_day", want.AllDay, c.When.Kind == domain.TimeAllDay)
	text("title", want.Title, c.Details.Title)
	text("location", want.Location, c.Details.Location)
	text("notes", want.Notes, c.Details.Notes)
	text("contact", want.Contact, c.Details.Contact)
	flag("private", want.Private, c.Private)
	flag("free", want.Free, c.Free)
	text("revision", want.Revision, c.Revision)
	text("origin", want.Origin, string(c.Origin))
	return out
}
