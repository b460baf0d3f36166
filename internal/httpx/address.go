package httpx

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// AddressPolicy says which addresses a client may connect to.
type AddressPolicy int

const (
	// PublicOnly allows public unicast addresses and https.
	PublicOnly AddressPolicy = iota
	// AllowPrivate also allows loopback, private, link-local and shared addresses, and plain http. It is for
	// development and tests; metadata services stay out of reach even then.
	AllowPrivate
)

// ErrAddress is in the chain of every error about an address that the policy refuses.
var ErrAddress = errors.New("address not allowed")

type block struct {
	prefix netip.Prefix
	what   string
	// private marks ranges that AllowPrivate opens.
	private bool
}

func blocks(private bool, what string, prefixes ...string) []block {
	out := make([]block, len(prefixes))
	for i, p := range prefixes {
		out[i] = block{netip.MustParsePrefix(p), what, private}
	}
	return out
}

// refused is gone through in order; the first match decides. It follows the IANA special-purpose registries.
var refused = func() []block {
	var all []block
	for _, list := range [][]block{
		// Most specific first: these answer with credentials of the machine, and one of them is a public address.
		blocks(false, "metadata service", "169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "100.100.100.200/32",
			"168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128"),
		blocks(false, "unspecified", "0.0.0.0/8", "::/128"),
		blocks(false, "multicast", "224.0.0.0/4", "ff00::/8"),
		blocks(true, "loopback", "127.0.0.0/8", "::1/128"),
		blocks(true, "private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
		blocks(true, "link-local", "169.254.0.0/16", "fe80::/10"),
		blocks(true, "shared (CGNAT)", "100.64.0.0/10"),
		blocks(false, "documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
		blocks(false, "benchmarking", "198.18.0.0/15"),
		blocks(false, "reserved", "192.0.0.0/24", "240.0.0.0/4"),
		// Each of these carries an IPv4 address that a gateway would connect to in our place.
		blocks(false, "translated or tunnelled IPv4", "::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48",
			"2002::/16", "192.88.99.0/24"),
		blocks(false, "segment routing", "5f00::/16"),
		// Teredo, ORCHID, benchmarking and other protocols, none of them a host.
		blocks(false, "protocol assignment", "2001::/23"),
	} {
		all = append(all, list...)
	}
	return all
}()

var globalIPv6 = netip.MustParsePrefix("2000::/3")

// CheckAddress returns nil if the policy lets a client connect to addr, and otherwise an error of kind permanent with
// [ErrAddress] in its chain that says what kind of address it is. IPv6 outside 2000::/3 is refused as a whole, so that
// ranges assigned later are refused until somebody looks at them.
func CheckAddress(addr netip.Addr, policy AddressPolicy) error {
	if what := refusal(addr, policy); what != "" {
		return domain.E(domain.KindPermanent, "%w: %s", ErrAddress, what)
	}
	return nil
}

func refusal(addr netip.Addr, policy AddressPolicy) string {
	if !addr.IsValid() {
		return "malformed"
	}
	// A zone names an interface of this machine, and prefixes never contain an address with one.
	zone := addr.Zone() != ""
	addr = addr.WithZone("")
	for _, b := range refused {
		if b.prefix.Contains(addr) {
			if b.private && policy == AllowPrivate {
				return ""
			}
			return b.what
		}
	}
	if zone {
		return "zoned"
	}
	if addr.Is6() && !globalIPv6.Contains(addr) {
		return "not global unicast"
	}
	return ""
}

// CheckURL returns nil if a client with this policy would ask u, as far as can be told without resolving its name. Use
// it when a URL is stored. Errors are of kind invalid or permanent and do not repeat the URL.
func CheckURL(u *url.URL, policy AddressPolicy) error {
	switch {
	case u == nil || u.Hostname() == "":
		return domain.Invalid("url", "no host")
	case u.Scheme != "https" && u.Scheme != "http":
		return domain.Invalid("url", "scheme is neither https nor http")
	case u.Scheme == "http" && policy != AllowPrivate:
		return domain.Invalid("url", "scheme is http; want https")
	case u.User != nil:
		return domain.Invalid("url", "holds a user name or password; give them as credentials")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return CheckAddress(addr.Unmap(), policy)
	}
	return nil
}

// control is called with the address of every connection just before it is made.
func (p AddressPolicy) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return domain.E(domain.KindPermanent, "%w: network %s", ErrAddress, network)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return domain.E(domain.KindPermanent, "%w: malformed", ErrAddress)
	}
	return CheckAddress(target.Addr(), p)
}

func (p AddressPolicy) dialer(o Timeouts) *net.Dialer {
	return &net.Dialer{Timeout: o.Dial, KeepAlive: keepAlive, Control: p.control}
}

// Dialer returns a dialer for other protocols than HTTP that connects only to addresses which the policy allows. timeout
// bounds one connection; keep-alive is the same as for HTTP.
func (p AddressPolicy) Dialer(timeout time.Duration) *net.Dialer {
	return p.dialer(Timeouts{Dial: timeout})
}
