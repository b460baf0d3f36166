package caldav

import (
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// preset is a service whose address and manners are known.
type preset string

const presetICloud preset = "icloud"

const (
	icloudAddress = "https://caldav.icloud.com/"
	icloudDomain  = "icloud.com"
	// appPasswords is what people must know: none can be made by a program, and all end with the account's password.
	appPasswords = "iCloud takes app-specific passwords only, written xxxx-xxxx-xxxx-xxxx; make one at account.apple.com under Sign-In and Security, and a new one whenever the password of the Apple Account changes"
)

// address is where discovery begins.
func (s settings) address() (string, error) {
	switch {
	case s.URL == "" && s.Preset == presetICloud:
		return icloudAddress, nil
	case s.URL == "" || len(s.URL) > maxURL:
		return "", domain.Invalid("settings.url", "is required without a preset, at most %d bytes", maxURL)
	}
	return s.URL, nil
}

func (s settings) checkPreset() error {
	switch s.Preset {
	case "":
		return nil
	case presetICloud:
		host := strings.ToLower(s.server.Hostname())
		if s.server.Scheme != "https" || host != icloudDomain && !strings.HasSuffix(host, "."+icloudDomain) {
			return domain.Invalid("settings.url", "must be an https address under %s with this preset, or be left out", icloudDomain)
		}
		if !strings.Contains(s.Username, "@") {
			return domain.Invalid("settings.username", "must be the mail address of the Apple Account")
		}
		return nil
	}
	return domain.Invalid("settings.preset", "must be %s, or be left out", presetICloud)
}

// password checks the password and brings it into the form in which the service takes it.
func (s settings) password(secrets map[string]string) (string, error) {
	given := secrets["password"]
	if given == "" {
		return "", domain.Invalid("secrets.password", "is required")
	}
	if s.Preset != presetICloud {
		return given, nil
	}
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(given))
	bad := len(plain) != 16
	for _, b := range []byte(plain) {
		bad = bad || !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9')
	}
	if bad {
		return "", domain.Invalid("secrets.password", "%s", appPasswords)
	}
	return plain[:4] + "-" + plain[4:8] + "-" + plain[8:12] + "-" + plain[12:], nil
}
