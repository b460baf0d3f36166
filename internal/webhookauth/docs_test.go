package webhookauth

import (
	"os"
	"strings"
	"testing"
)

func TestTheDocumentNamesEverySchemeAndHandshake(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{string(GraphHandshake), string(SlackHandshake), string(XHandshake), string(ZoomHandshake), string(MetaHandshake)}
	for _, s := range Schemes() {
		names = append(names, string(s.Scheme))
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/webhooks.md does not name %s", name)
		}
	}
}
