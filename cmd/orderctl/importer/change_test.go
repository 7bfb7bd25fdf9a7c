package importer_test

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/cmd/orderctl/importer"
)

// growing changes the file once it has been read.
type growing struct {
	path string
	t    *testing.T
	once sync.Once
}

func (g *growing) Surveyed(bytes, total int64) {
	if bytes == total {
		g.once.Do(func() {
			file, err := os.OpenFile(g.path, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = file.WriteString("1,USD,Z,1,1\n")
			}
			if err != nil || file.Close() != nil {
				g.t.Error("cannot change the file")
			}
		})
	}
}
func (*growing) Imported(int64, int64, int64) {}
func (*growing) Done()                        {}

func TestAFileThatChangesMeanwhileIsNotTrusted(t *testing.T) {
	t.Parallel()
	c := setup(t, header+"1,USD,A,1,1\n", nil)
	c.Progress = &growing{path: c.Path, t: t}
	_, err := importer.Run(t.Context(), c)
	require.ErrorContains(t, err, "has changed while it was read")
}
