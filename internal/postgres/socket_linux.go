package postgres

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// boundUnacked makes the kernel give up a connection whose sent bytes stay unacknowledged, instead of after the
// quarter of an hour that retransmission takes by default. Sockets other than TCP are left alone.
func boundUnacked(network, _ string, conn syscall.RawConn) error {
	if len(network) < 3 || network[:3] != "tcp" {
		return nil
	}
	var optErr error
	err := conn.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return optErr
}
