// Package orderstore_test checks the house itself: that what its pages and its Makefile name exists, and that its rooms keep the
// shape that docs/architecture.md gives them.
package orderstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/orderstore/orderstore"

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// pages are the texts that people follow.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths := []string{"README.md", "Makefile", ".ci/run", "scripts/setup", "scripts/instance", "scripts/smoke", "scripts/bench", "scripts/fuzz", "scripts/security"}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		paths = append(paths, found...)
	}
	texts := map[string]string{}
	for _, path := range paths {
		texts[path] = read(t, path)
	}
	return texts
}

// run gives a command's two outputs together, and fails the test if it fails.
func run(ctx context.Context, t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

func TestNamedTargetsExist(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z-]+):.* ## `).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[match[1]] = true
	}
	for _, name := range []string{"run", "test", "build", "lint", "bench", "chaos", "chaos-short", "chaos-bugs", "simulate", "demo", "setup", "fmt", "clean", "help", "fuzz", "security"} {
		assert.True(t, targets[name], "Makefile has no described target %s", name)
	}
	named := regexp.MustCompile("(?m)(?:`|\\$ |^)make ((?:[a-z-]+ ?)+)")
	for path, text := range pages(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			for _, name := range strings.Fields(match[1]) {
				assert.True(t, targets[name], "%s names make %s, which does not exist", path, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		run(t.Context(), t, "make", "--dry-run", name)
	}
}

func TestNamedPathsExist(t *testing.T) {
	t.Parallel()
	rooms := `(?:bench|cmd|events|command|broadcast|projection|query|auxiliary|client|migrations|internal|web|docs|scripts|\.ci)`
	quoted := regexp.MustCompile("`(" + rooms + "/[A-Za-z0-9_./-]*)`")
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[a-z-]+)?\)`)
	script := regexp.MustCompile(`(?m)(?:^|[\s@])(scripts/[a-z-]+)`)
	for path, text := range pages(t) {
		for _, match := range quoted.FindAllStringSubmatch(text, -1) {
			assert.True(t, exists(match[1]), "%s names %s", path, match[1])
		}
		for _, match := range script.FindAllStringSubmatch(text, -1) {
			assert.True(t, exists(match[1]), "%s names %s", path, match[1])
		}
		if !strings.HasSuffix(path, ".md") {
			continue
		}
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			assert.True(t, exists(filepath.Join(filepath.Dir(path), match[1])), "%s links to %s", path, match[1])
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestNamedTestsExist guards make chaos against running no test at all.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	list := run(t.Context(), t, "grep", "-rhoE", "--include=*_test.go", `^func Test\w*Chaos\w*`, "cmd")
	assert.NotEmpty(t, strings.Fields(list))
}

// TestNamedSecurityTestsExist: each test or fuzz target that docs/security.md names is in the code, in the package that it says where it
// says one, and each fuzz target of the code is in its table of what is read.
func TestNamedSecurityTestsExist(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile(`(?m)^(?:\./)?(.*)/[^/]+_test\.go:func ((?:Test|Fuzz)\w+)`)
	inCode, targets := map[string][]string{}, 0
	for _, match := range found.FindAllStringSubmatch(run(t.Context(), t, "grep", "-roE", "--include=*_test.go", `^func (Test|Fuzz)\w+`, "."), -1) {
		inCode[match[2]] = append(inCode[match[2]], match[1])
	}
	page := read(t, "docs/security.md")
	// Names one after the other may have one package behind them: `TestA`, `TestB` (auth).
	group := regexp.MustCompile("((?:`(?:Test|Fuzz)\\w+`(?:, | and |: )?)+)(?: ?\\(([a-z]+|internal/[a-z]+)\\))?")
	name := regexp.MustCompile(`(?:Test|Fuzz)\w+`)
	named := map[string]bool{}
	for _, match := range group.FindAllStringSubmatch(page, -1) {
		for _, test := range name.FindAllString(match[1], -1) {
			named[test] = true
			assert.NotEmpty(t, inCode[test], "docs/security.md names %s", test)
			if where := filepath.Base(match[2]); match[2] != "" {
				assert.True(t, slices.ContainsFunc(inCode[test], func(dir string) bool { return filepath.Base(dir) == where }), "%s is not in %s, but in %v", test, where, inCode[test])
			}
		}
	}
	for test := range inCode {
		if strings.HasPrefix(test, "Fuzz") {
			targets++
			assert.True(t, named[test], "docs/security.md does not say what %s is for", test)
		}
	}
	assert.Greater(t, targets, 30)
	listed := run(t.Context(), t, "scripts/fuzz", "--list")
	for _, parser := range []string{
		"./command FuzzDecodeOrder", "./command FuzzBatchLines", "./internal/httpapi FuzzCursor", "./client FuzzWebhookSignature", "./internal/auth FuzzAuthenticate",
		"./events FuzzDecode", "./cmd/orderctl/mapping FuzzParse", "./cmd/orderctl/rows FuzzRead", "./events FuzzSubject", "./events FuzzDecodeOrder", "./query FuzzFilter",
	} {
		assert.Contains(t, listed, parser+"\n", "what make fuzz runs")
	}
}

// TestNamedCommandsExist builds the programs and asks each for the help of every command line that a page shows.
func TestNamedCommandsExist(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	run(t.Context(), t, "go", "build", "-o", bin+"/", "./cmd/...")
	line := regexp.MustCompile("(?m)(?:bin/|`|^|[(@]|exec )(order(?:store|aux|ctl|bench))((?: +[^`|\n]*)?)")
	flag := regexp.MustCompile(`--[a-z-]+`)
	subcommands := regexp.MustCompile(`^(?: +[a-z][a-z-]*)+`) // and words that follow them, which help does not mind
	for path, text := range pages(t) {
		for _, match := range line.FindAllStringSubmatch(text, -1) {
			args := append(strings.Fields(subcommands.FindString(match[2])), "--help")
			help := run(t.Context(), t, filepath.Join(bin, match[1]), args...)
			for _, name := range flag.FindAllString(match[2], -1) {
				assert.Contains(t, help, name, "%s: %s%s", path, match[1], match[2])
			}
		}
	}
}

// TestEnvironmentIsDocumented compares the variables that the code reads, by name or by a field's tag, with those of README.md's
// table.
func TestEnvironmentIsDocumented(t *testing.T) {
	t.Parallel()
	variable := regexp.MustCompile(`ORDERSTORE_[A-Z_]*[A-Z]\b`)
	tag := regexp.MustCompile("`env:\"([A-Z_]+)")
	documented := variable.FindAllString(read(t, "README.md"), -1)
	var used []string
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/seeded/") || strings.HasPrefix(path, "internal/chaos/") {
			return nil // what a build for the checker reads
		}
		text := read(t, path)
		used = append(used, variable.FindAllString(text, -1)...)
		for _, match := range tag.FindAllStringSubmatch(text, -1) {
			used = append(used, "ORDERSTORE_"+match[1])
		}
		return nil
	}))
	assert.Equal(t, sorted(used), sorted(documented))
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// TestImportShape holds the limits of docs/architecture.md: how deep imports go below a program, and how many rooms one knows.
func TestImportShape(t *testing.T) {
	t.Parallel()
	const depthLimit, fanOutLimit = 5, 8
	imports := ownImports(t)
	var depth func(name string) int
	depth = func(name string) int {
		deepest := 0
		for _, imported := range imports[name] {
			deepest = max(deepest, 1+depth(imported))
		}
		return deepest
	}
	for name, imported := range imports {
		if strings.HasPrefix(name, module+"/cmd/") {
			assert.LessOrEqual(t, depth(name), depthLimit, "imports below %s", name)
			continue
		}
		known := slices.DeleteFunc(slices.Clone(imported), func(p string) bool { return p == module+"/internal/seeded" }) // constants, gone in a build
		assert.LessOrEqual(t, len(known), fanOutLimit, "%s imports %v", name, known)
	}
}

