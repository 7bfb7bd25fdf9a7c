package importer_test

import (
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/cmd/orderctl/importer"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/mappings"
)

// The real file is no part of the project; where it lies beside it, it is mapped without a store.
func TestSuperstoreDryRun(t *testing.T) {
	t.Parallel()
	path := filepath.FromSlash("../../../../shared/data/superstore.csv")
	if _, err := os.Stat(path); err != nil {
		t.Log("superstore.csv is not here: ", err)
		return
	}
	text, _ := mappings.Open("superstore")
	m, err := mapping.Parse(text)
	require.NoError(t, err)
	got, err := importer.Run(t.Context(), importer.Config{Path: path, Mapping: m})
	require.NoError(t, err)
	require.Equal(t, []int64{9994, 5009, 0, 9994}, []int64{got.Rows, got.Orders, got.Rejected, got.Lines})
	require.Equal(t, map[string]*big.Int{"USD": big.NewInt(229720065)}, got.LineTotals)
	require.Equal(t, "windows-1252", got.Encoding)
}
