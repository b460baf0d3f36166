package app

import (
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestWrongLimitsAndProxiesAreNamed(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Config){
		"address-rate":       func(c *Config) { c.AddressRate = 0.5 },
		"organization-rate":  func(c *Config) { c.OrganizationRate = 2e6 },
		"server-share":       func(c *Config) { c.ServerShare = 0 },
		"max-waiting":        func(c *Config) { c.MaxWaiting = 10 },
		"trusted-proxies":    func(c *Config) { c.TrustedProxies = []string{"everywhere"} },
		"forwarded-header":   func(c *Config) { c.ForwardedHeader = "via" },
		"client-cert-format": func(c *Config) { c.ClientCertHeader, c.ClientCertFormat = "X-Cert", "der" },
		"client-cert-header": func(c *Config) { c.ClientCertHeader = "X-Cert" },
	} {
		c := Defaults()
		change(&c)
		if err := c.Validate(false); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
	c := Defaults()
	c.AddressRate, c.OrganizationRate, c.MaxWaiting = 0, 0, 0
	c.TrustedProxies, c.ClientCertHeader, c.ForwardedHeader = []string{"10.0.0.0/8"}, "X-Cert", "Forwarded"
	for _, field := range []string{"rate", "max-waiting", "prox", "header", "format"} {
		if err := c.Validate(false); err != nil && strings.Contains(err.Error(), field) {
			t.Errorf("good settings: %v", err)
		}
	}
}
