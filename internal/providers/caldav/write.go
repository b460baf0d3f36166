package caldav

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	goical "github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/ical"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Put writes the copy of a booking, or moves a source entry; see the package comment.
func (c *connection) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	done, err := c.put(ctx, w)
	if err != nil {
		return provider.Written{}, domain.E(domain.KindOf(err), "write to calendar: %w", err)
	}
	return done, nil
}

func (c *connection) put(ctx context.Context, w provider.Write) (provider.Written, error) {
	at, err := c.chosen()
	if err != nil {
		return provider.Written{}, err
	}
	if err := w.When.Validate("when"); err != nil {
		return provider.Written{}, err
	}
	if w.Source {
		return c.putSource(ctx, w)
	}
	if err := checkKey(w.Key); err != nil {
		return provider.Written{}, err
	}
	if _, ok := domain.ParseUUID(string(w.BookingID)); !ok {
		return provider.Written{}, domain.Invalid("booking_id", "must be a UUID")
	}
	if err := w.Details.Validate(); err != nil {
		return provider.Written{}, err
	}
	wish, err := c.compose(w)
	if err != nil {
		return provider.Written{}, err
	}
	t := target{write: w, body: wish, id: w.ExternalID}
	if t.id == "" {
		t.id = pathID(strings.TrimSuffix(at.Path, "/") + "/" + nameOf(w.Key))
		return c.create(ctx, t)
	}
	if w.Revision != "" {
		return c.update(ctx, t)
	}
	return c.putUnseen(ctx, t)
}

// target is a copy that is being written.
type target struct {
	write provider.Write
	body  []byte
	id    string // path
}

// create writes a copy that must not be there yet. One that is there is our own earlier try, or a conflict.
func (c *connection) create(ctx context.Context, t target) (provider.Written, error) {
	res, err := c.store(ctx, t.id, t.body, "If-None-Match", "*")
	switch {
	case err == nil:
		return c.written(ctx, t.id, etag(res.header.Get("ETag")), t.body)
	case res.status == http.StatusPreconditionFailed:
		return c.adopt(ctx, t, false)
	case precondition(res.response, caldavNS, "no-uid-conflict") || res.status == http.StatusConflict:
		// The UID is ours alone, so the copy exists under another name: a person's program moved it.
		id, found := c.findUID(ctx, uidOf(t.write.Key))
		if found != nil {
			return provider.Written{}, found
		}
		if id == "" {
			return provider.Written{}, err
		}
		t.id = id
		return c.adopt(ctx, t, false)
	}
	return provider.Written{}, err
}

// adopt takes over a copy that is there already, if its marker says that it is the one of this write. One that says
// something else is written over or left as it is.
func (c *connection) adopt(ctx context.Context, t target, over bool) (provider.Written, error) {
	current, err := c.get(ctx, t.id)
	if domain.KindOf(err) == domain.KindNotFound {
		return provider.Written{}, domain.E(domain.KindUnavailable, "the copy came and went while it was written")
	}
	if err != nil {
		return provider.Written{}, err
	}
	if !c.ours(t, current) {
		return provider.Written{}, domain.E(domain.KindConflict, "the name of the copy is taken by an entry that is not ours")
	}
	if done, same := c.sameAs(t, current); same {
		return done, nil
	}
	if !over {
		have, err := c.single(t.id, current.etag, current.data)
		if err != nil {
			return provider.Written{}, err
		}
		return provider.Written{ExternalID: t.id, UID: have.UID, Revision: current.etag, ReadBack: have, Adopted: true}, nil
	}
	t.write.Revision = current.etag
	return c.replace(ctx, t)
}

// update writes a copy whose revision is known. When it is no longer that revision, an earlier try with a lost answer
// may be the reason: then the copy already is what it should be.
func (c *connection) update(ctx context.Context, t target) (provider.Written, error) {
	done, err := c.replace(ctx, t)
	if kind := domain.KindOf(err); kind != domain.KindConflict && kind != domain.KindNotFound {
		return done, err
	}
	current, getErr := c.get(ctx, t.id)
	if domain.KindOf(getErr) == domain.KindNotFound {
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was removed since it was read")
	}
	if getErr != nil {
		return provider.Written{}, getErr
	}
	if c.ours(t, current) {
		if done, same := c.sameAs(t, current); same {
			return done, nil
		}
	}
	return provider.Written{}, domain.E(domain.KindConflict, "the copy was changed since it was read")
}

