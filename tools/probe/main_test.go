package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOnlyTwoHundredsAreHealthy(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"ready", []string{server.URL + "/readyz"}, 0},
		{"unavailable", []string{server.URL + "/other"}, 1},
		{"nobody listens", []string{gone.URL}, 1},
		{"no URL", nil, 2},
	} {
		if got := run(c.args); got != c.want {
			t.Errorf("%s: exit %d, want %d", c.name, got, c.want)
		}
	}
}
