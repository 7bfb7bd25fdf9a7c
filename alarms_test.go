package orderstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// alarms are what the code can raise: where, by what it says.
type alarms struct {
	t     *testing.T
	lines map[string]string // logged at level ERROR
	parts map[string]string // of /readyz; NAME stands for what is only known while it runs
}

// TestAlarmsAreDocumented: each line that the service logs at level ERROR, each part of /readyz, and each metric that the page names an alarm by
// is in the code and in docs/operations.md, so that whoever is woken finds what to do.
func TestAlarmsAreDocumented(t *testing.T) {
	t.Parallel()
	page := section(t, "docs/operations.md", "Alarms")
	found := raised(t)
	assert.Greater(t, len(found.lines), 12, "the service logs errors")
	assert.Greater(t, len(found.parts), 6, "nodes and orderaux have parts")
	firstCells := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	listed := map[string]bool{}
	for _, match := range firstCells.FindAllStringSubmatch(page, -1) {
		listed[match[1]] = true
	}
	for _, kind := range []map[string]string{found.lines, found.parts} {
		for _, says := range slices.Sorted(maps.Keys(kind)) {
			assert.True(t, listed[says], "docs/operations.md does not say what to do when it says %q (%s)", says, kind[says])
		}
	}
	for says := range tableOf(t, page, "### Lines at level ERROR") {
		assert.NotEmpty(t, found.lines[says], "docs/operations.md has an alarm that is in no log: %q", says)
	}
	for says := range tableOf(t, page, "### Parts of `/readyz`") {
		assert.NotEmpty(t, found.parts[says], "docs/operations.md has a part that no /readyz has: %q", says)
	}
}

// section is the text of a page below a heading, up to the next one of its kind.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, path), "\n## "+heading+"\n")
	require.True(t, found, "%s: %s", path, heading)
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// tableOf gives the first cells of the table below a heading.
func tableOf(t *testing.T, page, heading string) map[string]bool {
	t.Helper()
	_, rest, found := strings.Cut(page, heading+"\n")
	require.True(t, found, heading)
	text, _, _ := strings.Cut(rest, "\n### ")
	cells := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		cells[match[1]] = true
	}
	require.NotEmpty(t, cells, heading)
	return cells
}

// raised walks through the code of the service, without what tests and breaks it.
func raised(t *testing.T) *alarms {
	t.Helper()
	a := &alarms{t: t, lines: map[string]string{}, parts: map[string]string{}}
	set := token.NewFileSet()
	for _, room := range []string{"command", "broadcast", "projection", "query", "auxiliary", "internal", "cmd/orderstore", "cmd/orderaux"} {
		require.NoError(t, filepath.WalkDir(room, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && slices.Contains([]string{"internal/chaos", "internal/seeded", "cmd/orderstore/simulation"}, path) {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					a.look(call, set.Position(call.Pos()).String(), strings.HasPrefix(path, "cmd/"))
				}
				return true
			})
			return nil
		}))
	}
	return a
}

// look notes what a call raises. A message that is no literal could not be found on any page, so it is refused; a level that is only known while it
// runs may be ERROR.
func (a *alarms) look(call *ast.CallExpr, at string, program bool) {
	if name, ok := call.Fun.(*ast.Ident); ok && program && name.Name == "report" && len(call.Args) == 2 {
		a.note(a.parts, call.Args[0], at)
		return
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(method.X) {
		return
	}
	switch name, args := method.Sel.Name, call.Args; {
	case name == "Error" && len(args) > 0:
		a.note(a.lines, args[0], at)
	case name == "ErrorContext" && len(args) > 1:
		a.note(a.lines, args[1], at)
	case (name == "Log" || name == "LogAttrs") && len(args) > 2 && mayBeError(args[1]):
		a.note(a.lines, args[2], at)
	}
}

// isLogger goes by what loggers are called: log, logger, Log, Logger, alone or as a field.
func isLogger(x ast.Expr) bool {
	name := ""
	switch x := x.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	case *ast.CallExpr: // log.With(…)
		if of, ok := x.Fun.(*ast.SelectorExpr); ok {
			return isLogger(of.X)
		}
	}
	return slices.Contains([]string{"log", "logger", "slog"}, strings.ToLower(name))
}

func mayBeError(level ast.Expr) bool {
	constant, ok := level.(*ast.SelectorExpr)
	return !ok || !slices.Contains([]string{"LevelDebug", "LevelInfo", "LevelWarn"}, constant.Sel.Name)
}

// note keeps a literal, or "literal NAME" where something is added to it.
func (a *alarms) note(into map[string]string, message ast.Expr, at string) {
	added := ""
	if sum, ok := message.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
		message, added = sum.X, "NAME"
	}
	literal, ok := message.(*ast.BasicLit)
	if !assert.True(a.t, ok && literal.Kind == token.STRING, "%s: a message that is no literal cannot be looked up", at) {
		return
	}
	text, err := strconv.Unquote(literal.Value)
	require.NoError(a.t, err)
	into[text+added] = at
}

// TestAlarmedMetricsExist: what the page has people be alarmed by is counted somewhere, under that name.
func TestAlarmedMetricsExist(t *testing.T) {
	t.Parallel()
	counted := map[string]bool{}
	name := regexp.MustCompile(`"(orderstore_[a-z_]+)"`)
	auxiliary := regexp.MustCompile(`(?:gauge|counter)\("([a-z_]+)"`)
	for _, room := range []string{"command", "broadcast", "projection", "query", "internal", "cmd/orderstore"} {
		require.NoError(t, filepath.WalkDir(room, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, match := range name.FindAllStringSubmatch(read(t, path), -1) {
				counted[match[1]] = true
			}
			return nil
		}))
	}
	for _, match := range auxiliary.FindAllStringSubmatch(read(t, "auxiliary/metrics.go"), -1) {
		counted["orderstore_auxiliary_"+match[1]] = true
	}
	require.True(t, counted["orderstore_auxiliary_lag"])
	page := section(t, "docs/operations.md", "Alarms")
	alarmed := regexp.MustCompile(`\borderstore_[a-z_]+`).FindAllString(page, -1)
	require.Greater(t, len(alarmed), 20)
	for _, metric := range alarmed {
		plain := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(metric, "")
		assert.True(t, counted[metric] || counted[plain], "docs/operations.md alarms by %s, which nothing counts", metric)
	}
}

// TestMigrationsAddOnly: programs of the version before go on while a newer one has migrated, so a migration takes nothing away that they use.
func TestMigrationsAddOnly(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("migrations/*/0*.sql")
	require.NoError(t, err)
	require.Greater(t, len(paths), 20)
	takes := regexp.MustCompile(`(?i)^\s*(?:DROP (?:TABLE|FUNCTION|TYPE)|TRUNCATE|DELETE FROM)\b|\b(?:DROP COLUMN|RENAME (?:TO|COLUMN)|SET NOT NULL|(?:SET DATA )?TYPE \w+ USING)\b`)
	asks := regexp.MustCompile(`(?i)\bADD COLUMN\b.*\bNOT NULL\b`) // without a default, an old program's rows lack it
	for _, path := range paths {
		up, _, _ := strings.Cut(read(t, path), "-- +goose Down")
		for _, line := range strings.Split(up, "\n") {
			statement, _, _ := strings.Cut(line, "--")
			assert.Empty(t, takes.FindString(statement), "%s: %s", path, line)
			assert.False(t, asks.MatchString(statement) && !strings.Contains(strings.ToUpper(statement), "DEFAULT"), "%s: %s", path, line)
		}
	}
}
