package caldav

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
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
	follow bool                  // redirects, as discovery needs
	read   func(io.Reader) error // reads the body of a success as it comes, instead of keeping it
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
	switch {
	case r.follow:
		res, err = c.http.DoFollow(req, maxRedirects, c.allowed)
	case r.read != nil:
		res, err = c.http.DoRead(req, maxListing, r.read)
	default:
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

// maxListing is the largest list of a calendar's entries, in bytes: about a quarter of a million of them.
const maxListing = 64 << 20

// askEach is ask for an answer that may be long: each response is handed over as it comes, and what was handed over counts
// for nothing after an error. It returns the answer's sync token.
func (c *connection) askEach(ctx context.Context, r call, depth string, each func(msResponse) error) (token string, res *httpx.Response, err error) {
	r.header = map[string]string{"Depth": depth, "Content-Type": `application/xml; charset="utf-8"`}
	r.body = xml.Header + r.body
	read := false
	r.read = func(body io.Reader) (err error) {
		token, err = readMultistatus(body, each)
		read = err == nil
		return err
	}
	res, err = c.send(ctx, r)
	if err == nil && (res.Status != http.StatusMultiStatus || !read) {
		err = domain.E(domain.KindUnavailable, "the server answered %s with status %d instead of 207", r.method, res.Status)
	}
	return token, res, err
}

// readMultistatus reads the body of a 207 response by response.
func readMultistatus(body io.Reader, each func(msResponse) error) (token string, err error) {
	bad := domain.E(domain.KindUnavailable, "the server answered with a body that is no multistatus")
	d := xml.NewDecoder(body)
	inside := false
	for {
		t, err := d.Token()
		if err != nil {
			return "", bad // also when it ends too early
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch {
			case !inside && t.Name == xml.Name{Space: davNS, Local: "multistatus"}:
				inside = true
			case !inside:
				return "", bad
			case t.Name == xml.Name{Space: davNS, Local: "response"}:
				var r msResponse
				if err := d.DecodeElement(&r, &t); err != nil {
					return "", bad
				}
				if err := each(r); err != nil {
					return "", err
				}
			case t.Name == xml.Name{Space: davNS, Local: "sync-token"}:
				if err := d.DecodeElement(&token, &t); err != nil {
					return "", bad
				}
			default:
				if err := d.Skip(); err != nil {
					return "", bad
				}
			}
		case xml.EndElement:
			return token, nil
		}
	}
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

const collectionKind = `<propfind xmlns="DAV:"><prop><resourcetype/><supported-report-set/></prop></propfind>`

// collectionKind is collectionProps for what no server has to look into the calendar for.
func (c *connection) collectionKind(ctx context.Context, at *url.URL) (props, error) {
	return c.propsOf(ctx, at, collectionKind)
}

// collectionProps asks the collection for its properties. Anything but a calendar is an error.
func (c *connection) collectionProps(ctx context.Context, at *url.URL) (props, error) {
	return c.propsOf(ctx, at, collectionProps)
}

func (c *connection) propsOf(ctx context.Context, at *url.URL, body string) (props, error) {
	ms, _, err := c.ask(ctx, call{method: "PROPFIND", url: at, body: body}, "0")
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