// ownImports gives for each package of the module which others of the module it imports, tests left aside.
func ownImports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	require.NoError(t, err)
	imports := map[string][]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return imports
		}
		require.NoError(t, err)
		imports[pkg.ImportPath] = slices.DeleteFunc(pkg.Imports, func(name string) bool {
			return !strings.HasPrefix(name, module+"/")
		})
	}
}

func TestDecisionsAreInOrder(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("docs/adr")
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for i, entry := range entries {
		text := read(t, filepath.Join("docs/adr", entry.Name()))
		number := regexp.MustCompile(`^\d{4}-[a-z0-9-]+\.md$`).FindString(entry.Name())
		require.NotEmpty(t, number, entry.Name())
		assert.Equal(t, i+1, atoi(t, number[:4]), entry.Name())
		assert.True(t, strings.HasPrefix(text, "# "+number[:4]+" "), "%s: title", entry.Name())
		for _, part := range []string{"Status: ", "## Context", "## Decision", "## Consequences"} {
			assert.Contains(t, text, "\n"+part, entry.Name())
		}
	}
}

func atoi(t *testing.T, digits string) int {
	t.Helper()
	n := 0
	require.NoError(t, json.Unmarshal([]byte(strings.TrimLeft(digits, "0")), &n))
	return n
}
