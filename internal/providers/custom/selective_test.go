package custom

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/provider"
)

func TestSystemThatPostsAboutSomeChangesOnlySaysSo(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]bool{`,"selective":true`: true, `,"selective":false`: false, "": false} {
		settings := json.RawMessage(fmt.Sprintf(`{"webhook":{"verify":{"scheme":"standard-webhooks"},"mapping":{"external_id":"item.id","drop":"true","category":"'vendor'","start":"timestamp(item.at)"}%s}}`, setting))
		s, ok := provider.As[provider.Selective](openHooks(t, settings, time.UTC))
		if !ok || s.Selective() != want {
			t.Errorf("%q: selective is %t, want %t", setting, ok && s.Selective(), want)
		}
	}
}