// putUnseen writes a copy of known name but unknown revision: only if it is absent or ours.
func (c *connection) putUnseen(ctx context.Context, t target) (provider.Written, error) {
	if strings.Contains(t.id, "#") {
		return provider.Written{}, domain.Invalid("external_id", "names an instance of a series, which is never a copy of ours")
	}
	_, err := c.get(ctx, t.id)
	switch domain.KindOf(err) {
	case domain.KindNotFound:
		return c.create(ctx, t)
	case "":
		return c.adopt(ctx, t, true)
	}
	return provider.Written{}, err
}

func (c *connection) replace(ctx context.Context, t target) (provider.Written, error) {
	res, err := c.store(ctx, t.id, t.body, "If-Match", t.write.Revision)
	if res.status == http.StatusPreconditionFailed {
		return provider.Written{}, domain.E(domain.KindConflict, "the copy was changed since it was read: %w", err)
	}
	if err != nil {
		return provider.Written{}, err
	}
	return c.written(ctx, t.id, etag(res.header.Get("ETag")), t.body)
}

func (c *connection) ours(t target, current stored) bool {
	r, err := c.read(t.id, current.etag, current.data)
	if err != nil || r == nil || r.Master == nil {
		return false
	}
	_, key, ok := markerKey(r.Master.Component, r.UID)
	return ok && key == t.write.Key
}

// sameAs reports whether the stored copy already says what the write wants.
func (c *connection) sameAs(t target, current stored) (provider.Written, bool) {
	want, err := c.single(t.id, "", t.body)
	if err != nil {
		return provider.Written{}, false
	}
	have, err := c.single(t.id, current.etag, current.data)
	if err != nil || have.Hash() != want.Hash() || have.Origin != want.Origin {
		return provider.Written{}, false
	}
	return provider.Written{ExternalID: t.id, UID: have.UID, Revision: current.etag, ReadBack: have}, true
}

// single reads the one change that a resource or an instance makes.
func (c *connection) single(id, tag string, raw []byte) (domain.Change, error) {
	path, instance, isInstance := strings.Cut(id, "#")
	r, err := c.read(path, tag, raw)
	if err != nil {
		return domain.Change{}, err
	}
	gone := domain.E(domain.KindNotFound, "the entry no longer exists in its resource")
	if r == nil {
		return domain.Change{}, gone
	}
	if isInstance {
		wall, ok := parseInstanceID(instance)
		if !ok {
			return domain.Change{}, domain.Invalid("external_id", "ends in something that names no instance")
		}
		ch, found, err := c.instance(r, wall)
		if err != nil {
			return domain.Change{}, err
		}
		if !found || ch.ExternalID != id {
			return domain.Change{}, gone
		}
		return ch, ch.Validate()
	}
	if r.Repeats() {
		return domain.Change{}, gone
	}
	span := domain.Span{}
	if r.Master.HasStart {
		span = r.Master.Span()
	}
	ch := c.change(r, *r.Master, span, "")
	return ch, ch.Validate()
}

// written describes a copy after a PUT. Without an ETag in the answer the server may have stored something else than
// was sent (RFC 4791 section 5.3.4), so it is read.
func (c *connection) written(ctx context.Context, id, tag string, body []byte) (provider.Written, error) {
	if tag == "" {
		path, _, _ := strings.Cut(id, "#")
		current, err := c.get(ctx, path)
		if domain.KindOf(err) == domain.KindNotFound {
			return provider.Written{}, domain.E(domain.KindUnavailable, "the entry vanished right after it was written")
		}
		if err != nil {
			return provider.Written{}, fmt.Errorf("read what was written: %w", err)
		}
		tag, body = current.etag, current.data
	}
	ch, err := c.single(id, tag, body)
	if err != nil {
		return provider.Written{}, fmt.Errorf("read what was written: %w", err)
	}
	return provider.Written{ExternalID: id, UID: ch.UID, Revision: tag, ReadBack: ch}, nil
}

// Read returns the entry as it is now. NotFound needs a calendar that is there: a calendar that is gone or no longer
// shared says nothing about its entries.
func (c *connection) Read(ctx context.Context, externalID string) (domain.Change, error) {
	path, _, _ := strings.Cut(externalID, "#")
	current, err := c.get(ctx, path)
	if err == nil {
		var ch domain.Change
		if ch, err = c.single(externalID, current.etag, current.data); err == nil {
			return ch, nil
		}
	} else if domain.KindOf(err) == domain.KindNotFound {
		if _, gone := c.collectionKind(ctx, c.collection); gone != nil {
			kind := domain.KindOf(gone)
			if kind == domain.KindNotFound {
				kind = domain.KindPermanent
			}
			err = domain.E(kind, "the calendar itself does not answer for its entries: %w", gone)
		}
	}
	return domain.Change{}, domain.E(domain.KindOf(err), "read from calendar: %w", err)
}

