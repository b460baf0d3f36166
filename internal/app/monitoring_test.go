package app

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/vault"
)

// described are the metrics that a server registers, with the labels of each.
func described(t *testing.T) map[string]string {
	t.Helper()
	cfg := Defaults()
	cfg.DatabaseURL = storetest.URL(t)
	cfg.Keys, cfg.LogLevel = vault.GenerateKey(), "error"
	cfg.TokenKeys = "test:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	core, err := Open(t.Context(), cfg, "server")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(core.Close)
	if _, err := NewServer(core, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	out := make(chan *prometheus.Desc, 1000)
	core.Metrics.Describe(out)
	close(out)
	have := map[string]string{}
	form := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for d := range out {
		if m := form.FindStringSubmatch(d.String()); m != nil {
			have[m[1]] = m[2]
		}
	}
	return have
}

var (
	metricName = regexp.MustCompile(`wedsync_[a-z_]+`)
	selector   = regexp.MustCompile(`(wedsync_[a-z_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	parts      = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// TestTheShippedDashboardAndRulesAskOnlyForWhatIsThere reads every expression under deploy/monitoring.
func TestTheShippedDashboardAndRulesAskOnlyForWhatIsThere(t *testing.T) {
	t.Parallel()
	have := described(t)
	if len(have) < 25 {
		t.Fatalf("only %d metrics are described", len(have))
	}
	known := func(name string) (string, bool) {
		labels, ok := have[name]
		if !ok {
			labels, ok = have[parts.ReplaceAllString(name, "")]
		}
		return labels, ok
	}
	for _, file := range []string{"grafana-dashboard.json", "alerts.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\"`, `"`)
		names := metricName.FindAllString(plain, -1)
		if len(names) < 10 {
			t.Errorf("%s asks for %d metrics only; the test sees too little", file, len(names))
		}
		for _, name := range names {
			if _, ok := known(name); !ok {
				t.Errorf("%s asks for %s, which no server has", file, name)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(plain, -1) {
			labels, _ := known(m[1])
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(","+labels+",", ","+l[1]+",") && l[1] != "le" {
					t.Errorf("%s selects %s by %s, and it has {%s}", file, m[1], l[1], labels)
				}
			}
		}
	}
}

// TestTheShippedDashboardIsOne checks the shape that Grafana imports.
func TestTheShippedDashboardIsOne(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "monitoring", "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || len(d.Panels) < 8 {
		t.Errorf("%q has %d panels", d.Title, len(d.Panels))
	}
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.Title == "" || p.Type == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q is not whole", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			if target.Expr == "" || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
				t.Errorf("panel %q has the expression %q", p.Title, target.Expr)
			}
		}
	}
}

// TestNoMetricIsLabelledByAThingThatAnybodyCanMake keeps the number of series bounded.
func TestNoMetricIsLabelledByAThingThatAnybodyCanMake(t *testing.T) {
	t.Parallel()
	for name, labels := range described(t) {
		for _, l := range strings.Split(labels, ",") {
			switch l {
			case "integration", "integration_id", "org", "org_id", "id", "path", "user", "host", "url":
				t.Errorf("%s is labelled by %s", name, l)
			}
		}
	}
}
