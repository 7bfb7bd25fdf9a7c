package broadcast

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// A broker whose stream can be read and takes nothing was seen after bits of its last block were flipped: it said "stream write error" for as
// long as it ran. One that is slow goes on meanwhile, and is left alone.
func TestStreamThatTakesNothingIsDamaged(t *testing.T) {
	t.Parallel()
	r := &Relay{published: &stream.Tip{}}
	r.published.Set(100)
	refused := fmt.Errorf("publish: %w", errNoAck)
	long := func() { r.unacknowledged.since = r.unacknowledged.since.Add(-wedgedAfter) }
	damaged := func(err error) bool {
		_, is := errors.AsType[*damageError](err)
		return is
	}
	require.False(t, damaged(r.wedged(refused)))
	require.False(t, damaged(r.wedged(refused)), "it may be slow")
	long()
	r.published.Set(101)
	require.False(t, damaged(r.wedged(refused)), "it took something meanwhile")
	long()
	require.False(t, damaged(r.wedged(errors.New("no answer"))), "nobody knows whether it takes anything")
	err := r.wedged(refused)
	require.True(t, damaged(err))
	require.ErrorContains(t, err, "at 101: it has taken nothing for 30s")
	require.False(t, damaged(r.wedged(refused)), "it has been made again since")
	require.NoError(t, r.wedged(nil))
	require.Equal(t, unacknowledged{}, r.unacknowledged)
}
