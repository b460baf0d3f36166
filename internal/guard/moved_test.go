package guard_test

import (
	"testing"

	"github.com/wedsync/wedsync/internal/guard"
)

func TestPlaceIsWhatSettingsSayOfAccountAndCalendar(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{"calendar":"a@example.test","window_past_days":30,"development":{"api":"x"}}`: `{"calendar":"a@example.test"}`,
		`{"mailbox":"77aa","calendar":"AAb","tenant":"common"}`:                         `{"calendar":"AAb","mailbox":"77aa"}`,
		`{"account":9007199254740993}`:                                                  `{"account":9007199254740993}`,
		`{"calendar":"","username":null,"account":["x"]}`:                               "",
		`{"base_url":"https://one.example.test"}`:                                       "",
		`nonsense`: "",
	} {
		if got := string(guard.Place([]byte(settings))); got != want {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

func TestElsewhereIsAnotherAccountOrCalendarAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		was, now string
		want     bool
	}{
		{`{"username":"a@example.test"}`, `{"username":"b@example.test"}`, true},
		{`{"username":"A@example.test"}`, `{"username":"a@example.test"}`, false},
		{`{"calendar_id":"one"}`, `{"calendar_id":"two"}`, true},
		{`{"calendar_id":"AAb"}`, `{"calendar_id":"AAB"}`, true}, // ids may differ in case alone
		{`{"username":"a"}`, `{"username":"a","calendar":"/a/cal/"}`, false},
		{`{"calendar":"/a/cal"}`, `{"calendar":"https://dav.example.test/a/cal/"}`, false},
		{`{"calendar":"/a/cal/"}`, `{"calendar":"/a/other/"}`, true},
		{`{"calendar":"/a/cal/"}`, `{}`, false},
		{`{"url":"https://one.example.test","username":"a"}`, `{"url":"https://two.example.test","username":"a"}`, false},
		{`{"base_url":"https://one.example.test"}`, `{"base_url":"https://two.example.test"}`, false},
		{`{"window_past_days":30}`, `{"window_past_days":60}`, false},
		{`{"account":9007199254740993}`, `{"account":9007199254740992}`, true},
		{`{"account":1}`, `{"account":1}`, false},
		{`nonsense`, `{"account":"x"}`, false},
	} {
		if got := guard.Elsewhere([]byte(c.was), []byte(c.now)); got != c.want {
			t.Errorf("%s to %s: %t, want %t", c.was, c.now, got, c.want)
		}
	}
}
