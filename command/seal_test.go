package command

import (
	"crypto/sha256"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// TestContentHashIsThatOfItsJSON fixes the hash by which an order that is submitted again is told from another one: it is stored for
// ever, so no version may compute another.
func TestContentHashIsThatOfItsJSON(t *testing.T) {
	t.Parallel()
	s, err := decodeOrder([]byte(order("a <ref> & more")), "demo")
	require.NoError(t, err)
	content, err := json.Marshal(struct {
		BusinessType string
		Placed       *events.Placed
	}{s.BusinessType, &s.Placed})
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(content), s.Hash)
}
