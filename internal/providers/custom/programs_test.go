package custom

import (
	"strconv"
	"testing"
)

func TestConnectionsOfOneSystemShareTheirPrograms(t *testing.T) {
	t.Parallel()
	const src = `string(item.id) + "-shared-programs"`
	first, err := compile(src, "webhook.mapping.id", 0, scopeItem, wantText, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := compile(src, "webhook.mapping.id", 0, scopeItem, wantText, nil); err != nil || again != first {
		t.Errorf("the same expression at the same place is made again: %v", err)
	}
	for name, of := range map[string]recipe{
		"place":    {src, "read.mapping.id", 0, scopeItem, wantText, ""},
		"offset":   {src, "webhook.mapping.id", 3, scopeItem, wantText, ""},
		"scope":    {src, "webhook.mapping.id", 0, scopeWritten, wantText, ""},
		"want":     {src, "webhook.mapping.id", 0, scopeItem, wantAny, ""},
		"constant": {src, "webhook.mapping.id", 0, scopeItem, wantText, "a b"},
	} {
		if programs.get(of) != nil {
			t.Errorf("an expression of another %s has the same program", name)
		}
	}
	for range 2 {
		if _, err := compile(`item.id +`, "webhook.mapping.id", 0, scopeItem, wantText, nil); err == nil {
			t.Error("a wrong expression is taken")
		}
	}
}

func TestKeptProgramsAreBounded(t *testing.T) {
	t.Parallel()
	c := programCache{most: 3}
	for n := range 10 {
		of := recipe{src: strconv.Itoa(n)}
		c.put(of, &program{source: of.src})
		if len(c.made) > 3 {
			t.Fatalf("%d programs", len(c.made))
		}
		if p := c.get(of); p == nil || p.source != of.src {
			t.Fatalf("the program just put is %v", p)
		}
	}
}
