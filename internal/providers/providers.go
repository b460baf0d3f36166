// Package providers is the list of the systems that WedSync can connect to. A new provider is one folder beside this
// file and one line in All; the suite in providertest then runs over it, and the API and the docs show it.
//
//	reg, err := providers.Get(integration.Provider)
//	opened, err := reg.Open(connection)
//	puller, ok := provider.As[provider.Puller](opened)
//
// The list is fixed at compile time and in the order in which people see it. All functions are pure.
package providers

import (
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/caldav"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/google"
	"github.com/wedsync/wedsync/internal/providers/honeybook"
	"github.com/wedsync/wedsync/internal/providers/ics"
	"github.com/wedsync/wedsync/internal/providers/lightblue"
	"github.com/wedsync/wedsync/internal/providers/outlook"
	"github.com/wedsync/wedsync/internal/providers/schedulers"
	"github.com/wedsync/wedsync/internal/providers/scrape"
	"github.com/wedsync/wedsync/internal/providers/tave"
)

// All returns every provider. The slice is the caller's own.
func All() []provider.Registration {
	return []provider.Registration{
		caldav.Registration,
		custom.Registration,
		google.Registration,
		outlook.Registration,
		ics.Registration,
		tave.Registration,
		schedulers.Calendly,
		schedulers.Acuity,
		schedulers.CalCom,
		honeybook.Registration,
		lightblue.Registration,
		scrape.Registration,
	}
}

// Get returns a provider by its name. An unknown name is domain.Invalid on the field "provider".
func Get(name string) (provider.Registration, error) {
	names := ""
	for _, r := range All() {
		if r.Name == name {
			return r, nil
		}
		names += ", " + r.Name
	}
	return provider.Registration{}, domain.Invalid("provider", "must be one of %s", names[2:])
}
