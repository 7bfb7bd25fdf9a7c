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
			report, err := Verify(t.Context(), h.aux, h.log, nil)
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

func TestVerifyFoldFindsDifferences(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(trade(9, 12)...)
	r := h.runner(quick(), Folds()...)
	stop := start(t, r)
	for _, s := range Folds() {
		h.reached(r, s.Name(), h.position)
	}
	stop()
	for _, system := range Folds() {
		report, err := VerifyFold(t.Context(), h.aux, h.log, system)
		require.NoError(t, err)
		require.True(t, report.Clean(), "%v", report.Details)
	}
	for _, c := range []struct {
		system System
		damage string
	}{
		{NewInvoices(), `UPDATE records SET payload = payload || '\x20' WHERE system = 'invoice'`},
		{NewLoyalty(), `DELETE FROM loyalty_points`},
		{NewProfiles(), `UPDATE customer_orders SET customer_id = NULL`},
	} {
		_, err := h.aux.Exec(t.Context(), c.damage)
		require.NoError(t, err)
		report, err := VerifyFold(t.Context(), h.aux, h.log, c.system)
		require.NoError(t, err)
		assert.False(t, report.Clean(), c.damage)
	}
	assert.Zero(t, h.count(`SELECT count(*) FROM pg_class WHERE relname = 'invoices' AND relpersistence = 't'`), "nothing temporary stays")
}
