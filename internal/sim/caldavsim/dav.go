package caldavsim

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

type multistatus struct {
	XMLName   xml.Name   `xml:"DAV: multistatus"`
	Responses []response `xml:"DAV: response"`
	SyncToken string     `xml:"DAV: sync-token,omitempty"`
}

type response struct {
	Href     string     `xml:"DAV: href"`
	Status   string     `xml:"DAV: status,omitempty"`
	Propstat []propstat `xml:"DAV: propstat,omitempty"`
}

type propstat struct {
	Prop   rawXML `xml:"DAV: prop"`
	Status string `xml:"DAV: status"`
}

type rawXML struct {
	Inner string `xml:",innerxml"`
}

type propfindRequest struct {
	Prop *struct {
		Names []struct{ XMLName xml.Name } `xml:",any"`
	} `xml:"DAV: prop"`
}

const (
	davNS = "DAV:"
	calNS = "urn:ietf:params:xml:ns:caldav"
	csNS  = "http://calendarserver.org/ns/"
)

func (s *Server) calendarAt(p string) (*collection, bool) {
	c, ok := s.calendars[p] // the map is fixed after New
	return c, ok
}

// propfind answers for the principal, the home and the calendars, whose properties the protocol core does not know.
func (s *Server) propfind(w http.ResponseWriter, r *http.Request) {
	var req propfindRequest
	if body := requestOf(r.Context()).body; len(body) > 0 {
		if err := xml.Unmarshal(body, &req); err != nil {
			http.Error(w, "the body is no XML", http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	deep := r.Header.Get("Depth") != "0"
	var out multistatus
	add := func(p string, props map[xml.Name]string) {
		out.Responses = append(out.Responses, answer(p, props, req))
	}
	switch c, isCalendar := s.calendarAt(r.URL.Path); {
	case isCalendar:
		add(c.path, s.calendarProps(c))
		if deep {
			for _, p := range slices.Sorted(maps.Keys(c.objects)) {
				add(p, map[xml.Name]string{
					{Space: davNS, Local: "getetag"}:        xmlText(`"` + c.objects[p].etag() + `"`),
					{Space: davNS, Local: "getcontenttype"}: "text/calendar; charset=utf-8; component=vevent",
					{Space: davNS, Local: "resourcetype"}:   "",
				})
			}
		}
	case r.URL.Path == s.home():
		add(s.home(), s.userProps())
		if deep {
			for _, p := range slices.Sorted(maps.Keys(s.calendars)) {
				add(p, s.calendarProps(s.calendars[p]))
			}
		}
	default:
		add(s.principal(), s.userProps())
	}
	writeXML(w, out)
}

func (s *Server) userProps() map[xml.Name]string {
	return map[xml.Name]string{
		{Space: davNS, Local: "resourcetype"}:           `<collection xmlns="DAV:"/>`,
		{Space: davNS, Local: "current-user-principal"}: href(s.principal()),
		{Space: calNS, Local: "calendar-home-set"}:      href(s.opt.HomeBase + escape(s.home())),
	}
}

func (s *Server) calendarProps(c *collection) map[xml.Name]string {
	comps := ""
	for _, name := range c.Components {
		comps += fmt.Sprintf(`<comp xmlns="%s" name="%s"/>`, calNS, xmlText(name))
	}
	privileges := `<privilege xmlns="DAV:"><read/></privilege>`
	if !c.ReadOnly {
		privileges += `<privilege xmlns="DAV:"><write/></privilege><privilege xmlns="DAV:"><write-content/></privilege><privilege xmlns="DAV:"><bind/></privilege><privilege xmlns="DAV:"><unbind/></privilege>`
	}
	reports := []string{`<calendar-multiget xmlns="` + calNS + `"/>`, `<calendar-query xmlns="` + calNS + `"/>`}
	props := map[xml.Name]string{
		{Space: davNS, Local: "resourcetype"}:                     `<collection xmlns="DAV:"/><calendar xmlns="` + calNS + `"/>`,
		{Space: davNS, Local: "displayname"}:                      xmlText(c.DisplayName),
		{Space: davNS, Local: "current-user-principal"}:           href(s.principal()),
		{Space: davNS, Local: "current-user-privilege-set"}:       privileges,
		{Space: calNS, Local: "supported-calendar-component-set"}: comps,
	}
	if !s.opt.NoCTag {
		props[xml.Name{Space: csNS, Local: "getctag"}] = strconv.FormatInt(c.ctag, 10)
	}
	if !s.opt.NoSyncCollection {
		props[xml.Name{Space: davNS, Local: "sync-token"}] = s.token(s.revision)
		reports = append(reports, `<sync-collection xmlns="DAV:"/>`)
	}
	set := ""
	for _, report := range reports {
		set += `<supported-report xmlns="DAV:"><report>` + report + `</report></supported-report>`
	}
	props[xml.Name{Space: davNS, Local: "supported-report-set"}] = set
	return props
}

// answer sorts the wanted properties into found and not found. No wish means all.
func answer(p string, props map[xml.Name]string, req propfindRequest) response {
	var wanted []xml.Name
	if req.Prop != nil {
		for _, n := range req.Prop.Names {
			wanted = append(wanted, n.XMLName)
		}
	} else {
		for n := range props {
			wanted = append(wanted, n)
		}
		sort.Slice(wanted, func(i, j int) bool { return wanted[i].Local < wanted[j].Local })
	}
	var found, missing strings.Builder
	for _, n := range wanted {
		if inner, ok := props[n]; ok {
			fmt.Fprintf(&found, `<%s xmlns="%s">%s</%s>`, n.Local, xmlText(n.Space), inner, n.Local)
		} else {
			fmt.Fprintf(&missing, `<%s xmlns="%s"/>`, n.Local, xmlText(n.Space))
		}
	}
	out := response{Href: escape(p)}
	if found.Len() > 0 {
		out.Propstat = append(out.Propstat, propstat{Prop: rawXML{found.String()}, Status: statusLine(http.StatusOK)})
	}
	if missing.Len() > 0 {
		out.Propstat = append(out.Propstat, propstat{Prop: rawXML{missing.String()}, Status: statusLine(http.StatusNotFound)})
	}
	return out
}

type syncRequest struct {
	Token string `xml:"DAV: sync-token"`
	Level string `xml:"DAV: sync-level"`
	Limit int    `xml:"DAV: limit>nresults"`
}

func (s *Server) token(revision int64) string {
	return fmt.Sprintf("data:,wedsync-sim-%d-%d", s.epoch, revision)
}

// syncCollection lists the members that changed after a token in the order of their changes, so that a truncated
// answer ends at a revision and its token names that.
func (s *Server) syncCollection(w http.ResponseWriter, r *http.Request) {
	c, ok := s.calendarAt(r.URL.Path)
	if !ok || s.opt.NoSyncCollection {
		precondition(w, http.StatusForbidden, davNS, "supported-report")
		return
	}
	var req syncRequest
	if err := xml.Unmarshal(requestOf(r.Context()).body, &req); err != nil || req.Level != "1" || req.Limit < 0 {
		http.Error(w, "sync-collection needs a sync-level of 1", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	since := int64(0)
	if req.Token != "" {
		var epoch int
		n, err := fmt.Sscanf(req.Token, "data:,wedsync-sim-%d-%d", &epoch, &since)
		if err != nil || n != 2 || epoch != s.epoch || since > s.revision {
			if s.opt.TokenRefusal == http.StatusInternalServerError {
				http.Error(w, "KeyError", s.opt.TokenRefusal)
				return
			}
			precondition(w, s.opt.TokenRefusal, davNS, "valid-sync-token")
			return
		}
	}
	type member struct {
		path     string
		revision int64
		gone     bool
	}
	var members []member
	for p, o := range c.objects {
		if o.revision > since {
			members = append(members, member{p, o.revision, false})
		}
	}
	for p, revision := range c.gone {
		if revision > since && req.Token != "" {
			members = append(members, member{p, revision, true})
		}
	}
	slices.SortFunc(members, func(a, b member) int { return int(a.revision - b.revision) })
	limit := s.opt.PageLimit
	if req.Limit > 0 && (limit == 0 || req.Limit < limit) {
		limit = req.Limit
	}
	out := multistatus{SyncToken: s.token(s.revision)}
	truncated := limit > 0 && len(members) > limit
	if truncated {
		members = members[:limit]
		out.SyncToken = s.token(members[limit-1].revision)
	}
	for _, m := range members {
		if m.gone {
			out.Responses = append(out.Responses, response{Href: escape(m.path), Status: statusLine(http.StatusNotFound)})
			continue
		}
		etag := `<getetag xmlns="DAV:">` + xmlText(`"`+c.objects[m.path].etag()+`"`) + `</getetag>`
		out.Responses = append(out.Responses, response{Href: escape(m.path),
			Propstat: []propstat{{Prop: rawXML{etag}, Status: statusLine(http.StatusOK)}}})
	}
	if truncated {
		out.Responses = append(out.Responses, response{Href: escape(c.path), Status: statusLine(http.StatusInsufficientStorage)})
	}
	writeXML(w, out)
}

func escape(p string) string { return (&url.URL{Path: p}).EscapedPath() }

func href(to string) string { return `<href xmlns="DAV:">` + xmlText(to) + `</href>` }

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
