// Package clientaddr finds out who sent a request, and under which address, when proxies stand in between.
//
//	r, err := clientaddr.New(clientaddr.Options{Trusted: prefixes, Header: clientaddr.XForwardedFor})
//	from := r.Resolve(req) // from.Addr, from.Key() for limits
//	url := r.URL(req, from)
//
// What a request says about its way is believed as far as trusted proxies wrote it and no further: the list of addresses
// is read from its right end while the address on the right is a trusted proxy, so a sender can invent nothing but what
// stands to the left of its own address. Only one header is read, the one that the proxies are known to set: a proxy that
// sets X-Forwarded-For passes on whatever the sender wrote into Forwarded. Without trusted proxies nothing is read.
//
// Parsing is bounded in bytes and entries and never fails: what cannot be understood ends the way at the last address that
// was. To test: go test ./internal/clientaddr, and go test -fuzz FuzzResolve.
package clientaddr
