package google

import (
	"testing"

	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name string
		opt  func(*googlesim.Options)
		many int
	}{
		{name: "full pages", many: pageSize + 10},
		{name: "short pages", opt: func(o *googlesim.Options) { o.PageSize = 7 }, many: 30},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Harness{
				Registration: Registration, Many: v.many, Secrets: []string{secret, studio},
				Lacks: map[string]string{"puller/missing page is noticed": "Google leads from page to page by tokens and tells no total"},
				Open: func(t testing.TB) (any, providertest.World) {
					b := setup(t, change{sim: func(o *googlesim.Options) {
						if o.PlainHTTP = true; v.opt != nil { // the suite takes messages on this machine
							v.opt(o)
						}
					}})
					return b.conn, world{b}
				},
			})
		})
	}
}
