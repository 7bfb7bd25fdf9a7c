package webhook_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers on the loopback as a name server does. Each name has a list of answers, given one after another, the
// last one for ever; a name without a list does not exist.
type nameServer struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   map[question]int
}

type question struct {
	name string
	kind dnsmessage.Type
}

// resolver starts the name server and gives a resolver that asks it.
func (n *nameServer) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	n.asked = map[question]int{}
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		n.serve(socket)
	}()
	t.Cleanup(func() {
		require.NoError(t, socket.Close())
		<-served
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", socket.LocalAddr().String())
	}}
}

func (n *nameServer) serve(socket net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		size, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buffer[:size]) != nil || len(query.Questions) != 1 {
			continue
		}
		if packed, err := n.answer(query); err == nil {
			_, _ = socket.WriteTo(packed, from)
		}
	}
}

// answer counts A and AAAA apart, since a resolver asks for both side by side.
func (n *nameServer) answer(query dnsmessage.Message) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := query.Questions[0]
	key := question{asked.Name.String(), asked.Type}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, Authoritative: true},
		Questions: query.Questions,
	}
	lists, found := n.answers[key.name]
	if !found {
		reply.RCode = dnsmessage.RCodeNameError
		return reply.Pack()
	}
	list := lists[min(n.asked[key], len(lists)-1)]
	n.asked[key]++
	for _, text := range list {
		address := netip.MustParseAddr(text)
		var body dnsmessage.ResourceBody
		switch {
		case address.Is4() && asked.Type == dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: address.As4()}
		case address.Is6() && asked.Type == dnsmessage.TypeAAAA:
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: dnsmessage.ClassINET}, Body: body,
		})
	}
	return reply.Pack()
}

func (n *nameServer) questions(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[question{name, dnsmessage.TypeA}]
}
