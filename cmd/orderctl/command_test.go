package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/cmd/orderctl/mappings"
)

func instanceFiles(t *testing.T, endpoints, credentials string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "endpoints.json"), []byte(endpoints), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "credentials.json"), []byte(credentials), 0o600))
	return dir
}

const parties = `{"operator":{"client_id":"op","client_secret":"os"},"user":{"client_id":"u","client_secret":"us","tenant":"demo"}}`

func TestConnectionIsFoundInFlagsOrFolder(t *testing.T) {
	t.Parallel()
	dir := instanceFiles(t, `{"http":"127.0.0.1:9"}`, parties)
	r, err := (&connection{data: dir}).resolve(asUser)
	require.NoError(t, err)
	require.Equal(t, []string{"http://127.0.0.1:9", "u", "us", "demo"}, []string{r.config.BaseURL, r.config.ClientID, r.config.ClientSecret, r.tenant})
	r, err = (&connection{data: dir, as: asOperator}).resolve(asUser)
	require.NoError(t, err)
	require.Equal(t, []string{"op", ""}, []string{r.config.ClientID, r.tenant})
	r, err = (&connection{data: dir, id: "x", secret: "y", url: "https://s.example"}).resolve(asUser)
	require.NoError(t, err)
	require.Equal(t, []string{"https://s.example", "x", "y", ""}, []string{r.config.BaseURL, r.config.ClientID, r.config.ClientSecret, r.tenant})

	for says, c := range map[string]*connection{
		"--as auxiliary: the instance has no such party": {data: dir, as: "auxiliary"},
		"start one with orderstore dev":                  {data: t.TempDir()},
		"--as is for --data":                             {url: "http://s", as: asUser},
		"as whom?":                                       {url: "http://s"},
	} {
		_, err := c.resolve(asUser)
		require.ErrorContains(t, err, says)
	}
	_, err = (&connection{data: instanceFiles(t, "{", parties)}).resolve(asUser)
	require.ErrorContains(t, err, "endpoints.json")
}

// It changes the environment of the process, so it is no parallel test.
func TestConnectionIsFoundInTheEnvironment(t *testing.T) {
	_, err := (&connection{}).resolve(asUser)
	require.ErrorContains(t, err, "which store?")
	t.Setenv("ORDERSTORE_URL", "https://env.example")
	t.Setenv("ORDERSTORE_CLIENT_ID", "e")
	t.Setenv("ORDERSTORE_CLIENT_SECRET", "es")
	r, err := (&connection{}).resolve(asUser)
	require.NoError(t, err)
	require.Equal(t, []string{"https://env.example", "e", "es"}, []string{r.config.BaseURL, r.config.ClientID, r.config.ClientSecret})
	r, err = (&connection{data: instanceFiles(t, `{"http":"http://127.0.0.1:9"}`, parties)}).resolve(asUser)
	require.NoError(t, err)
	require.Equal(t, []string{"http://127.0.0.1:9", "u"}, []string{r.config.BaseURL, r.config.ClientID})
}

func TestImportNeedsNoStoreForADryRun(t *testing.T) {
	t.Parallel()
	file, mapping := shop(t, 10, "X-1,web,EUR,x,A,0,1\n")
	rejects := filepath.Join(t.TempDir(), "rejects")
	r := orderctl(t.Context(), nil, "import", file, "-m", mapping, "--dry-run", "--rejects", rejects)
	require.ErrorIs(t, r.err, errRejected)
	require.Contains(t, r.out, "valid               10")
	require.Contains(t, r.out, "rejected             1")
	require.Contains(t, r.out, "20,000 minor units")
	require.FileExists(t, rejects)
}

func TestImportRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	file, mapping := shop(t, 1, "")
	other := instanceFiles(t, `{"http":"127.0.0.1:1"}`, strings.Replace(parties, `"demo"`, `"somebody"`, 1))
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("format: csv\nordr: {}\n"), 0o600))
	for says, args := range map[string][]string{
		"the mapping is for tenant demo, the credentials are of somebody": {"--data", other, "import", file, "-m", mapping},
		`required flag(s) "mapping" not set`:                              {"import", file},
		"orderctl itself has superstore":                                  {"import", file, "-m", "nothing"},
		`line 2: unknown field "ordr"`:                                    {"import", file, "-m", broken, "--dry-run"},
		"no such file":                                                    {"import", file + ".gone", "-m", mapping, "--dry-run"},
		"encoding is not known":                                           {"import", file, "-m", mapping, "--dry-run", "--encoding", "klingon"},
		"which store?":                                                    {"import", file, "-m", mapping},
		"accepts 1 arg(s)":                                                {"import", "-m", mapping},
	} {
		r := orderctl(t.Context(), nil, args...)
		require.ErrorContains(t, r.err, says)
		require.Empty(t, strings.TrimSpace(r.progress))
	}
}

func TestSampleIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first := ok(t, "sample", "--orders", "50", "--seed", "9")
	require.Equal(t, first, ok(t, "sample", "--orders", "50", "--seed", "9"))
	require.NotEqual(t, first, ok(t, "sample", "--orders", "50", "--seed", "10"))
	require.Equal(t, 50, strings.Count(first, "\n"))
}

func TestOrdersAreReadOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := orderctl(t.Context(), strings.NewReader("  \n"), "--url", "http://127.0.0.1:1", "--client-id", "a", "--client-secret", "b", "submit", "-")
	require.ErrorContains(t, r.err, "there is no order")
	_, err := day("yesterday")
	require.Error(t, err)
}

func TestRejectFilesAreNamedAfterTheirFile(t *testing.T) {
	t.Parallel()
	require.Equal(t, "rejects-orders.ndjson", rejectFile("/some/where/orders.csv"))
	require.Equal(t, "rejects.ndjson", rejectFile("-"))
}

// Every command says what it does, every flag too, and help names the mappings that ship.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(rootCommand())
	for _, name := range mappings.Names() {
		require.Contains(t, ok(t, "import", "--help"), name)
	}
	var out bytes.Buffer
	require.NoError(t, indented(&out, map[string]string{"a": "<&>"}))
	require.Contains(t, out.String(), `"<&>"`, "people read it, not browsers")
}
