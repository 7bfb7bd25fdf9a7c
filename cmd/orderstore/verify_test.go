package main

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestVerifyNamesTheFirstDifference breaks a copy of everything and has verify find each.
func TestVerifyNamesTheFirstDifference(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.verified() // nothing equals nothing
	s.register("retail.erp")
	for _, ref := range []string{"a", "b", "c"} {
		_, err := s.user().SubmitOrder(t.Context(), sampleOrder(ref))
		require.NoError(t, err)
	}
	s.level()
	s.verified()
	for _, c := range []struct{ name, database, damage, repair, says string }{
		{
			"an event that was changed", s.at.PostgresWrite,
			`UPDATE order_events SET event = convert_to(replace(convert_from(event, 'UTF8'), 'Pen', 'Pin'), 'UTF8') WHERE position = 4`,
			`UPDATE order_events SET event = convert_to(replace(convert_from(event, 'UTF8'), 'Pin', 'Pen'), 'UTF8') WHERE position = 4`,
			"log at position 4: the digest at 4 is not that of the event there",
		},
		{
			"a hole in the log", s.at.PostgresWrite,
			`UPDATE order_events SET position = 100 WHERE position = 5`, `UPDATE order_events SET position = 5 WHERE position = 100`,
			"log at position 5: the log has no position 5",
		},
		{
			"a state that is not the fold", s.at.PostgresWrite,
			`UPDATE orders SET state = convert_to(replace(convert_from(state, 'UTF8'), '"total":2311', '"total":2312'), 'UTF8') WHERE external_ref = 'b'`,
			`UPDATE orders SET state = convert_to(replace(convert_from(state, 'UTF8'), '"total":2312', '"total":2311'), 'UTF8') WHERE external_ref = 'b'`,
			"log at position 5: the state of order",
		},
		{
			"a view's row that is not the fold", s.at.PostgresRead,
			`UPDATE order_view SET document = convert_to(replace(convert_from(document, 'UTF8'), 'Pen', 'Pin'), 'UTF8') WHERE external_ref = 'c'`,
			`UPDATE order_view SET document = convert_to(replace(convert_from(document, 'UTF8'), 'Pin', 'Pen'), 'UTF8') WHERE external_ref = 'c'`,
			"view at position 7:",
		},
		{
			"an event that a party would never hear of", s.at.PostgresRead,
			`UPDATE timeline SET provider = 'somebody' WHERE position = 3`, `UPDATE timeline SET provider = 'demo-provider' WHERE position = 3`,
			"view at position 3:",
		},
	} {
		db, err := pgx.Connect(t.Context(), c.database)
		require.NoError(t, err)
		tag, err := db.Exec(t.Context(), c.damage)
		require.NoError(t, err, c.name)
		require.EqualValues(t, 1, tag.RowsAffected(), c.name)
		out, status := runCommand(t, "orderstore", "verify", "--data", s.data)
		require.Equal(t, 1, status, "%s: %s", c.name, out)
		require.Contains(t, out, "verify: DIFFERENT: "+c.says, c.name)
		_, err = db.Exec(t.Context(), c.repair)
		require.NoError(t, err)
		require.NoError(t, db.Close(t.Context()))
		s.verified()
	}
}
