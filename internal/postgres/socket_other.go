//go:build !linux

package postgres

import "syscall"

// boundUnacked does nothing here: there is no portable option, and keep-alive covers the silent connection.
func boundUnacked(string, string, syscall.RawConn) error { return nil }
