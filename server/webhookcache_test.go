package server

import (
	"testing"
	"time"
)

// A change that was committed a minute late, or by a clock a minute behind, is heard of within ten questions.
func TestEveryTenthQuestionLooksBackAMinute(t *testing.T) {
	t.Parallel()
	if from := followFrom(time.Time{}, 0); !from.IsZero() {
		t.Errorf("the first question looks back to %v; want everything", from)
	}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	deep := 0
	for answered := 1; answered <= 40; answered++ {
		switch back := at.Sub(followFrom(at, answered)); back {
		case followOverlap:
		case followDeepOverlap:
			deep++
		default:
			t.Errorf("question %d looks back %v", answered, back)
		}
	}
	if deep != 4 {
		t.Errorf("%d of 40 questions look back a minute; want 4", deep)
	}
	if followDeepOverlap < time.Minute+followDeep*followEvery {
		t.Errorf("what is a minute late may fall between two long looks back")
	}
}
