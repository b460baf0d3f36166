package custom

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/wedsync/wedsync/internal/domain"
)

// mapper is a compiled Mapping. A nil program means that the field is not mapped.
type mapper struct {
	drop, op, externalID, uid, revision, remoteVersion *program
	category, status                                   *program
	start, end, allDay, zone                           *program
	title, location, notes, contact                    *program
	private, free, origin                              *program
	usesHeaders                                        bool
	paths                                              map[string]string // of the fields that are mapped, in the settings
	local                                              *time.Location    // of the resource
	hint                                               bool              // only names entries: nothing else is mapped
}

var (
	opNames       = []string{string(domain.OpUpsert), string(domain.OpRemove)}
	statusNames   = []string{string(domain.StatusConfirmed), string(domain.StatusTentative), string(domain.StatusCancelled)}
	categoryNames = func() (names []string) {
		for _, c := range domain.Categories() {
			names = append(names, string(c))
		}
		return names
	}()
)

// merged lays a part's mapping over the common one and tells for each JSON name where the winner was written.
func merged(common, own *Mapping, ownPath string) (Mapping, func(name string) string) {
	var out Mapping
	paths := map[string]string{}
	for _, layer := range []struct {
		m    *Mapping
		path string
	}{{common, "settings.mapping"}, {own, ownPath}} {
		if layer.m == nil {
			continue
		}
		from, to := reflect.ValueOf(*layer.m), reflect.ValueOf(&out).Elem()
		for f, v := range from.Fields() {
			if v.String() != "" {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				to.FieldByIndex(f.Index).Set(v)
				paths[name] = layer.path + "." + name
			}
		}
	}
	return out, func(name string) string {
		if p := paths[name]; p != "" {
			return p
		}
		return ownPath + "." + name
	}
}

// compileHint compiles what a mapping needs to name entries.
func compileHint(common, own *Mapping, ownPath string, local *time.Location) (*mapper, error) {
	// A drop of the common mapping is about whole entries, which are not here.
	var everywhere, here Mapping
	if common != nil {
		everywhere.ExternalID = common.ExternalID
	}
	if own != nil {
		here.ExternalID, here.Drop = own.ExternalID, own.Drop
	}
	here.Category, here.Start = "'hold'", "'2000-01-01'"
	m, err := compileMapping(&everywhere, &here, ownPath, local)
	if m != nil {
		m.hint, m.category, m.start = true, nil, nil
	}
	return m, err
}

// compileMapping compiles all fields and reports every wrong one.
func compileMapping(common, own *Mapping, ownPath string, local *time.Location) (*mapper, error) {
	m, pathOf := merged(common, own, ownPath)
	out := &mapper{local: local, paths: map[string]string{}}
	var faults []error
	for _, f := range []struct {
		name    string
		src     Expr
		to      **program
		want    want
		allowed []string
		needed  bool
	}{
		{"drop", m.Drop, &out.drop, wantBool, nil, false},
		{"op", m.Op, &out.op, wantText, opNames, false},
		{"external_id", m.ExternalID, &out.externalID, wantText, nil, true},
		{"uid", m.UID, &out.uid, wantText, nil, false},
		{"revision", m.Revision, &out.revision, wantText, nil, false},
		{"remote_version", m.RemoteVersion, &out.remoteVersion, wantVersion, nil, false},
		{"category", m.Category, &out.category, wantText, categoryNames, true},
		{"status", m.Status, &out.status, wantText, statusNames, false},
		{"start", m.Start, &out.start, wantTime, nil, true},
		{"end", m.End, &out.end, wantEnd, nil, false},
		{"all_day", m.AllDay, &out.allDay, wantBool, nil, false},
		{"zone", m.Zone, &out.zone, wantText, nil, false},
		{"title", m.Title, &out.title, wantText, nil, false},
		{"location", m.Location, &out.location, wantText, nil, false},
		{"notes", m.Notes, &out.notes, wantText, nil, false},
		{"contact", m.Contact, &out.contact, wantText, nil, false},
		{"private", m.Private, &out.private, wantBool, nil, false},
		{"free", m.Free, &out.free, wantBool, nil, false},
		{"origin", m.Origin, &out.origin, wantText, nil, false},
	} {
		if f.src == "" {
			if f.needed {
				faults = append(faults, domain.Invalid(pathOf(f.name), "required: write an expression here or in settings.mapping"))
			}
			continue
		}
		p, err := compile(string(f.src), pathOf(f.name), 0, scopeItem, f.want, f.allowed)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		*f.to, out.paths[f.name] = p, p.path
		out.usesHeaders = out.usesHeaders || len(p.headers) > 0
	}
	return out, errors.Join(faults...)
}

// headerNames lists the headers that the mapping reads.
func (m *mapper) headerNames() []string {
	var names []string
	for _, p := range []*program{m.drop, m.op, m.externalID, m.uid, m.revision, m.remoteVersion, m.category, m.status, m.start, m.end,
		m.allDay, m.zone, m.title, m.location, m.notes, m.contact, m.private, m.free, m.origin} {
		if p != nil {
			names = append(names, p.headers...)
		}
	}
	return names
}

