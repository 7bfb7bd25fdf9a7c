package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	idleDialers = 64              // connections that are being made at the same time
	idleRest    = 3 * time.Second // between the last of them and the look at the memory
	spareFiles  = 200             // for all but the connections
)

func idleCommand() *cobra.Command {
	var connections int
	cmd := &cobra.Command{
		Use: "idle", Short: "Hold connections that were used once and do nothing, and measure what they cost the server in memory (Linux)",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return idle(cmd.Context(), connections, cmd.OutOrStdout()) },
	}
	cmd.Flags().IntVar(&connections, "connections", 10_000, "connections to hold")
	return cmd
}

func idle(ctx context.Context, connections int, out io.Writer) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the memory of a process is read from /proc, which %s has not", runtime.GOOS)
	}
	if err := filesFor(connections); err != nil {
		return err
	}
	i, err := startInstance(ctx)
	if err != nil {
		return err
	}
	defer i.stop()
	t, err := connect(ctx, i.data)
	if err != nil {
		return err
	}
	address := strings.TrimPrefix(t.at.HTTP, "http://")
	pid := i.cmd.Process.Pid
	before, err := residentKiB(pid)
	if err != nil {
		return err
	}
	held, err := hold(ctx, address, connections)
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	if err != nil {
		return err
	}
	rest := time.NewTimer(idleRest)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := residentKiB(pid)
	if err != nil {
		return err
	}
	if err := useOnce(held[0], address); err != nil {
		return fmt.Errorf("use the first connection again: %w", err)
	}
	fmt.Fprintf(out, "%d idle connections: %d MiB before, %d MiB with them, %d MiB for all, %.1f KiB for each\n",
		len(held), before>>10, after>>10, (after-before)>>10, float64(after-before)/float64(len(held)))
	return nil
}

// filesFor makes sure that this process and those that it starts may have so many connections.
func filesFor(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < uint64(connections)+spareFiles { //nolint:gosec // a count
		return fmt.Errorf("%d connections need %d open files, and there may be %d (ulimit -n)", connections, connections+spareFiles, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

// hold makes connections that were used for one request each.
func hold(ctx context.Context, address string, connections int) ([]net.Conn, error) {
	type made struct {
		conn net.Conn
		err  error
	}
	answers := make(chan made)
	room := make(chan struct{}, idleDialers)
	go func() {
		for range connections {
			room <- struct{}{}
			go func() {
				defer func() { <-room }()
				var dialer net.Dialer
				conn, err := dialer.DialContext(ctx, "tcp", address)
				if err == nil {
					err = useOnce(conn, address)
				}
				answers <- made{conn, err}
			}()
		}
	}()
	var held []net.Conn
	var failed error
	for range connections {
		m := <-answers
		if m.conn != nil {
			held = append(held, m.conn)
		}
		if m.err != nil {
			failed = fmt.Errorf("connection %d: %w", len(held), m.err)
		}
	}
	return held, failed
}

func useOnce(conn net.Conn, address string) error {
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with %d", answer.StatusCode)
	}
	return nil
}

// residentKiB is a process's memory that is in use.
func residentKiB(pid int) (int64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read the memory of the server: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the memory of the server: %w", err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}
