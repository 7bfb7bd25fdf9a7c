package main

import (
	"net"
	"syscall"

	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/telemetry"
)

// address is where the node serves.
func (n *node) address() string { return n.listener.Addr().String() }

// guarded is the node's listener with its limits of connections, and encrypted where that is configured.
func (n *node) guarded() (net.Listener, error) {
	secured, err := n.secured()
	if err != nil {
		return nil, err
	}
	return httpapi.Guarded(secured, httpapi.ListenerConfig{
		Most: mostConnections(n.cfg.MaxConnections), MostPerAddress: n.cfg.MaxConnectionsPerAddress, Refused: telemetry.RefusedConnections(n.registry),
	}), nil
}

// mostConnections keeps a quarter of the files that the process may have open for all but its clients: for databases, NATS and the disk.
func mostConnections(configured int) int {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return configured
	}
	most := files.Cur / 4 * 3
	if configured > 0 && uint64(configured) <= most { //nolint:gosec // not negative
		return configured
	}
	return int(min(most, 1<<30)) //nolint:gosec // bounded
}
