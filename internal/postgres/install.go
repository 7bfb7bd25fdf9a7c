package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMajor is the oldest major version of Postgres that the project supports.
const oldestMajor = 14

// installation is one set of server binaries.
type installation struct {
	binDir string
	major  int
}

// binGlobs are the places beside PATH where packages put server binaries: Debian's, Red Hat's, and Homebrew's on
// both kinds of Mac.
func binGlobs() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	}
}

// chooseInstallation takes the one that fits existing data, else the newest.
func chooseInstallation(dataDir string, found []installation) (installation, error) {
	if len(found) == 0 {
		return installation{}, sentence(ErrNotInstalled, "PostgreSQL %d or later is needed and its programs initdb and "+
			"postgres were not found: install it (Debian and Ubuntu: apt-get install postgresql, macOS: brew install "+
			"postgresql@17) or put its bin directory in PATH", oldestMajor)
	}
	major, err := majorOf(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return found[0], nil
	}
	if err != nil {
		return installation{}, err
	}
	for _, inst := range found {
		if inst.major == major {
			return inst, nil
		}
	}
	return installation{}, sentence(ErrOtherVersion, "the data in %s was made by PostgreSQL %d and only %s is installed: "+
		"install PostgreSQL %d or choose another data directory", dataDir, major, majors(found), major)
}

// findInstallations returns what it finds, newest first; among equals the one in PATH comes first.
func findInstallations(ctx context.Context, path string, globs []string) []installation {
	dirs := filepath.SplitList(path)
	for _, glob := range globs {
		// The only error is a malformed pattern, and the patterns are ours.
		matches, _ := filepath.Glob(glob)
		dirs = append(dirs, matches...)
	}
	var found []installation
	for _, dir := range dirs {
		if !executable(filepath.Join(dir, "initdb")) || !executable(filepath.Join(dir, "postgres")) {
			continue
		}
		major, err := versionOf(ctx, filepath.Join(dir, "postgres"))
		if err != nil || major < oldestMajor {
			continue
		}
		found = append(found, installation{binDir: dir, major: major})
	}
	slices.SortStableFunc(found, func(a, b installation) int { return cmp.Compare(b.major, a.major) })
	return found
}

func majors(found []installation) string {
	var names []string
	for _, inst := range found {
		names = append(names, strconv.Itoa(inst.major))
	}
	return strings.Join(slices.Compact(names), ", ")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func versionOf(ctx context.Context, postgres string) (int, error) {
	out, err := exec.CommandContext(ctx, postgres, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", postgres, err)
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("ask %s for its version: it answers %q", postgres, out)
	}
	return strconv.Atoi(string(match[1]))
}

// majorOf reads the major version that made the data; fs.ErrNotExist means there is no data yet.
func majorOf(dataDir string) (int, error) {
	content, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return 0, fmt.Errorf("read data version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("read data version: %w", err)
	}
	return major, nil
}

// command prepares a server program to run as the given identity, in a process group of its own so that Ctrl-C at a
// terminal reaches only the parent, and with an environment that cannot redirect it (no PG* variables, English
// messages).
func (i installation) command(as identity, program string, args ...string) *exec.Cmd {
	//nolint:noctx // a server outlives the context of its start; Stop ends it
	cmd := exec.Command(filepath.Join(i.binDir, program), args...)
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + i.binDir + string(os.PathListSeparator) + os.Getenv("PATH")}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = as.processAttributes()
	cmd.SysProcAttr.Setpgid = true
	return cmd
}
