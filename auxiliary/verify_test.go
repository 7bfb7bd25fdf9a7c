package auxiliary

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

func TestVerifyFindsDifferences(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ damage, found string }{
		"record changed":  {`UPDATE records SET payload = convert_to(replace(convert_from(payload, 'UTF8'), 'sent', 'queued'), 'UTF8')`, "has not the notices"},
		"record gone":     {`DELETE FROM records`, "has no record"},
		"record invented": {`INSERT INTO records SELECT gen_random_uuid(), system, record_id, tenant, kind, 1, 1, payload, 1, updated_at FROM records LIMIT 1`, "is not in the log"},
		"mail gone":       {`DELETE FROM outbox`, "has no mail"},
		"mail invented":   {`INSERT INTO outbox (system, position, channel, order_id, state, next_at, changed_at) SELECT system, position, 'fax', order_id, state, next_at, changed_at FROM outbox`, "does not ask for"},
		"digest changed":  {`UPDATE checkpoints SET digest = decode(repeat('ab', 32), 'hex')`, "digest"},
		"beyond the log":  {`UPDATE checkpoints SET position = 99`, "the log ends at 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			order := placed(&events.Customer{Email: "a@example.com"})
			h.append(order, closing(order, events.OrderCompleted, ""))
			r := h.runner(quick(), h.notices(h.folder()))
			stop := start(t, r)
			h.reached(r, NoticesName, 2)
			h.drained()
			stop()
			h.verified()
			_, err := h.aux.Exec(t.Context(), c.damage)
			require.NoError(t, err)
			report, err := Verify(t.Context(), h.aux, h.log)
			require.NoError(t, err)
			require.False(t, report.Clean())
			assert.Contains(t, fmt.Sprint(report.Details), c.found)
		})
	}
}

func TestVerifyBeforeTheFirstRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(placed(nil))
	assert.Equal(t, Report{System: NoticesName}, h.verified())
}
