// Package load makes orders and sends them, at a cost that leaves the processors to what is measured: orders are appended as bytes,
// requests are kept and sent again with another body, and each connection has a histogram of its own.
package load
