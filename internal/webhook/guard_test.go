package webhook_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

func guard(t testing.TB, cfg webhook.GuardConfig) *webhook.Guard {
	t.Helper()
	g, err := webhook.NewGuard(cfg)
	require.NoError(t, err)
	return g
}

func networks(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func refused(t *testing.T, g *webhook.Guard, address string) {
	t.Helper()
	_, err := g.CheckURL(t.Context(), address)
	var refusal *webhook.Refusal
	if assert.ErrorAs(t, err, &refusal, address) {
		assert.NotEmpty(t, refusal.Reason)
	}
}

func accepted(t *testing.T, g *webhook.Guard, address, want string) {
	t.Helper()
	got, err := g.CheckURL(t.Context(), address)
	require.NoError(t, err, address)
	require.Equal(t, want, got)
}

// addressesInside are one or more of each network that no webhook may reach.
func addressesInside() []string {
	return []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", // loopback, this, private
		"169.254.1.1", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.88.99.1", // link-local, CGNAT, IETF, 6to4 relay
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", // documentation, benchmarks
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", // multicast, reserved, broadcast
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192", // clouds
		"[::]", "[::1]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[ff0e::1]", // the same in IPv6
		"[2001:db8::1]", "[3fff::1]", "[2001:2::1]", "[100::1]", "[5f00::1]", "[2001::1]", "[2001:10::1]", // documentation, benchmark, discard, SRv6, Teredo, ORCHID
		"[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]",
		"[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", // mapped
		"[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[64:ff9b:1::a00:1]", // compatible, translated, NAT64
		"[2002:7f00:1::1]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::1]", // 6to4
	}
}

// Case 25.
func TestAddressesInsideAreRefused(t *testing.T) {
	t.Parallel()
	g := guard(t, webhook.GuardConfig{Resolver: brokenResolver()}) // under which a name would be accepted
	for _, host := range addressesInside() {
		refused(t, g, "https://"+host+"/hook")
		refused(t, g, "https://"+host+":8443/hook")
	}
	// Nor by a way of writing that some resolver or connection would understand.
	for _, host := range []string{
		"2130706433", "0x7f000001", "0X7F000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.01", "10.0.0.010",
		"127.0.0.1.", "0", "0.", "0x", "256.256.256.256", "1.1.1.1.1", "a.0x1", "a.1",
		"①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1", "%31%32%37.0.0.1", "[fe80::1%25lo]", "[::1%25lo]", "[::ffff:7f00:1%25lo]", "[127.0.0.1]",
	} {
		refused(t, g, "https://"+host+"/hook")
	}
}

func TestAddressesOutsideAreAccepted(t *testing.T) {
	t.Parallel()
	g := guard(t, webhook.GuardConfig{})
	for _, host := range []string{"1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "168.63.129.17", "[2606:4700:4700::1111]", "[2a00:1450::1]"} {
		accepted(t, g, "https://"+host+"/hook?a=b", "https://"+host+"/hook?a=b")
	}
	accepted(t, g, "HTTPS://1.1.1.1:8443", "https://1.1.1.1:8443")
}

