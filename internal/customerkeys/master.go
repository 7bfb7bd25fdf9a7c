package customerkeys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ReadMaster reads a master key, base64 of 32 bytes, from a setting or from the file that another one names; nil where neither is set.
func ReadMaster(setting, file string) (*Master, error) {
	switch {
	case setting != "" && file != "":
		return nil, errors.New("ORDERSTORE_MASTER_KEY and ORDERSTORE_MASTER_KEY_FILE are both set")
	case file != "":
		content, err := os.ReadFile(file) //nolint:gosec // the operator's own file
		if err != nil {
			return nil, fmt.Errorf("ORDERSTORE_MASTER_KEY_FILE: %w", err)
		}
		setting = strings.TrimSpace(string(content))
	case setting == "":
		return nil, nil
	}
	secret, err := base64.StdEncoding.DecodeString(setting)
	if err != nil {
		return nil, errors.New("ORDERSTORE_MASTER_KEY is not base64") // its value is not to be seen
	}
	return NewMaster(secret)
}
