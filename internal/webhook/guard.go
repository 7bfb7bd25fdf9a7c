package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// Refusal says why no request goes to a target. Its text is safe to show to whoever named the target: no address that a name
// resolved to is in it.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, args...)}
}

// GuardConfig says where requests may go. The zero value is right for targets on the internet.
type GuardConfig struct {
	// AllowedNetworks may be reached although they are private, on any port and by http: receivers on the premises. Addresses
	// where a cloud hands out its machines' credentials stay refused.
	AllowedNetworks []netip.Prefix
	// AllowHTTP lets targets outside AllowedNetworks have an address that begins with http:.
	AllowHTTP bool
	// Ports are those of targets outside AllowedNetworks; none means 80, 443 and all from 1024.
	Ports []uint16
	// Resolver finds the addresses of names; nil means the system's.
	Resolver *net.Resolver
	// ResolveTimeout bounds CheckURL's look at a name; 0 means 2 s.
	ResolveTimeout time.Duration
}

// Guard keeps requests from the addresses of this side: loopback, private and link-local networks, what else IANA lists as special,
// and every IPv6 form that carries an IPv4 address. CheckURL is for whoever names a target; what counts is the look at each
// connection's address after the name is resolved, so a name that changes its address gains nothing.
type Guard struct {
	cfg     GuardConfig
	outside *ssrf.Guardian
}

const defaultResolveTimeout = 2 * time.Second

// NewGuard makes a guard.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	var errs []error
	for i, prefix := range cfg.AllowedNetworks {
		if !prefix.IsValid() {
			errs = append(errs, fmt.Errorf("allowed network %d is not one", i+1))
		}
		if prefix.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("allowed network %s: write it as IPv4", prefix))
		}
	}
	if slices.Contains(cfg.Ports, 0) {
		errs = append(errs, errors.New("there is no port 0"))
	}
	if cfg.ResolveTimeout < 0 {
		errs = append(errs, errors.New("the time to resolve a name is below zero"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("webhook guard: %w", err)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.ResolveTimeout == 0 {
		cfg.ResolveTimeout = defaultResolveTimeout
	}
	return &Guard{cfg: cfg, outside: ssrf.New(ssrf.WithAnyPort())}, nil
}

// neverReached tells the addresses where clouds hand out credentials to their machines. All but the second lie in refused
// networks already; here they stay refused when such a network is allowed.
func neverReached(address netip.Addr) bool {
	switch address {
	case netip.AddrFrom4([4]byte{169, 254, 169, 254}), // most clouds
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),   // Azure's wire server, a public address
		netip.AddrFrom4([4]byte{169, 254, 170, 2}),   // ECS tasks
		netip.AddrFrom4([4]byte{169, 254, 170, 23}),  // EKS pods
		netip.AddrFrom4([4]byte{100, 100, 100, 200}), // Alibaba
		netip.AddrFrom4([4]byte{192, 0, 0, 192}),     // Oracle, the older one
		netip.MustParseAddr("fd00:ec2::254"),         // AWS
		netip.MustParseAddr("fd00:ec2::23"),          // EKS pods
		netip.MustParseAddr("fd20:ce::254"):          // Google
		return true
	default:
		return false
	}
}

// reach tells how an address may be reached.
type reach int

const (
	reachNone    reach = iota
	reachOutside       // on the internet: by the rules of ports and https
	reachAllowed       // in one of the allowed networks: as one likes
)

func (g *Guard) reach(address netip.Addr) reach {
	address = address.Unmap() // a zone, where one is left, lies in no network
	carried, carries := carriedIPv4(address)
	if neverReached(address) || (carries && neverReached(carried)) {
		return reachNone
	}
	allowed := func(a netip.Addr) bool {
		return slices.ContainsFunc(g.cfg.AllowedNetworks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	switch {
	case allowed(address):
		// To allow the NAT64 network is to allow the internet behind it, not all of IPv4.
		if carries && !allowed(carried) {
			return g.reach(carried)
		}
		return reachAllowed
	case g.outside.SafeAddr(address) == nil:
		return reachOutside
	default:
		return reachNone
	}
}

// carriedIPv4 gives the IPv4 address that a NAT64, 6to4 or IPv4-compatible address stands for.
func carriedIPv4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case ssrf.IPv6NAT64Prefix.Contains(a), // 64:ff9b::/96, RFC 6052
		[6]byte(b[:6]) == [6]byte{0, 0x64, 0xff, 0x9b, 0, 1},                                        // 64:ff9b:1::/48, RFC 8215, as /96
		[12]byte(b[:12]) == [12]byte{} && a != netip.IPv6Unspecified() && a != netip.IPv6Loopback(): // ::/96
		return netip.AddrFrom4([4]byte(b[12:])), true
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16
		return netip.AddrFrom4([4]byte(b[2:6])), true
	default:
		return netip.Addr{}, false
	}
}

// permits is the look at one address and port.
func (g *Guard) permits(target netip.AddrPort, secure bool) error {
	switch g.reach(target.Addr()) {
	case reachAllowed:
		return nil
	case reachOutside:
		if !secure && !g.cfg.AllowHTTP {
			return refuse("the address must begin with https:")
		}
		return g.permitsPort(target.Port())
	default:
		return refuse("the address leads to a network that webhooks may not reach")
	}
}

func (g *Guard) permitsPort(port uint16) error {
	if len(g.cfg.Ports) > 0 {
		if !slices.Contains(g.cfg.Ports, port) {
			return refuse("port %d is not open to webhooks", port)
		}
		return nil
	}
	if port != 80 && port != 443 && port < 1024 {
		return refuse("port %d is not open to webhooks", port)
	}
	return nil
}

// control is called by the dialer for each connection, with the address after the name was resolved.
func (g *Guard) control(secure bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if network != "tcp4" && network != "tcp6" {
			return refuse("webhooks go by tcp only")
		}
		target, err := netip.ParseAddrPort(address)
		if err != nil {
			return refuse("the address was not understood")
		}
		return g.permits(target, secure)
	}
}
