package temporaltest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
)

func TestServerIsSharedAndHasTheSearchAttributes(t *testing.T) {
	t.Parallel()
	address := Server(t)
	if again := Server(t); again != address {
		t.Fatalf("second call gave %s, first %s", again, address)
	}
	c, err := client.DialContext(t.Context(), client.Options{HostPort: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	have, err := c.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, kind := range have.GetCustomAttributes() {
		if _, ours := SearchAttributes()[name]; ours {
			got[name] = kind.String()
		}
	}
	if diff := cmp.Diff(SearchAttributes(), got); diff != "" {
		t.Fatal(diff)
	}
}
