package httpx

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// door is a gate that counts.
type door struct {
	shut error
	in   int
	out  []error
}

func (d *door) Enter(req *http.Request) (func(*Response, error), error) {
	if d.shut != nil {
		return nil, d.shut
	}
	d.in++
	req.Header.Set("X-Door", "yes")
	return func(_ *Response, err error) { d.out = append(d.out, err) }, nil
}

func TestAGateSeesEveryExchangeAndMayRefuse(t *testing.T) {
	t.Parallel()
	status, calls := 200, 0
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; r.Header.Get("X-Door") != "yes" {
			t.Error("the header of the gate did not come")
		}
		w.WriteHeader(status)
	})
	d := &door{}
	c := newClient(t, Options{Allow: AllowPrivate}).Through(d)
	if _, err := c.Do(request(t, "GET", srv.URL, "")); err != nil {
		t.Fatal(err)
	}
	own := errors.New("of the caller's own")
	if _, err := c.DoRead(request(t, "GET", srv.URL, ""), 10, func(io.Reader) error { return own }); !errors.Is(err, own) {
		t.Errorf("%v", err)
	}
	status = 500
	_, failed := c.Do(request(t, "GET", srv.URL, ""))
	if d.in != 3 || len(d.out) != 3 || d.out[0] != nil || d.out[1] != nil || d.out[2] != failed {
		t.Errorf("%d in, out with %v", d.in, d.out)
	}
	cause := errors.New("shut")
	d.shut = domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%w", cause), time.Minute)
	if _, err := c.Do(request(t, "GET", srv.URL, "")); !errors.Is(err, cause) || domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) != time.Minute || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
