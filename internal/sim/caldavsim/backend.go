package caldavsim

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path"
	"slices"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"
)

// backend is the server as the protocol core sees it.
type backend Server

func (b *backend) server() *Server { return (*Server)(b) }

var errAbsent = errors.New("no such resource")

func notFound() error { return webdav.NewHTTPError(http.StatusNotFound, errAbsent) }

func (b *backend) CurrentUserPrincipal(context.Context) (string, error) {
	return b.server().principal(), nil
}

func (b *backend) CalendarHomeSetPath(context.Context) (string, error) { return b.server().home(), nil }

func (b *backend) CreateCalendar(context.Context, *caldav.Calendar) error {
	return webdav.NewHTTPError(http.StatusForbidden, errors.New("calendars are fixed when the simulator starts"))
}

func (b *backend) ListCalendars(context.Context) ([]caldav.Calendar, error) {
	var out []caldav.Calendar
	for _, p := range slices.Sorted(maps.Keys(b.calendars)) {
		out = append(out, b.calendars[p].described())
	}
	return out, nil
}

func (c *collection) described() caldav.Calendar {
	return caldav.Calendar{Path: c.path, Name: c.DisplayName, SupportedComponentSet: c.Components}
}

func (b *backend) GetCalendar(_ context.Context, p string) (*caldav.Calendar, error) {
	c, ok := b.calendars[p]
	if !ok {
		return nil, notFound()
	}
	d := c.described()
	return &d, nil
}

// find needs the lock.
func (b *backend) find(p string) (*collection, *object, error) {
	c, ok := b.calendars[path.Dir(p)+"/"]
	if !ok {
		return nil, nil, notFound()
	}
	return c, c.objects[p], nil
}

func described(p string, o *object) caldav.CalendarObject {
	return caldav.CalendarObject{Path: p, ModTime: o.modified, ETag: o.etag(), Data: o.parsed}
}

func (b *backend) GetCalendarObject(_ context.Context, p string, _ *caldav.CalendarCompRequest) (*caldav.CalendarObject, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, o, err := b.find(p)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, notFound()
	}
	d := described(p, o)
	return &d, nil
}

func (b *backend) ListCalendarObjects(_ context.Context, p string, _ *caldav.CalendarCompRequest) ([]caldav.CalendarObject, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.calendars[p]
	if !ok {
		return nil, notFound()
	}
	var out []caldav.CalendarObject
	for _, at := range slices.Sorted(maps.Keys(c.objects)) {
		out = append(out, described(at, c.objects[at]))
	}
	return out, nil
}

func (b *backend) QueryCalendarObjects(ctx context.Context, p string, query *caldav.CalendarQuery) ([]caldav.CalendarObject, error) {
	all, err := b.ListCalendarObjects(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	return caldav.Filter(query, all)
}

func (b *backend) PutCalendarObject(ctx context.Context, p string, _ *ical.Calendar, opts *caldav.PutCalendarObjectOptions) (*caldav.CalendarObject, error) {
	req := requestOf(ctx)
	parsed, uid, err := parse(req.body)
	if err != nil {
		return nil, webdav.NewHTTPError(http.StatusBadRequest, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c, o, err := b.find(p)
	if err != nil {
		return nil, webdav.NewHTTPError(http.StatusConflict, errors.New("the calendar does not exist"))
	}
	if c.ReadOnly {
		return nil, webdav.NewHTTPError(http.StatusForbidden, errors.New("the calendar is read-only"))
	}
	if err := holds(o, string(opts.IfMatch), string(opts.IfNoneMatch)); err != nil {
		return nil, err
	}
	for _, comp := range parsed.Children {
		if comp.Name != ical.CompTimezone && !c.supports(comp.Name) {
			return nil, caldav.NewPreconditionError(caldav.PreconditionSupportedCalendarComponent)
		}
	}
	for at, other := range c.objects {
		if at != p && other.uid == uid {
			return nil, caldav.NewPreconditionError(caldav.PreconditionNoUIDConflict)
		}
	}
	if o != nil && o.uid != uid {
		return nil, caldav.NewPreconditionError(caldav.PreconditionNoUIDConflict)
	}
	req.existed = o != nil
	d := described(p, b.server().store(c, p, req.body, parsed, uid))
	return &d, nil
}

func (b *backend) DeleteCalendarObject(ctx context.Context, p string) error {
	req := requestOf(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	c, o, err := b.find(p)
	if err != nil {
		return err
	}
	if o == nil {
		return notFound()
	}
	if c.ReadOnly {
		return webdav.NewHTTPError(http.StatusForbidden, errors.New("the calendar is read-only"))
	}
	if err := holds(o, req.ifMatch, req.ifNoneMatch); err != nil {
		return err
	}
	b.server().drop(c, p)
	return nil
}

// holds checks the conditions of a write.
func holds(o *object, ifMatch, ifNoneMatch string) error {
	failed := webdav.NewHTTPError(http.StatusPreconditionFailed, errors.New("the condition does not hold"))
	if ifNoneMatch != "" && o != nil && (ifNoneMatch == "*" || ifNoneMatch == `"`+o.etag()+`"`) {
		return failed
	}
	if ifMatch != "" && (o == nil || ifMatch != "*" && ifMatch != `"`+o.etag()+`"`) {
		return failed
	}
	return nil
}
