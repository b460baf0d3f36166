package lightblue

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// Status codes that the vendor documents.
const (
	codeOK        = 0
	codeNothing   = -3 // the type is wrong, or no parameter is valid
	codeDuplicate = -4 // ID and Source came before
	codeHTTPS     = -20
)

// client posts forms to the API with one key.
type client struct {
	http *httpx.Client
	base string
	key  string
}

// post sends a form and returns the status code of the answer.
func (c *client) post(ctx context.Context, path string, form url.Values) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, domain.E(domain.KindInvalid, "the address of the API cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	code, ok := readStatus(res.Body)
	if !ok {
		return 0, domain.E(domain.KindUnavailable, "the answer holds no status code")
	}
	return code, nil
}

// readStatus reads the first line of an answer. Lines end with CR, LF or both. What the others say is left alone: it is not
// ours to pass on.
func readStatus(body []byte) (int, bool) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if i := bytes.IndexAny(body, "\r\n"); i >= 0 {
		body = body[:i]
	}
	text := string(bytes.TrimSpace(body))
	if text == "" || len(text) > 8 {
		return 0, false
	}
	code, err := strconv.Atoi(text)
	return code, err == nil
}

// checkKey asks whether the key is known.
func (c *client) checkKey(ctx context.Context) error {
	code, err := c.post(ctx, "/apiCheck.php", url.Values{"Key": {c.key}})
	switch {
	case err != nil:
		return err
	case code == codeOK:
		return nil
	case code == codeHTTPS:
		return domain.E(domain.KindPermanent, "Light Blue wants https (status code %d)", code)
	}
	return domain.E(domain.KindUnauthenticated, "Light Blue does not accept the API key (status code %d)", code)
}

// send puts a message into the Inbox. One that is there already is success.
func (c *client) send(ctx context.Context, form url.Values) error {
	form.Set("key", c.key)
	form.Set("type", "contact form")
	code, err := c.post(ctx, "/api.php", form)
	switch {
	case err != nil:
		return err
	case code == codeOK, code == codeDuplicate:
		return nil
	case code == codeNothing:
		return domain.E(domain.KindPermanent, "Light Blue found nothing valid in the message (status code %d)", code)
	case code == codeHTTPS:
		return domain.E(domain.KindPermanent, "Light Blue wants https (status code %d)", code)
	}
	// The code of a refused key is not documented, and neither are others.
	if err := c.checkKey(ctx); err != nil {
		return err
	}
	return domain.E(domain.KindPermanent, "Light Blue refused the message with status code %d, which it does not document", code)
}
