package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// echoCommand is the peer of hot reads: this program again, as a server of its own process, as the store is one.
func echoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "echo", Short: "Answer every read with the document on standard input", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveEcho(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// serveEcho reads a document of one line, tells its address on one line, and serves until its input ends, which is when its parent does.
func serveEcho(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	document, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	document = document[:len(document)-1]
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/v1/orders/:id", func(c echo.Context) error { return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, document) })
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, lines) // until the parent closes it or has ended
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(out, "http://"+listener.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// echo measures bare echo with a document of the store's.
func (o *reads) echo(ctx context.Context, r *readTarget) (*report.Run, error) {
	slot := r.sender.Reader()
	if why := slot.Get(r.at.HTTP + "/v1/orders/" + r.ids[0]); why != "" {
		return nil, fmt.Errorf("read an order: %s", why)
	}
	own, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, own, "echo") //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start echo: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start echo: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start echo: %w", err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	document := strings.ReplaceAll(string(slot.Answer()), "\n", " ")
	if _, err := io.WriteString(in, document+"\n"); err != nil {
		return nil, fmt.Errorf("start echo: %w", err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start echo: %w", err)
	}
	address = strings.TrimSpace(address)
	sender, err := load.NewSender(address, o.connections, nil)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("bare echo, %d bytes, %d connections", len(document), o.connections)
	return o.closed(ctx, name, sender, o.connections, of(address, r.ids[:min(o.hot, len(r.ids))])), nil
}
