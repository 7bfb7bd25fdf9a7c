package customerkeys_test

import (
	"os"
	"testing"

	"github.com/orderstore/orderstore/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
