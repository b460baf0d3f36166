package webhookauth

import (
	"fmt"
	"net/netip"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxAllowAddresses is how many addresses and ranges one config may allow.
const MaxAllowAddresses = 64

// parseAddresses reads addresses and CIDR ranges. IPv4 inside IPv6 becomes IPv4, as it does for a peer, so that one
// range serves both spellings.
func parseAddresses(list []string) ([]netip.Prefix, error) {
	if len(list) > MaxAllowAddresses {
		return nil, domain.Invalid("allow_addresses", "%d; want at most %d", len(list), MaxAllowAddresses)
	}
	var out []netip.Prefix
	for i, text := range list {
		field := fmt.Sprintf("allow_addresses[%d]", i)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, domain.Invalid(field, "want an address or a range such as 192.0.2.0/24")
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, domain.Invalid(field, "is wider than all of IPv4; write the range as IPv4 or IPv6")
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p != p.Masked() {
			return nil, domain.Invalid(field, "has bits set behind its length; did you mean %s?", p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

func (v *Verifier) checkAddress(peer netip.Addr) *Reason {
	if len(v.addresses) == 0 {
		return nil
	}
	peer = peer.Unmap().WithZone("")
	if peer.IsValid() {
		for _, p := range v.addresses {
			if p.Contains(peer) {
				return nil
			}
		}
		return refuse(AddressNotAllowed, "the sender's address is in none of the %d allowed ranges", len(v.addresses))
	}
	return refuse(AddressNotAllowed, "the sender's address is not known; check the settings about trusted proxies")
}

// checkOthers refuses fields that belong to another scheme and checks those that belong to all.
func (c *Config) checkOthers() error {
	if c.JWT != nil && c.Scheme != JWTBearer {
		return domain.Invalid("jwt", "only has a meaning with scheme %q", JWTBearer)
	}
	if c.Query != "" && c.Scheme != APIKey {
		return domain.Invalid("query", "only has a meaning with scheme %q", APIKey)
	}
	if c.Certificate != nil && c.Scheme != ClientCertificate {
		return domain.Invalid("client_certificate", "only has a meaning with scheme %q", ClientCertificate)
	}
	_, err := parseAddresses(c.AllowAddresses)
	return err
}

// unused refuses the fields of signatures for schemes that have none.
func (c *Config) unused() error {
	for _, f := range []struct {
		name string
		set  bool
	}{{"encoding", c.Encoding != ""}, {"content", c.Content != ""}, {"timestamp_header", c.TimestampHeader != ""},
		{"tolerance_seconds", c.ToleranceSeconds != 0}} {
		if f.set {
			return domain.Invalid(f.name, "%s has no use for it; leave it empty", c.Scheme)
		}
	}
	return nil
}
