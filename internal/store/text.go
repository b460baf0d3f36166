package store

import (
	"strings"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
)

// checkText refuses what a text column cannot hold as it is.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return domain.Invalid(field, "at most %d bytes, has %d", limit, len(s))
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return domain.Invalid(field, "must be valid UTF-8 without NUL")
	}
	return nil
}

// clip shortens an explanation that a machine wrote. Such a text must not stop the work that it explains, so it is cut
// and mended instead of refused.
func clip(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
