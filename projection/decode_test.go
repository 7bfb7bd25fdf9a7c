package projection

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

func TestTypeOfASubjectIsTheEvents(t *testing.T) {
	t.Parallel()
	for _, kind := range events.Types() {
		for _, e := range []events.Event{
			{Type: kind},
			{Type: kind, Tenant: "demo", BusinessType: "retail.erp", Provider: "acme"},
		} {
			require.Equal(t, kind, typeOf(e.Subject()))
		}
	}
	require.Equal(t, events.Type("x"), typeOf("x"))
	require.Equal(t, events.Type("y.x"), typeOf("y.x"))
}
