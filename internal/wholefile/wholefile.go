// Package wholefile writes small files that are there whole or not at all, also after a power cut.
package wholefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write puts content in place of what the file held. The folder must exist. Only this user may read it. When it returns, the content and
// its name are on the disk: a rename alone may outlive a power cut without the bytes.
func Write(path string, content []byte) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the caller's own folder
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("flush folder of %s: %w", path, err)
	}
	return nil
}
