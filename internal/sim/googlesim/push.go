package googlesim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxChannel is how long a channel lives at most.
const maxChannel = 7 * 24 * time.Hour

// Pushes says how messages of channels go astray. A message that is late is one for which Deliver is called late.
type Pushes struct {
	Drop      int  // every Drop-th message is lost; 1 = all, 0 = none
	Duplicate bool // each message comes twice
	Reverse   bool // the newest comes first
	AfterStop bool // a stopped channel goes on posting
}

type channel struct {
	id, resource, address, token, calendar string
	expires                                time.Time
	number                                 int
	stopped                                bool
}

type message struct {
	channel *channel
	number  int
	state   string
}

// SetPushes replaces how messages go astray.
func (s *Server) SetPushes(p Pushes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushes = p
}

// announce puts a message for every channel of a calendar into the queue.
func (s *Server) announce(c *calendar) {
	for _, ch := range s.channels {
		if ch.calendar == c.ID && ch.expires.After(s.opt.Now()) && (!ch.stopped || s.pushes.AfterStop) {
			ch.number += 3
			s.queue = append(s.queue, message{ch, ch.number, "exists"})
		}
	}
}

// Deliver posts the messages that wait, each once, and returns how many were answered by a status that Google takes for
// success. Nothing is tried again.
func (s *Server) Deliver(ctx context.Context) (int, error) {
	s.mu.Lock()
	var out []message
	for i, m := range s.queue {
		if s.pushes.Drop > 0 && (i+1)%s.pushes.Drop == 0 {
			continue
		}
		if out = append(out, m); s.pushes.Duplicate {
			out = append(out, m)
		}
	}
	if s.pushes.Reverse {
		slices.Reverse(out)
	}
	s.queue = nil
	s.mu.Unlock()
	taken := 0
	for _, m := range out {
		ok, err := s.post(ctx, m)
		if err != nil {
			return taken, err
		}
		if ok {
			taken++
		}
	}
	return taken, nil
}

// Channels returns the ids of the channels that were made and not stopped, sorted.
func (s *Server) Channels() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id, c := range s.channels {
		if !c.stopped {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (s *Server) post(ctx context.Context, m message) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.channel.address, http.NoBody)
	if err != nil {
		return false, err
	}
	for name, value := range map[string]string{
		"X-Goog-Channel-ID": m.channel.id, "X-Goog-Message-Number": strconv.Itoa(m.number), "X-Goog-Resource-ID": m.channel.resource,
		"X-Goog-Resource-State": m.state, "X-Goog-Channel-Expiration": m.channel.expires.UTC().Format(http.TimeFormat),
		"X-Goog-Resource-URI": "https://www.googleapis.com" + base + "calendars/" + m.channel.calendar + "/events?alt=json",
	} {
		req.Header.Set(name, value)
	}
	if m.channel.token != "" {
		req.Header.Set("X-Goog-Channel-Token", m.channel.token)
	}
	res, err := s.opt.Client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	return slices.Contains([]int{102, 200, 201, 202, 204}, res.StatusCode), nil
}

// watch makes a channel. It posts the sync message before it answers, and without the lock, since the receiver may ask
// the API meanwhile.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID, Type, Address, Token, Expiration string
		Params                               map[string]string
	}
	bad := func(reason, message string) {
		answer(w, nil, &failure{status: http.StatusBadRequest, reason: reason, message: message})
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		bad("parseError", "Parse Error")
		return
	}
	now := s.opt.Now()
	expires := now.Add(maxChannel)
	if ms, err := strconv.ParseInt(in.Expiration, 10, 64); err == nil && time.UnixMilli(ms).Before(expires) {
		expires = time.UnixMilli(ms)
	} else if ttl, err := strconv.Atoi(in.Params["ttl"]); in.Expiration == "" && err == nil && ttl > 0 && ttl < int(maxChannel/time.Second) {
		expires = now.Add(time.Duration(ttl) * time.Second)
	}
	s.mu.Lock()
	c := s.visible(r.PathValue("calendar"))
	_, taken := s.channels[in.ID]
	s.mu.Unlock()
	switch {
	case c == nil:
		answer(w, nil, notFound)
		return
	case in.ID == "" || len(in.ID) > 64 || len(in.Token) > 256 || in.Type != "web_hook":
		bad("invalid", "Bad channel.")
		return
	case !strings.HasPrefix(in.Address, "https://") && !(s.opt.PlainHTTP && strings.HasPrefix(in.Address, "http://")):
		bad("push.webhookUrlNotHttps", "WebHook callback must be HTTPS.")
		return
	case taken:
		bad("channelIdNotUnique", "Channel id not unique")
		return
	case !expires.After(now):
		bad("invalid", "The channel is over before it begins.")
		return
	}
	ch := &channel{id: in.ID, resource: "resource-" + c.ID, address: in.Address, token: in.Token, calendar: c.ID, expires: expires.Truncate(time.Millisecond), number: 1}
	s.mu.Lock()
	s.channels[in.ID] = ch
	s.mu.Unlock()
	if _, err := s.post(r.Context(), message{ch, 1, "sync"}); err != nil && r.Context().Err() != nil {
		return
	}
	answer(w, map[string]any{"kind": "api#channel", "id": ch.id, "resourceId": ch.resource, "token": in.Token,
		"resourceUri": fmt.Sprintf("https://www.googleapis.com%scalendars/%s/events?alt=json", base, c.ID),
		"expiration":  strconv.FormatInt(ch.expires.UnixMilli(), 10)}, nil)
}

func (s *Server) stop(c call) (map[string]any, *failure) {
	ch := s.channels[text(c.body, "id")]
	if ch == nil || ch.resource != text(c.body, "resourceId") {
		return nil, notFound
	}
	ch.stopped = true
	return nil, nil
}
