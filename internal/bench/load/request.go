package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
)

// request is one connection's request, built once. Its changing parts have fixed places and lengths.
type request struct {
	text                                       []byte
	id, stamp, signature, body, booking, start int // offsets
	end                                        int
	mac                                        hash.Hash
	sum                                        [sha256.Size]byte
	second                                     int64
	slots                                      int64 // half hours used up in the target's calendar
	slot, stride                               int64
}

const (
	stampLength     = 10
	signatureLength = 44
	bookingLength   = 16
	timeLayout      = "2006-01-02T15:04:05Z"
)

// firstSlot is where the bookings of a run begin. Each is a half hour of its own, so that none clashes.
var firstSlot = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// newRequest builds the request of a connection. slot and stride part the half hours of one target among the
// connections that post to it.
func newRequest(addr string, t Target, bodyBytes int, slot, stride int64) (*request, error) {
	if bodyBytes < 512 {
		return nil, fmt.Errorf("body_bytes: %d; want at least 512", bodyBytes)
	}
	empty := eventBody("")
	body := eventBody(strings.Repeat("a garden wedding with room for dancing; ", bodyBytes/40+1)[:bodyBytes-len(empty)])
	head := "POST /v1/webhooks/" + string(t.Integration) + " HTTP/1.1\r\nHost: " + addr +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\nWebhook-Id: " + MessageID(0) + "\r\nWebhook-Timestamp: " + strings.Repeat("0", stampLength) +
		"\r\nWebhook-Signature: v1," + strings.Repeat("=", signatureLength) + "\r\n\r\n"
	r := &request{text: append([]byte(head), body...), mac: hmac.New(sha256.New, t.Secret), slot: slot, stride: stride}
	after := func(mark string) int {
		i := bytes.Index(r.text, []byte(mark))
		return i + len(mark)
	}
	r.id, r.stamp, r.signature = after("Webhook-Id: "), after("Webhook-Timestamp: "), after("v1,")
	r.body, r.booking, r.start, r.end = len(head), after(`"data":{"id":"`), after(`"start":"`), after(`"end":"`)
	return r, nil
}

func eventBody(notes string) []byte {
	type data struct {
		ID       string `json:"id"`
		Category string `json:"category"`
		Start    string `json:"start"`
		End      string `json:"end"`
		Zone     string `json:"zone"`
		Title    string `json:"title"`
		Notes    string `json:"notes"`
	}
	body, err := json.Marshal(struct {
		Type string `json:"type"`
		Data data   `json:"data"`
	}{"event.created", data{ID: strings.Repeat("0", bookingLength), Category: "consultation", Start: firstSlot.Format(timeLayout),
		End: firstSlot.Format(timeLayout), Zone: "UTC", Title: "Consultation", Notes: notes}})
	if err != nil {
		panic("marshal plain texts: " + err.Error())
	}
	return body
}

// next makes the request that of message n, signed at now.
func (r *request) next(n uint64, now time.Time) []byte {
	id := appendMessageID(r.text[r.id:r.id], n)
	copy(r.text[r.booking:], id[len(id)-bookingLength:])
	at := firstSlot.Add(time.Duration(r.slot+r.slots*r.stride) * 30 * time.Minute)
	r.slots++
	at.AppendFormat(r.text[r.start:r.start], timeLayout)
	at.Add(30*time.Minute).AppendFormat(r.text[r.end:r.end], timeLayout)
	if s := now.Unix(); s != r.second {
		r.second = s
		strconv.AppendInt(r.text[r.stamp:r.stamp], s, 10)
	}
	r.mac.Reset()
	r.mac.Write(r.text[r.id : r.id+messageIDLength])
	r.mac.Write(dot)
	r.mac.Write(r.text[r.stamp : r.stamp+stampLength])
	r.mac.Write(dot)
	r.mac.Write(r.text[r.body:])
	base64.StdEncoding.Encode(r.text[r.signature:r.signature+signatureLength], r.mac.Sum(r.sum[:0]))
	return r.text
}

var dot = []byte(".")