// change maps the entry in w.vars. dropped means that it is not for us.
func (m *mapper) change(w *work) (c domain.Change, dropped bool, err error) {
	r := reader{w: w}
	if r.bool(m.drop) || r.err != nil {
		return domain.Change{}, r.err == nil, r.err
	}
	c.ExternalID = r.id(m.externalID)
	c.Op = domain.ChangeOp(r.oneOf(m.op, opNames, string(domain.OpUpsert)))
	c.UID, c.Revision = r.id(m.uid), r.id(m.revision)
	c.RemoteVersion = r.version(m.remoteVersion)
	if r.err == nil && c.ExternalID == "" {
		r.err = domain.Invalid("external_id", "has no value")
	}
	if c.Op == domain.OpRemove || m.hint || r.err != nil {
		return c, false, r.err
	}
	c.Category = domain.Category(r.oneOf(m.category, categoryNames, ""))
	c.Status = domain.BookingStatus(r.oneOf(m.status, statusNames, string(domain.StatusConfirmed)))
	c.Details = domain.Details{Title: r.text(m.title), Location: r.text(m.location), Notes: r.text(m.notes), Contact: r.text(m.contact)}
	c.Private, c.Free = r.bool(m.private), r.bool(m.free)
	if origin := r.text(m.origin); origin != "" {
		// A person may have typed into the field that carries the marker; only an id can be ours.
		if id, err := domain.ParseID[domain.BookingID]("origin", origin); err == nil {
			c.Origin, c.Unbound = id, true
		}
	}
	if r.err != nil {
		return c, false, r.err
	}
	if c.When, err = m.when(w); err != nil {
		if c.Status != domain.StatusCancelled || domain.KindOf(err) != domain.KindInvalid {
			return c, false, err
		}
		c.When = domain.When{} // a cancelled entry often comes without its times
	}
	if err := c.Validate(); err != nil {
		return domain.Change{}, false, err
	}
	return c, false, nil
}

// reader evaluates one field after another and keeps the first error.
type reader struct {
	w   *work
	err error
}

func (r *reader) value(p *program) ref.Val {
	if p == nil || r.err != nil {
		return nil
	}
	v, err := r.w.eval(p)
	r.err = err
	return v
}

// fail notes what is wrong with the value of an expression.
func (r *reader) fail(p *program, format string, args ...any) {
	r.err = &exprError{at: p.start(), err: domain.Invalid(p.field, format, args...)}
}

func (r *reader) wrong(p *program, w want, v ref.Val) {
	r.fail(p, "must be %s, is %s", wantWords[w], valueWord(v))
}

func (r *reader) text(p *program) string {
	switch v := r.value(p).(type) {
	case nil:
		return ""
	case types.String:
		return string(v)
	case types.Int:
		return strconv.FormatInt(int64(v), 10)
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10)
	default:
		r.wrong(p, wantText, v)
		return ""
	}
}

// id is text that identifies: control characters would break keys and paths.
func (r *reader) id(p *program) string {
	s := r.text(p)
	if len(s) > domain.MaxExternalID {
		r.fail(p, "at most %d bytes, has %d", domain.MaxExternalID, len(s))
	}
	for _, c := range []byte(s) {
		if (c < ' ' || c == 0x7f) && r.err == nil {
			r.fail(p, "holds a control character")
		}
	}
	return s
}

// oneOf is a text out of a set. The error does not repeat it: it comes from outside.
func (r *reader) oneOf(p *program, allowed []string, absent string) string {
	s := r.text(p)
	if s == "" && absent != "" {
		return absent
	}
	for _, a := range allowed {
		if s == a {
			return a
		}
	}
	if r.err == nil {
		r.fail(p, "must be one of %s", strings.Join(allowed, ", "))
	}
	return ""
}

func (r *reader) bool(p *program) bool {
	switch v := r.value(p).(type) {
	case nil:
		return false
	case types.Bool:
		return bool(v)
	default:
		r.wrong(p, wantBool, v)
		return false
	}
}

func (r *reader) version(p *program) int64 {
	var n int64
	switch v := r.value(p).(type) {
	case nil:
		return 0
	case types.Int:
		n = int64(v)
	case types.Uint:
		if v > math.MaxInt64 {
			r.fail(p, "must be below 2^63")
			return 0
		}
		n = int64(v)
	case types.Double:
		if v != types.Double(math.Trunc(float64(v))) || math.Abs(float64(v)) > 1<<53 {
			r.wrong(p, wantVersion, v)
			return 0
		}
		n = int64(v)
	case types.Timestamp:
		n = v.UnixMilli()
	default:
		r.wrong(p, wantVersion, v)
		return 0
	}
	if n < 0 {
		r.fail(p, "must not be negative")
		return 0
	}
	return n
}

// valueWord names the type of a value, never the value.
func valueWord(v ref.Val) string {
	switch v.(type) {
	case types.String:
		return "a text"
	case types.Int, types.Uint:
		return "a whole number"
	case types.Double:
		return "a number with a fraction"
	case types.Bool:
		return "true or false"
	case types.Timestamp:
		return "a timestamp"
	case types.Duration:
		return "a duration"
	}
	switch v.Type() {
	case types.ListType:
		return "a list"
	case types.MapType:
		return "an object"
	}
	return "something else"
}