// stored is a resource as the server has it.
type stored struct {
	etag string
	data []byte
}

func (c *connection) get(ctx context.Context, path string) (stored, error) {
	u, err := c.resourceURL(path)
	if err != nil {
		return stored{}, err
	}
	res, err := c.send(ctx, call{method: http.MethodGet, url: u, header: map[string]string{"Accept": "text/calendar"}})
	if err != nil {
		return stored{}, err
	}
	if res.Status != http.StatusOK || !bytes.Contains(res.Body[:min(len(res.Body), 64)], []byte("BEGIN:VCALENDAR")) {
		return stored{}, domain.E(domain.KindUnavailable, "the server answered GET with something that is no calendar resource (status %d)", res.Status)
	}
	return stored{etag: etag(res.Header.Get("ETag")), data: res.Body}, nil
}

// outcome is the answer to a write. status is the one that counts, also when the server hid it in a 207.
type outcome struct {
	status   int
	header   http.Header
	response *httpx.Response
}

// store sends a PUT under a condition. Only 200, 201 and 204 are success.
func (c *connection) store(ctx context.Context, path string, body []byte, condition, value string) (outcome, error) {
	if len(path) > domain.MaxExternalID {
		return outcome{}, domain.Invalid("settings.calendar", "its address is too long for the names of copies")
	}
	u, err := c.resourceURL(path)
	if err != nil {
		return outcome{}, err
	}
	res, err := c.send(ctx, call{method: http.MethodPut, url: u, body: string(body),
		header: map[string]string{"Content-Type": "text/calendar; charset=utf-8", condition: value}})
	return judge(res, err, http.StatusOK, http.StatusCreated, http.StatusNoContent)
}

// judge reads the answer to a write. A 207 is looked into: a server may wrap a refusal in it.
func judge(res *httpx.Response, err error, good ...int) (outcome, error) {
	if res == nil {
		return outcome{}, err
	}
	out := outcome{status: res.Status, header: res.Header, response: res}
	if err != nil {
		return out, err
	}
	for _, status := range good {
		if res.Status == status {
			return out, nil
		}
	}
	if res.Status != http.StatusMultiStatus {
		return out, domain.E(domain.KindUnavailable, "the server answered a write with status %d, which proves nothing", res.Status)
	}
	var ms multistatus
	if xml.Unmarshal(res.Body, &ms) != nil || len(ms.Responses) == 0 {
		return out, domain.E(domain.KindUnavailable, "the server answered a write with a 207 that cannot be read")
	}
	for _, r := range ms.Responses {
		lines := []string{r.Status}
		for _, p := range r.Propstat {
			lines = append(lines, p.Status)
		}
		for _, line := range lines {
			if code := statusCode(line); code != 0 && code/100 != 2 {
				out.status = code
				return out, refusal(code)
			}
			if line != "" && statusCode(line) == 0 {
				return out, domain.E(domain.KindUnavailable, "the server answered a write with a 207 that cannot be read")
			}
		}
	}
	return out, nil
}

// refusal is the error of a status inside a 207.
func refusal(code int) error {
	kind := domain.KindPermanent
	switch {
	case code == http.StatusUnauthorized:
		kind = domain.KindUnauthenticated
	case code == http.StatusForbidden:
		kind = domain.KindForbidden
	case code == http.StatusNotFound || code == http.StatusGone:
		kind = domain.KindNotFound
	case code == http.StatusConflict || code == http.StatusPreconditionFailed:
		kind = domain.KindConflict
	case code == http.StatusTooManyRequests:
		kind = domain.KindRateLimited
	case code == http.StatusLocked || code >= 500:
		kind = domain.KindUnavailable
	}
	return domain.E(kind, "the server refused a write with status %d inside a 207", code)
}

// Remove deletes a copy. One that is gone is success. Without a revision only an entry with our marker is deleted.
func (c *connection) Remove(ctx context.Context, externalID, revision string) error {
	if err := c.remove(ctx, externalID, revision); err != nil {
		return domain.E(domain.KindOf(err), "remove from calendar: %w", err)
	}
	return nil
}

