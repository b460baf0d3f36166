package openapitest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Wrap returns a handler that holds every exchange below Options.Base with next against the document and reports faults to
// t. Put it around the honest part of a simulator, inside its faults: what is broken on purpose is not held against
// anything. Without a document it is next itself.
func (d *Document) Wrap(t testing.TB, next http.Handler) http.Handler {
	if d == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, d.options.Base+"/") {
			next.ServeHTTP(w, r)
			return
		}
		var sent []byte
		if r.Body != nil {
			var err error
			if sent, err = io.ReadAll(io.LimitReader(r.Body, 16<<20)); err != nil {
				http.Error(w, "the body could not be read", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(sent))
		}
		told := &teed{ResponseWriter: w}
		next.ServeHTTP(told, r)
		// A request that the vendor would refuse is a fault of ours only if the simulator takes it.
		if told.status < 400 {
			for _, f := range d.Request(r.Method, r.URL.Path, r.URL.Query(), r.Header.Get("Content-Type"), sent) {
				t.Errorf("request against the vendor's document: %s", f)
			}
		}
		for _, f := range d.Answer(r.Method, r.URL.Path, told.status, w.Header().Get("Content-Type"), told.body.Bytes()) {
			t.Errorf("answer against the vendor's document: %s", f)
		}
	})
}

// teed keeps a copy of an answer.
type teed struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *teed) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *teed) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}
