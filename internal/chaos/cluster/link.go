package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// links are the proxies of one cluster.
type links struct {
	server *toxiproxy.ApiServer

	mu  sync.Mutex
	all []*Link
}

func newLinks() *links {
	zerolog.SetGlobalLevel(zerolog.Disabled) // its toxics write to a logger of the whole process
	registerMeter()
	return &links{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())}
}

// Link is the way from one part of the cluster to another: all connections of From to To go through it.
type Link struct {
	From, To string

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
	meter int      // its number among the meters
	made  int      // toxics, for their names
	broke []string // the toxics that break it now
}

// Name is "from>to".
func (l *Link) Name() string { return l.From + ">" + l.To }

// open makes a link to an address.
func (l *links) open(from, to, upstream string) (*Link, error) {
	link := &Link{From: from, To: to, meter: newMeter()}
	link.proxy = toxiproxy.NewProxy(l.server, link.Name(), "127.0.0.1:0", upstream)
	if err := link.proxy.Start(); err != nil {
		return nil, fmt.Errorf("open link %s: %w", link.Name(), err)
	}
	for _, d := range []string{Up, Down} {
		if err := link.toxic(typeMeter, d, fmt.Sprintf(`{"number":%d}`, link.meter)); err != nil {
			return nil, err
		}
	}
	link.broke = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, link)
	return link, nil
}

func (l *links) close() {
	for _, link := range l.all {
		link.proxy.Stop()
	}
}

// Address is where From connects to.
func (l *Link) Address() string { return l.proxy.Listen }

// Direction of bytes on a link.
const (
	Up   = "upstream"   // from From to To
	Down = "downstream" // from To to From
)

// Cut lets nothing through in the directions that are given until Heal, without ending a connection: bytes are taken and lost.
func (l *Link) Cut(directions ...string) error {
	for _, d := range directions {
		if err := l.toxic("timeout", d, `{"timeout":0}`); err != nil {
			return err
		}
	}
	return nil
}

// Delay holds everything up in both directions by so many milliseconds, more or less by jitter.
func (l *Link) Delay(ms, jitter int) error {
	attributes := fmt.Sprintf(`{"latency":%d,"jitter":%d}`, ms, jitter)
	return errors.Join(l.toxic("latency", Up, attributes), l.toxic("latency", Down, attributes))
}

// Drip lets bytes through in pieces with pauses, as a network does that loses packets and sends them again.
func (l *Link) Drip(bytes, pauseMicroseconds int) error {
	attributes := fmt.Sprintf(`{"average_size":%d,"size_variation":%d,"delay":%d}`, bytes, bytes/2, pauseMicroseconds)
	return errors.Join(l.toxic("slicer", Up, attributes), l.toxic("slicer", Down, attributes))
}

// Reset ends each connection by a reset as soon as something is sent over it, until Heal.
func (l *Link) Reset() error { return l.toxic("reset_peer", Down, `{"timeout":0}`) }

// Throttle lets so many kilobytes a second through, in each direction.
func (l *Link) Throttle(kilobytes int) error {
	attributes := fmt.Sprintf(`{"rate":%d}`, kilobytes)
	return errors.Join(l.toxic("bandwidth", Up, attributes), l.toxic("bandwidth", Down, attributes))
}

func (l *Link) toxic(kind, direction, attributes string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name":"t%d","type":%q,"stream":%q,"toxicity":1,"attributes":%s}`, l.made, kind, direction, attributes)))
	if err != nil {
		return fmt.Errorf("break link %s: %w", l.Name(), err)
	}
	l.broke = append(l.broke, fmt.Sprint("t", l.made))
	return nil
}

// Heal takes back what was done. With broken, connections end as well: what was cut has lost bytes in the middle of a stream, which no
// network hides.
func (l *Link) Heal(ctx context.Context, broken bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if broken {
		l.proxy.Stop()
	}
	names := l.broke
	l.broke = nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, name := range names {
			_ = l.proxy.Toxics.RemoveToxic(ctx, name) // it is there, or was never
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		// It waits for a pipe that cannot be written to, because who reads it stands still.
		l.proxy.Stop()
		broken = true
		<-done
	}
	if broken {
		if err := l.proxy.Start(); err != nil {
			return fmt.Errorf("open link %s again: %w", l.Name(), err)
		}
	}
	return nil
}

// Point has the link lead to another address. Its connections end.
func (l *Link) Point(upstream string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
	l.proxy.Upstream = upstream
	if err := l.proxy.Start(); err != nil {
		return fmt.Errorf("point link %s: %w", l.Name(), err)
	}
	return nil
}

// Bytes are how many were sent into the link since it was opened, in both directions.
func (l *Link) Bytes() int64 { return metered(l.meter) }
