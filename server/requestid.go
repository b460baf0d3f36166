package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
)

type contextKey int

const (
	keyRequestID contextKey = iota
	keyCaller
	keyBase
)

// requestID returns the id that the log knows a request by, "" where none was given.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(keyRequestID).(string)
	return id
}

func withRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, keyRequestID, id)
}

// newRequestID makes 96 random bits in hex. Ids of clients are not taken over, so that one id is one request.
func newRequestID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime stops the program without randomness
	return hex.EncodeToString(b[:])
}