// Case 24.
func TestOtherThanPlainHTTPSAddressesAreRefused(t *testing.T) {
	t.Parallel()
	g := guard(t, webhook.GuardConfig{})
	for _, address := range []string{
		"", "hook", "/hook", "//1.1.1.1/hook", "https:", "https://", "https:///hook", "https:1.1.1.1", "https://:443/", "https://./", "https://../",
		"http://1.1.1.1/", "file:///etc/passwd", "file://1.1.1.1/etc/passwd", "ftp://1.1.1.1/", "gopher://1.1.1.1/", "unix:///run/x", "javascript:alert(1)",
		"https://user@1.1.1.1/", "https://user:password@1.1.1.1/", "https://@1.1.1.1/", "https://1.1.1.1#@evil/", "https://1.1.1.1/#", "https://1.1.1.1/#part",
		"https://1.1.1.1:0/", "https://1.1.1.1:65536/", "https://1.1.1.1:99999999999/", "https://1.1.1.1:-1/", "https://1.1.1.1:x/",
		"https://1.1.1.1:22/", "https://1.1.1.1:25/", "https://1.1.1.1:587/", "https://1.1.1.1/\r\nX: y", "https://1.1.1.1\\@evil/", "https://a b/", "https://a!b/", " https://1.1.1.1/",
		"https://1.1.1.1/" + strings.Repeat("a", 2048),
	} {
		refused(t, g, address)
	}
	_, err := g.CheckURL(t.Context(), "https://user:s3cr3t@1.1.1.1:x/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "s3cr3t")

	accepted(t, guard(t, webhook.GuardConfig{AllowHTTP: true}), "http://1.1.1.1/", "http://1.1.1.1/")
	refused(t, guard(t, webhook.GuardConfig{AllowHTTP: true}), "http://127.0.0.1/")
	only := guard(t, webhook.GuardConfig{Ports: []uint16{443}})
	accepted(t, only, "https://1.1.1.1/", "https://1.1.1.1/")
	refused(t, only, "https://1.1.1.1:8443/")
}

func TestAllowedNetworkIsReachedAsOneLikesButNothingElse(t *testing.T) {
	t.Parallel()
	g := guard(t, webhook.GuardConfig{AllowedNetworks: networks("10.1.0.0/16", "fd12::/16", "169.254.0.0/16", "100.64.0.0/10", "168.63.0.0/16", "fd00::/16")})
	for _, host := range []string{"10.1.2.3", "[fd12::1]", "[::ffff:10.1.2.3]", "169.254.1.1"} {
		accepted(t, g, "http://"+host+":22/", "http://"+host+":22/")
	}
	for _, host := range []string{
		"10.2.0.1", "127.0.0.1", "[::1]", "[64:ff9b::a01:203]", // another network, another form
		"169.254.169.254", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", // allowed as networks, never as these
	} {
		refused(t, g, "https://"+host+"/")
	}
	refused(t, g, "http://1.1.1.1/")

	nat := guard(t, webhook.GuardConfig{AllowedNetworks: networks("64:ff9b::/96")})
	accepted(t, nat, "https://[64:ff9b::101:101]/", "https://[64:ff9b::101:101]/")
	refused(t, nat, "http://[64:ff9b::101:101]/")
	refused(t, nat, "https://[64:ff9b::7f00:1]/")
	refused(t, nat, "https://[64:ff9b::a9fe:a9fe]/")
	both := guard(t, webhook.GuardConfig{AllowedNetworks: networks("64:ff9b::/96", "169.254.0.0/16")})
	accepted(t, both, "http://[64:ff9b::a9fe:101]/", "http://[64:ff9b::a9fe:101]/")
	refused(t, both, "https://[64:ff9b::a9fe:a9fe]/")
}

func TestNameIsLookedUpWhenItIsNamed(t *testing.T) {
	t.Parallel()
	names := &nameServer{answers: map[string][][]string{
		"good.example.": {{"1.1.1.1", "2606:4700:4700::1111"}}, "in.example.": {{"10.0.0.1"}}, "mixed.example.": {{"1.1.1.1", "10.0.0.1"}},
		"six.example.": {{"fd12::1"}}, "mapped.example.": {{"::ffff:10.0.0.1"}}, "private.example.": {{"10.1.0.1"}}, "both.example.": {{"10.1.0.1", "1.1.1.1"}},
		"xn--bcher-kva.example.": {{"1.1.1.1"}}, "a_b.example.": {{"1.1.1.1"}},
	}}
	g := guard(t, webhook.GuardConfig{Resolver: names.resolver(t), AllowedNetworks: networks("10.1.0.0/16")})
	accepted(t, g, "https://good.example/x", "https://good.example/x")
	accepted(t, g, "https://GOOD.example:/x", "https://good.example/x")
	accepted(t, g, "https://bücher.example/", "https://xn--bcher-kva.example/")
	accepted(t, g, "https://a_b.example/", "https://a_b.example/")
	accepted(t, g, "http://private.example:22/", "http://private.example:22/")
	for _, name := range []string{"in", "mixed", "six", "mapped", "absent"} {
		refused(t, g, "https://"+name+".example/")
	}
	refused(t, g, "http://good.example/")
	refused(t, g, "http://both.example/") // one of its addresses would be reached over the internet by http
	_, err := g.CheckURL(t.Context(), "https://in.example/")
	require.NotContains(t, err.Error(), "10.0.0.1", "what a name stands for inside is nobody's business")
}

func brokenResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
}

func TestSilentNameServerRefusesOnlyHTTP(t *testing.T) {
	t.Parallel()
	g := guard(t, webhook.GuardConfig{Resolver: brokenResolver(), AllowedNetworks: networks("10.1.0.0/16")})
	accepted(t, g, "https://some.example/", "https://some.example/")
	refused(t, g, "http://some.example/")
}

func TestWrongGuardConfigurationIsNamed(t *testing.T) {
	t.Parallel()
	_, err := webhook.NewGuard(webhook.GuardConfig{AllowedNetworks: []netip.Prefix{{}, netip.MustParsePrefix("::ffff:10.0.0.0/104")}, Ports: []uint16{0}, ResolveTimeout: -1})
	for _, part := range []string{"network 1", "::ffff:10.0.0.0/104", "port 0", "below zero"} {
		require.ErrorContains(t, err, part)
	}
}
