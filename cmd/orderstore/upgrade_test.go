package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOlderProgramBesideANewerSchema: an upgrade migrates first. What runs then goes on; what is started then refuses, unless it is told not to look.
func TestOlderProgramBesideANewerSchema(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	running, _ := o.launch(t, "command")
	as := o.parties(t)
	_, err := connect(t, o.write).Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	require.NoError(t, err)

	require.NoError(t, submitWithin(t, newClient(t, running, as.User), time.Minute, "runs on"))
	env := append(o.env, "ORDERSTORE_HTTP="+freeAddress(t))
	refused := launch(t, env, "orderstore", "serve", "--roles", "command")
	<-refused.done
	require.Error(t, refused.err)
	require.Contains(t, refused.out.String(), "database write is at migration 9999, this binary knows")
	require.Contains(t, refused.out.String(), "use a newer orderstore")

	back, _ := o.launch(t, "command", "--migrate=false")
	require.NoError(t, submitWithin(t, newClient(t, back, as.User), time.Minute, "goes back"))
}
