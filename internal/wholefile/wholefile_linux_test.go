package wholefile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/wholefile"
)

// Where this user may mount, the power is cut behind each write.
func TestWhatIsWrittenOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := disk.Make(t.Context(), disk.Config{Dir: filepath.Join(dir, "images"), Mount: filepath.Join(dir, "store"), Size: 64 << 20})
	cut := func() {}
	if !errors.Is(err, disk.ErrMayNotMount) {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close(context.WithoutCancel(t.Context()))) })
		cut = func() {
			require.NoError(t, d.Cut(t.Context()))
			_, err := d.Swap(t.Context())
			require.NoError(t, err)
		}
	} else {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "store"), 0o700))
	}
	path := filepath.Join(dir, "store", "file")
	for _, content := range []string{"first", "second"} {
		require.NoError(t, wholefile.Write(path, []byte(content)))
		cut()
		read, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(read))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}