func (c *connection) remove(ctx context.Context, externalID, revision string) error {
	if strings.Contains(externalID, "#") {
		return domain.Invalid("external_id", "names an instance of a series, which is never a copy of ours")
	}
	u, err := c.resourceURL(externalID)
	if err != nil {
		return err
	}
	if revision == "" {
		current, err := c.get(ctx, externalID)
		if domain.KindOf(err) == domain.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := c.read(externalID, current.etag, current.data)
		if err != nil || r == nil || r.Master == nil {
			return domain.E(domain.KindConflict, "the entry is not a copy of ours")
		}
		if _, _, ok := markerKey(r.Master.Component, r.UID); !ok || current.etag == "" {
			return domain.E(domain.KindConflict, "the entry is not a copy of ours")
		}
		revision = current.etag
	}
	res, err := c.send(ctx, call{method: http.MethodDelete, url: u, header: map[string]string{"If-Match": revision}})
	out, err := judge(res, err, http.StatusOK, http.StatusNoContent)
	switch out.status {
	case http.StatusNotFound, http.StatusGone:
		return nil
	case http.StatusPreconditionFailed:
		// If-Match also fails on what is not there.
		if _, gone := c.get(ctx, externalID); domain.KindOf(gone) == domain.KindNotFound {
			return nil
		}
		return domain.E(domain.KindConflict, "the copy was changed since it was read: %w", err)
	}
	return err
}

// findUID asks for the resource with a UID; "" when there is none.
func (c *connection) findUID(ctx context.Context, uid string) (string, error) {
	body := `<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/></prop><C:filter>` +
		`<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">` +
		escapeXML(uid) + `</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
	ms, _, err := c.ask(ctx, call{method: "REPORT", url: c.collection, body: body}, "1")
	if err != nil {
		return "", err
	}
	for _, r := range ms.Responses {
		p, err := r.path()
		if err != nil {
			return "", err
		}
		if isMember(c.collection, p) {
			return pathID(p), nil
		}
	}
	return "", nil
}

// compose writes the iCalendar object of a copy.
func (c *connection) compose(w provider.Write) ([]byte, error) {
	ev := goical.NewComponent(goical.CompEvent)
	set := func(name, value string) { ev.Props.Set(&goical.Prop{Name: name, Value: value}) }
	stamp := c.now().UTC().Format(utcLayout)
	set(goical.PropUID, uidOf(w.Key))
	set(goical.PropDateTimeStamp, stamp)
	set(goical.PropLastModified, stamp)
	if first, end, ok := c.wholeDays(w.When); ok {
		ev.Props.Set(dateProp(goical.PropDateTimeStart, first))
		ev.Props.Set(dateProp(goical.PropDateTimeEnd, end))
	} else {
		set(goical.PropDateTimeStart, w.When.Start.UTC().Format(utcLayout))
		set(goical.PropDateTimeEnd, w.When.End.UTC().Format(utcLayout))
	}
	title := ical.Clean(w.Details.Title)
	if title == "" {
		title = "Busy"
	}
	for _, t := range []struct{ name, value string }{
		{goical.PropSummary, title}, {goical.PropLocation, ical.Clean(w.Details.Location)},
		{goical.PropDescription, ical.Clean(w.Details.Notes)}, {goical.PropContact, ical.Clean(w.Details.Contact)},
	} {
		if t.value != "" {
			set(t.name, escapeText(t.value))
		}
	}
	set(goical.PropStatus, statusText(w.Status))
	set(goical.PropTransparency, "OPAQUE")
	set(propMarker, marker(w.BookingID, w.Key))
	if w.Category.Valid() {
		set(propCategory, string(w.Category))
	}
	cal := goical.NewCalendar()
	cal.Props.SetText(goical.PropVersion, "2.0")
	cal.Props.SetText(goical.PropProductID, "-//WedSync//WedSync//EN")
	cal.Children = append(cal.Children, ev)
	var b bytes.Buffer
	if err := goical.NewEncoder(&b).Encode(cal); err != nil {
		return nil, domain.E(domain.KindInternal, "write the copy as iCalendar")
	}
	return fold(b.Bytes()), nil
}

const utcLayout = "20060102T150405Z"

func dateProp(name string, d calendartime.Date) *goical.Prop {
	return &goical.Prop{Name: name, Params: goical.Params{"VALUE": {"DATE"}}, Value: fmt.Sprintf("%04d%02d%02d", d.Year, int(d.Month), d.Day)}
}

// wholeDays gives the days of an all-day time, if a reader in the resource's zone sees the same instants. In another
// zone the same days would be other hours, and then the hours count.
func (c *connection) wholeDays(w domain.When) (first, end calendartime.Date, ok bool) {
	if w.Kind != domain.TimeAllDay {
		return first, end, false
	}
	return calendartime.WholeDays(w.Span, c.local.Loc)
}

func statusText(s domain.BookingStatus) string {
	switch s {
	case domain.StatusTentative:
		return "TENTATIVE"
	case domain.StatusCancelled:
		return "CANCELLED"
	case domain.StatusConfirmed:
	}
	return "CONFIRMED"
}
