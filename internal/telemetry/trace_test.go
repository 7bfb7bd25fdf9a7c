package telemetry_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/telemetry"
)

// valid is the grammar of version 00 of W3C Trace Context, section 3.2.
var valid = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceparentKept(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		example: example,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00":       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff":       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":       example,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later": example,
	} {
		require.Equal(t, want, telemetry.Traceparent(header), header)
	}
}

func TestTraceparentMadeNew(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, header := range []string{
		"", "x", strings.Repeat("0", 55), strings.ToUpper(example), example + "-x", example + "x", example[:54], " " + example, example + "\r\n",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bz-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
		"00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.later",
	} {
		got := telemetry.Traceparent(header)
		require.Regexp(t, valid, got, header)
		require.False(t, seen[got] || got == example, "%s from %s", got, header)
		seen[got] = true
		require.Equal(t, got, telemetry.Traceparent(got), "what was made new is valid")
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add(example)
	f.Add("")
	f.Add("cc" + example[2:] + "-more")
	f.Fuzz(func(t *testing.T, header string) {
		got := telemetry.Traceparent(header)
		require.Regexp(t, valid, got)
		require.Equal(t, got, telemetry.Traceparent(got))
		if valid.MatchString(header) && !strings.Contains(header, strings.Repeat("0", 16)) {
			require.Equal(t, header, got)
		}
	})
}
