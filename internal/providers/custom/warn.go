package custom

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// warn tells of choices that work and are a risk.
func (l *linter) warn(s Settings) {
	warn := func(path, format string, args ...any) { l.add(SeverityWarning, path, format, args...) }
	if strings.HasPrefix(s.BaseURL, "http://") && !provider.OnThisMachine(s.BaseURL) {
		warn("base_url", "plain http shows credentials and bookings to everybody on the way, and is refused outside of development")
	}
	requests := s.List != nil || s.Read != nil || s.Write != nil
	switch {
	case requests && (s.Auth == nil || s.Auth.Kind == "none"):
		warn("auth", "requests carry no credentials")
	case s.Auth != nil && s.Auth.Kind == "query":
		warn("auth.kind", "a key in the address ends up in logs of servers and proxies; use a header if the system takes one")
	}
	l.warnOfSecrets(s)
	if requests && s.Limits == nil {
		warn("", "no limits: say what the system allows, or a backfill may use up the owner's quota")
	}
	if requests && s.Probe == nil {
		warn("", "no probe: whether the system answers is known from failing syncs only")
	}
	if s.List != nil {
		l.warnOfList(s)
	}
	if s.Write != nil {
		l.warnOfWrites(s)
	}
	if s.Webhook != nil {
		l.warnOfHooks(s)
	}
	for i, r := range s.Errors {
		path := "errors[" + strconv.Itoa(i) + "]"
		if r.Kind == string(domain.KindNotFound) {
			warn(path+".kind", "not_found proves that an entry is removed: be sure that the system never says it of an entry that exists")
		}
		if len(r.Status) == 0 && r.When == "" {
			warn(path, "applies to every refusal, and no later rule is asked")
		}
	}
	if s.Read != nil {
		for _, status := range s.Read.MissingStatus {
			if status != http.StatusNotFound && status != http.StatusGone {
				warn("read.missing_status", "%d proves that an entry is removed: be sure that the system never says it of an entry that exists", status)
			}
		}
	}
}

var secretWords = []string{"authorization", "api-key", "apikey", "api_key", "x-auth-token", "cookie", "access_token", "secret", "password"}

// warnOfSecrets looks for credentials that stand in the file.
func (l *linter) warnOfSecrets(s Settings) {
	look := func(path string, r *Request) {
		if r == nil {
			return
		}
		for part, names := range map[string]map[string]Template{"headers": r.Headers, "query": r.Query} {
			for _, name := range sortedKeys(names) {
				if slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) }) {
					l.add(SeverityWarning, path+"."+part+"."+safeName(name), "looks like a credential: files are copied about, so use auth and a secret")
				}
			}
		}
	}
	if s.List != nil {
		look("list", &s.List.Request)
	}
	if s.Read != nil {
		look("read", &s.Read.Request)
	}
	if s.Probe != nil {
		look("probe", &s.Probe.Request)
	}
	if w := s.Write; w != nil {
		look("write.create", &w.Create.Request)
		if w.Update != nil {
			look("write.update", &w.Update.Request)
		}
		look("write.remove", &w.Remove)
		if w.Lookup != nil {
			look("write.lookup", &w.Lookup.Request)
		}
	}
}

func (l *linter) warnOfList(s Settings) {
	warn := func(path, format string, args ...any) { l.add(SeverityWarning, path, format, args...) }
	if s.Read == nil {
		warn("list", "without the part read an entry that is missing in a listing is never believed to be removed")
	}
	if g := s.List.Paging; s.List.Total == "" {
		switch {
		case g != nil && g.Kind == pagingOffset && !g.NoOverlap:
		case g != nil && g.Kind == pagingPage:
			warn("list.paging", "without list.total nobody notices an entry that slips past between two pages")
		case g != nil || s.List.Next != "":
			warn("list", "without list.total nobody notices a page that leaves something out")
		}
	}
	inc := s.List.Incremental
	if inc == nil {
		warn("list", "without incremental everything is listed each time")
		return
	}
	if inc.Watermark != "" {
		if inc.FullEveryHours == 0 {
			warn("list.incremental", "a listing by watermark tells nothing of removals: set full_every_hours, unless the system lists removed entries as changed")
		}
		if inc.OverlapSeconds > 0 && inc.OverlapSeconds < 60 {
			warn("list.incremental.overlap_seconds", "what is stored late by a system with several servers is missed by an overlap below a minute")
		}
		if inc.Format == "date" {
			warn("list.incremental.format", "by a date alone a whole day is read again each time")
		}
	}
	if inc.Order == "" && !slices.ContainsFunc(templatesOf(s.List.Request), func(t Template) bool { return strings.Contains(string(t), "since") }) &&
		!strings.Contains(string(s.List.Body), "since") {
		warn("list.incremental", "no template of the request uses since, so everything is listed each time")
	}
}

func templatesOf(r Request) []Template {
	out := []Template{r.Path}
	for _, group := range []map[string]Template{r.Query, r.Headers} {
		for _, t := range group {
			out = append(out, t)
		}
	}
	return out
}

func (l *linter) warnOfWrites(s Settings) {
	warn := func(path, format string, args ...any) { l.add(SeverityWarning, path, format, args...) }
	mapping, _ := merged(s.Mapping, s.Write.Mapping, "")
	if mapping.Origin == "" {
		warn("write", "without mapping.origin our own copies are known by our records alone: leave entry.booking_id on the entry and read it back")
	}
	if mapping.Revision == "" && s.Write.Update != nil {
		warn("write.update", "without mapping.revision a change that somebody made meanwhile is overwritten")
	}
	if s.Read == nil {
		warn("write", "without the part read the answer to a write is all that is known of the copy")
	}
	if s.Write.Update == nil {
		warn("write", "without update a copy whose booking moves stays where it is")
	}
	if s.Write.KeysOutliveEntries {
		warn("write.keys_outlive_entries", "doubles a new entry if the system's reads lag behind its writes")
	}
}

func (l *linter) warnOfHooks(s Settings) {
	warn := func(path, format string, args ...any) { l.add(SeverityWarning, path, format, args...) }
	w := s.Webhook
	switch w.Verify.Scheme {
	case webhookauth.PathToken:
		warn("webhook.verify.scheme", "who knows the address can make us read entries; choose a scheme with signatures if the system has one")
	case "bearer", "basic", "api-key":
		warn("webhook.verify.scheme", "the credential proves the sender and not the body; choose a scheme with signatures if the system has one")
	}
	if w.Verify.AllowSHA1 {
		warn("webhook.verify.allow_sha1", "SHA-1 is weak; ask the system for something better")
	}
	mapping, _ := merged(s.Mapping, w.Mapping, "")
	if mapping.RemoteVersion == "" && !w.FetchBack && w.Verify.Scheme != webhookauth.PathToken {
		warn("webhook", "without mapping.remote_version a delivery that comes late undoes a newer one")
	}
	if s.List == nil {
		warn("webhook", "without the part list a delivery that is lost is never made up for")
	}
}
