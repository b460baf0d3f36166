package httpx

import "net/http"

// Standard returns a client of net/http for the libraries of vendors that want one. Every request goes through carry,
// which must send it by a [Client], and no redirect is followed.
func Standard(carry http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     carry,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
