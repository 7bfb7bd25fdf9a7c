package webhook

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const longestURL = 2048

// CheckURL looks at a target when somebody names it, and gives it in the form to keep. It returns a *Refusal that says what is
// wrong: not https (unless that is allowed for it), user information, a fragment, a number that passes for a host, a port
// or address that is refused, a name that resolves to such an address or to none. A name server that does not
// answer is no reason to refuse an https target: each connection is looked at again.
func (g *Guard) CheckURL(ctx context.Context, raw string) (string, error) {
	u, err := g.parse(raw)
	if err != nil {
		return "", err
	}
	secure, port := u.Scheme == "https", portOf(u)
	if address, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := g.permits(netip.AddrPortFrom(address, port), secure); err != nil {
			return "", err
		}
		return u.String(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.ResolveTimeout)
	defer cancel()
	addresses, err := g.cfg.Resolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return "", refuse("the host's name does not resolve")
		}
		if !secure && !g.cfg.AllowHTTP {
			return "", refuse("the address must begin with https:")
		}
		return u.String(), nil
	}
	for _, address := range addresses {
		if err := g.permits(netip.AddrPortFrom(address, port), secure); err != nil {
			return "", err
		}
	}
	return u.String(), nil
}

// parse is the part of the check that asks nobody.
func (g *Guard) parse(raw string) (*url.URL, error) {
	if len(raw) > longestURL {
		return nil, refuse("the address is longer than %d bytes", longestURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, refuse("the address cannot be read") // the cause repeats the address, with a password that may be in it
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, refuse("the address must begin with https:")
	case u.Host == "" || u.Opaque != "":
		return nil, refuse("the address names no host")
	case u.User != nil:
		return nil, refuse("the address holds a user name or password")
	case strings.Contains(raw, "#"):
		return nil, refuse("the address holds a fragment")
	}
	if err := normalHost(u); err != nil {
		return nil, err
	}
	if portOf(u) == 0 {
		return nil, refuse("the address names no port between 1 and 65535")
	}
	return u, nil
}

// normalHost writes the host in the one form that the look at it and the connection share: in ASCII, lower case. Other digits
// than ASCII's become such in the connection, so they must become such here.
func normalHost(u *url.URL) error {
	host := u.Hostname()
	if strings.Contains(host, ":") { // IPv6
		address, err := netip.ParseAddr(host)
		if err != nil || address.Zone() != "" {
			return refuse("the host is not an address that webhooks may reach")
		}
		return nil
	}
	ascii, err := asciiHost(host)
	if err != nil {
		return err
	}
	if passesForNumber(ascii) {
		if _, err := netip.ParseAddr(ascii); err != nil {
			return refuse("the host is a number in an unusual form")
		}
	}
	port := u.Port()
	u.Host = ascii
	if port != "" {
		u.Host = net.JoinHostPort(ascii, port)
	}
	return nil
}

// asciiHost leaves alone what is ASCII already, underscores too: names inside a company or of containers have them.
func asciiHost(host string) (string, error) {
	if strings.ContainsFunc(host, func(c rune) bool { return c > '~' }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", refuse("the host's name is not one")
		}
		host = ascii
	}
	const fit = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	host = strings.ToLower(host)
	if strings.Trim(host, ".") == "" || strings.Trim(host, fit) != "" {
		return "", refuse("the host's name is not one")
	}
	return host, nil
}

// passesForNumber tells whether some resolvers would read the host as an IPv4 address: its last part is a decimal, octal
// or hexadecimal number (WHATWG URL, "ends in a number").
func passesForNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(strings.ToLower(last), "0x")
}

// portOf gives the port, by the scheme where none is named, and 0 for one that is out of range.
func portOf(u *url.URL) uint16 {
	switch port := u.Port(); {
	case port != "":
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "https":
		return 443
	default:
		return 80
	}
}
