// Package telemetry makes the logger, serves metrics and profiles on a port of their own, and reads trace contexts.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// LogConfig says how to log.
type LogConfig struct {
	Format string // json or text; json when empty
	Level  string // debug, info, warn or error; info when empty
}

// NewLogger writes log lines to w, with times in UTC.
func NewLogger(cfg LogConfig, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if cfg.Level != "" {
		if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: use debug, info, warn or error", cfg.Level)
		}
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: inUTC}
	switch strings.ToLower(cfg.Format) {
	case "", "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log format %q: use json or text", cfg.Format)
}

func inUTC(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Time(slog.TimeKey, a.Value.Time().UTC())
	}
	return a
}
