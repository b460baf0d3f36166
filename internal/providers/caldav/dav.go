package caldav

import (
	"bytes"
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

const (
	davNS    = "DAV:"
	caldavNS = "urn:ietf:params:xml:ns:caldav"
)

// maxRedirects bounds the hops of one request.
const maxRedirects = 5

// multistatus is the body of a 207.
type multistatus struct {
	XMLName   xml.Name     `xml:"DAV: multistatus"`
	Responses []msResponse `xml:"DAV: response"`
	SyncToken *string      `xml:"DAV: sync-token"`
}

type msResponse struct {
	Hrefs    []string     `xml:"DAV: href"`
	Status   string       `xml:"DAV: status"`
	Propstat []msPropstat `xml:"DAV: propstat"`
	Error    *davError    `xml:"DAV: error"`
}

type msPropstat struct {
	Prop   props  `xml:"DAV: prop"`
	Status string `xml:"DAV: status"`
}

type anyNames struct {
	Names []struct{ XMLName xml.Name } `xml:",any"`
}

func (a *anyNames) has(space, local string) bool {
	if a == nil {
		return false
	}
	for _, n := range a.Names {
		if n.XMLName == (xml.Name{Space: space, Local: local}) {
			return true
		}
	}
	return false
}

type davError struct{ anyNames }

type props struct {
	ETag         *string   `xml:"DAV: getetag"`
	ResourceType *anyNames `xml:"DAV: resourcetype"`
	DisplayName  string    `xml:"DAV: displayname"`
	SyncToken    *string   `xml:"DAV: sync-token"`
	CTag         *string   `xml:"http://calendarserver.org/ns/ getctag"`
	Principal    *struct {
		Href string `xml:"DAV: href"`
	} `xml:"DAV: current-user-principal"`
	HomeSet *struct {
		Hrefs []string `xml:"DAV: href"`
	} `xml:"urn:ietf:params:xml:ns:caldav calendar-home-set"`
	Components *struct {
		Comps []struct {
			Name string `xml:"name,attr"`
		} `xml:"urn:ietf:params:xml:ns:caldav comp"`
	} `xml:"urn:ietf:params:xml:ns:caldav supported-calendar-component-set"`
	Reports []struct {
		Report anyNames `xml:"DAV: report"`
	} `xml:"DAV: supported-report-set>supported-report"`
	Privileges *struct {
		Privilege []anyNames `xml:"DAV: privilege"`
	} `xml:"DAV: current-user-privilege-set"`
	CalendarData *string `xml:"urn:ietf:params:xml:ns:caldav calendar-data"`
}

// found returns the properties that the server has, merged.
func (r msResponse) found() (props, bool) {
	for _, p := range r.Propstat {
		if statusCode(p.Status)/100 == 2 {
			return p.Prop, true
		}
	}
	return props{}, false
}

// path returns the decoded path of the first href.
func (r msResponse) path() (string, error) {
	if len(r.Hrefs) > 0 {
		if u, err := url.Parse(strings.TrimSpace(r.Hrefs[0])); err == nil && strings.HasPrefix(u.Path, "/") {
			return u.Path, nil
		}
	}
	return "", domain.E(domain.KindUnavailable, "the server names a resource by something that is no path")
}

func statusCode(line string) int {
	parts := strings.Fields(line)
	if len(parts) < 2 {
		return 0
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return n
}

// call is one request.
type call struct {
	method string
	url    *url.URL
	header map[string]string
	body   string
	follow bool // redirects, as discovery needs
}

// send sends a request with the credentials. The answer is returned beside an error that comes from a status. A 401 is
// asked about once more: servers that share out their work say it in passing, and a person would have to reconnect.
func (c *connection) send(ctx context.Context, r call) (*httpx.Response, error) {
	res, err := c.sendOnce(ctx, r)
	if res == nil || res.Status != http.StatusUnauthorized {
		return res, err
	}
	res, err = c.sendOnce(ctx, r)
	if res != nil && res.Status == http.StatusUnauthorized && c.settings.Preset == presetICloud {
		err = domain.E(domain.KindUnauthenticated, "%w: %s", err, appPasswords)
	}
	return res, err
}

func (c *connection) sendOnce(ctx context.Context, r call) (*httpx.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), strings.NewReader(r.body))
	if err != nil {
		return nil, domain.E(domain.KindInternal, "make a %s request", r.method)
	}
	if r.body == "" {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	req.Header.Set("Authorization", c.auth)
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if c.account != nil {
		if err := c.account.take(c.now()); err != nil {
			return nil, err
		}
	}
	var res *httpx.Response
	if r.follow {
		res, err = c.http.DoFollow(req, maxRedirects, c.allowed)
	} else {
		res, err = c.http.Do(req)
	}
	if c.account != nil {
		c.account.note(res, err, c.now())
	}
	return res, err
}

// allowed reports whether credentials may go to an address that a server named.
func (c *connection) allowed(u *url.URL) bool { return sameDomain(c.server, u) }

// ask sends a PROPFIND or REPORT and reads the 207. Any other success is not an answer to it: a guest network's
// sign-in page must not read as an empty calendar.
func (c *connection) ask(ctx context.Context, r call, depth string) (*multistatus, *httpx.Response, error) {
	r.header = map[string]string{"Depth": depth, "Content-Type": `application/xml; charset="utf-8"`}
	r.body = xml.Header + r.body
	res, err := c.send(ctx, r)
	if err != nil {
		return nil, res, err
	}
	if res.Status != http.StatusMultiStatus {
		return nil, res, domain.E(domain.KindUnavailable, "the server answered %s with status %d instead of 207", r.method, res.Status)
	}
	var ms multistatus
	if err := xml.NewDecoder(bytes.NewReader(res.Body)).Decode(&ms); err != nil {
		return nil, res, domain.E(domain.KindUnavailable, "the server answered %s with a body that is no multistatus", r.method)
	}
	return &ms, res, nil
}

// precondition reports whether the body of a refusal names a precondition.
func precondition(res *httpx.Response, space, local string) bool {
	if res == nil {
		return false
	}
	var e struct {
		XMLName xml.Name `xml:"DAV: error"`
		anyNames
	}
	return xml.Unmarshal(res.Body, &e) == nil && e.has(space, local)
}

const collectionProps = `<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/"><prop>` +
	`<resourcetype/><displayname/><sync-token/><CS:getctag/><supported-report-set/><current-user-privilege-set/>` +
	`<C:supported-calendar-component-set/></prop></propfind>`

// collectionProps asks the collection for its properties. Anything but a calendar is an error.
func (c *connection) collectionProps(ctx context.Context, at *url.URL) (props, error) {
	ms, _, err := c.ask(ctx, call{method: "PROPFIND", url: at, body: collectionProps}, "0")
	if err != nil {
		return props{}, err
	}
	for _, r := range ms.Responses {
		p, ok := r.found()
		if ok && p.ResourceType.has(caldavNS, "calendar") {
			return p, nil
		}
	}
	return props{}, domain.E(domain.KindPermanent, "the address in settings.calendar is not a calendar")
}

func (p props) writable() bool {
	if p.Privileges == nil {
		return true // servers without access control do not say
	}
	for _, set := range p.Privileges.Privilege {
		for _, name := range []string{"write", "write-content", "bind", "all"} {
			if set.has(davNS, name) {
				return true
			}
		}
	}
	return false
}

func (p props) events() bool {
	if p.Components == nil {
		return true
	}
	for _, comp := range p.Components.Comps {
		if strings.EqualFold(comp.Name, "VEVENT") {
			return true
		}
	}
	return false
}

// syncs reports whether the collection offers sync-collection. The property sync-token is the sign that RFC 6578
// demands; Xandikos writes the set of reports in a form of its own.
func (p props) syncs() bool {
	if p.SyncToken != nil && strings.TrimSpace(*p.SyncToken) != "" {
		return true
	}
	for _, r := range p.Reports {
		if r.Report.has(davNS, "sync-collection") {
			return true
		}
	}
	return false
}

// etag brings an ETag into the form in which it can be sent back. A weak mark is dropped: it is added by
// proxies that compress, and If-Match never matches with it.
func etag(raw string) string {
	raw = strings.TrimPrefix(strings.TrimSpace(raw), "W/")
	if raw == "" || strings.HasPrefix(raw, `"`) {
		return raw
	}
	return `"` + raw + `"`
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
