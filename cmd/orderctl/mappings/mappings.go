// Package mappings holds the mapping files that come with orderctl.
package mappings

import (
	"embed"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists them, without their extension.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".yaml"))
	}
	return names
}

// Open reads one by its name; false for one that does not exist.
func Open(name string) ([]byte, bool) {
	b, err := files.ReadFile(name + ".yaml")
	return b, err == nil
}
