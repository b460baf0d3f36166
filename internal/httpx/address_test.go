package httpx

import (
	"errors"
	"net/netip"
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAddressTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr            string
		public, private string // what the refusal says under each policy; "" is allowed
	}{
		{"8.8.8.8", "", ""},
		{"1.1.1.1", "", ""},
		{"100.63.255.255", "", ""},
		{"100.128.0.0", "", ""},
		{"172.15.255.255", "", ""},
		{"172.32.0.0", "", ""},
		{"192.0.1.1", "", ""},
		{"198.17.255.255", "", ""},
		{"198.20.0.0", "", ""},
		{"223.255.255.255", "", ""},
		{"2606:4700:4700::1111", "", ""},
		{"2a00:1450:4001::1", "", ""},
		{"2001:200::1", "", ""},
		{"2001:4860:4860::8888", "", ""},
		{"3fff:1000::1", "", ""},

		{"0.0.0.0", "unspecified", "unspecified"},
		{"0.1.2.3", "unspecified", "unspecified"},
		{"::", "unspecified", "unspecified"},
		{"127.0.0.1", "loopback", ""},
		{"127.255.255.254", "loopback", ""},
		{"::1", "loopback", ""},
		{"10.0.0.1", "private", ""},
		{"172.16.0.1", "private", ""},
		{"172.31.255.255", "private", ""},
		{"192.168.1.1", "private", ""},
		{"fc00::1", "private", ""},
		{"fdff::1", "private", ""},
		{"169.254.1.1", "link-local", ""},
		{"fe80::1", "link-local", ""},
		{"fe80::1%eth0", "link-local", ""},
		{"febf::1", "link-local", ""},
		{"100.64.0.1", "shared (CGNAT)", ""},
		{"100.127.255.255", "shared (CGNAT)", ""},
		{"169.254.169.254", "metadata service", "metadata service"},
		{"169.254.170.2", "metadata service", "metadata service"},
		{"100.100.100.200", "metadata service", "metadata service"},
		{"168.63.129.16", "metadata service", "metadata service"},
		{"fd00:ec2::254", "metadata service", "metadata service"},
		{"224.0.0.1", "multicast", "multicast"},
		{"239.255.255.255", "multicast", "multicast"},
		{"ff02::1", "multicast", "multicast"},
		{"192.0.2.1", "documentation", "documentation"},
		{"198.51.100.1", "documentation", "documentation"},
		{"203.0.113.1", "documentation", "documentation"},
		{"2001:db8::1", "documentation", "documentation"},
		{"3fff::1", "documentation", "documentation"},
		{"3fff:fff::1", "documentation", "documentation"},
		{"198.18.0.1", "benchmarking", "benchmarking"},
		{"198.19.255.255", "benchmarking", "benchmarking"},
		{"192.0.0.8", "reserved", "reserved"},
		{"240.0.0.1", "reserved", "reserved"},
		{"255.255.255.255", "reserved", "reserved"},
		{"::ffff:8.8.8.8", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"::ffff:127.0.0.1", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"::127.0.0.1", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"64:ff9b::7f00:1", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"64:ff9b:1::a00:1", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"2002:7f00:1::", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"192.88.99.1", "translated or tunnelled IPv4", "translated or tunnelled IPv4"},
		{"5f00::1", "segment routing", "segment routing"},
		{"2001::1", "protocol assignment", "protocol assignment"},
		{"2001:10::1", "protocol assignment", "protocol assignment"},
		{"2001:2::1", "protocol assignment", "protocol assignment"},
		{"fec0::1", "not global unicast", "not global unicast"},
		{"100::1", "not global unicast", "not global unicast"},
		{"4000::1", "not global unicast", "not global unicast"},
		{"2606:4700::1%eth0", "zoned", "zoned"},
	} {
		addr := netip.MustParseAddr(c.addr)
		for policy, want := range map[AddressPolicy]string{PublicOnly: c.public, AllowPrivate: c.private} {
			if got := refusal(addr, policy); got != want {
				t.Errorf("%s under policy %d: %q, want %q", c.addr, policy, got, want)
			}
			err := CheckAddress(addr, policy)
			if (err != nil) != (want != "") || (err != nil && (!errors.Is(err, ErrAddress) || domain.KindOf(err) != domain.KindPermanent)) {
				t.Errorf("%s: %v", c.addr, err)
			}
		}
	}
	if refusal(netip.Addr{}, AllowPrivate) == "" {
		t.Error("the zero address is allowed")
	}
}

// What the standard library itself calls special is never public.
func TestPublicAddressesAreGlobalUnicast(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v6") {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
		} else {
			addr = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		}
		special := addr.IsPrivate() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || !addr.IsGlobalUnicast() || addr.Is4In6()
		if special && refusal(addr, PublicOnly) == "" {
			t.Fatalf("%s is allowed", addr)
		}
		if refusal(addr, PublicOnly) == "" && refusal(addr, AllowPrivate) != "" {
			t.Fatalf("%s is public but refused in development", addr)
		}
	})
}

func TestDialControlChecksTheRealAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2606:4700:4700::1111]:443", true},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp6", "[::ffff:8.8.8.8]:443", false},
		{"tcp6", "[fe80::1%lo]:443", false},
		{"udp4", "8.8.8.8:53", false},
		{"unix", "/run/socket", false},
		{"tcp4", "example.com:443", false},
	} {
		err := PublicOnly.control(c.network, c.address, nil)
		if (err == nil) != c.ok || (err != nil && !errors.Is(err, ErrAddress)) {
			t.Errorf("%s %s: %v", c.network, c.address, err)
		}
	}
}

func TestURLTable(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][2]domain.ErrorKind{
		"https://example.com/x?y":                   {"", ""},
		"https://EXAMPLE.com.:8443":                 {"", ""},
		"http://example.com":                        {domain.KindInvalid, ""},
		"ftp://example.com":                         {domain.KindInvalid, domain.KindInvalid},
		"file:///etc/passwd":                        {domain.KindInvalid, domain.KindInvalid},
		"//example.com":                             {domain.KindInvalid, domain.KindInvalid},
		"https://":                                  {domain.KindInvalid, domain.KindInvalid},
		"https://:443":                              {domain.KindInvalid, domain.KindInvalid},
		"https://user:pass@example.com":             {domain.KindInvalid, domain.KindInvalid},
		"https://127.0.0.1":                         {domain.KindPermanent, ""},
		"https://[::1]:8443":                        {domain.KindPermanent, ""},
		"https://[::ffff:10.0.0.1]":                 {domain.KindPermanent, ""},
		"https://169.254.169.254/latest":            {domain.KindPermanent, domain.KindPermanent},
		"https://[::ffff:169.254.169.254]/computed": {domain.KindPermanent, domain.KindPermanent},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for policy, kind := range map[AddressPolicy]domain.ErrorKind{PublicOnly: want[0], AllowPrivate: want[1]} {
			if got := domain.KindOf(CheckURL(u, policy)); got != kind {
				t.Errorf("%s under policy %d: %q, want %q", raw, policy, got, kind)
			}
		}
	}
	if domain.KindOf(CheckURL(nil, AllowPrivate)) != domain.KindInvalid {
		t.Error("no URL is allowed")
	}
}
