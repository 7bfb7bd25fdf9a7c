package main

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// synced gives the state of each auxiliary system in the user's query.
func (s *system) synced(user *client.Client, order string) (map[string]string, client.Order) {
	s.t.Helper()
	full, err := user.GetOrder(s.t.Context(), order, client.GetOptions{Include: []string{client.IncludeAuxiliary}})
	require.NoError(s.t, err)
	states := map[string]string{}
	for _, party := range full.SyncStatus {
		if party.Kind == "auxiliary" {
			states[party.Party] = party.Status
		}
	}
	return states, full
}

// recordsOf are the records of some systems.
func recordsOf(order client.Order, systems ...string) []client.AuxiliaryRecord {
	return slices.DeleteFunc(slices.Clone(order.Auxiliary), func(r client.AuxiliaryRecord) bool { return !slices.Contains(systems, r.System) })
}

// A till's sale reaches the tenant's ERP and CRM, and the user sees who has it and who does not.
func TestASaleAtATillReachesOutsideSystems(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	operator, user := s.operator(), s.user()
	// The systems are known as soon as somebody has run them.
	require.Eventually(t, func() bool {
		_, err := operator.PauseSystem(t.Context(), "notices", "to see who waits")
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	parties := map[string]*client.Client{}
	for _, name := range []string{"erp", "crm"} {
		made, err := operator.CreateClient(t.Context(), client.ClientSpec{Kind: client.KindAuxiliary, System: name, Tenant: "demo"})
		require.NoError(t, err)
		parties[name] = newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: made.ClientSecret})
	}
	sale := sampleOrder("till-7-0001")
	sale.Channel = "pos"
	placed, err := user.SubmitOrder(t.Context(), sale)
	require.NoError(t, err)
	states, full := s.synced(user, placed.ID)
	require.Equal(t, "pending", states["erp"])
	require.Equal(t, "pending", states["crm"])
	require.Equal(t, "pending", states["notices"], "a system that nobody runs is behind")
	require.Empty(t, recordsOf(full, "erp", "crm", "notices"))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, own := range parties {
		for event, err := range own.Events(ctx, client.From{Position: 0}) {
			require.NoError(t, err)
			if event.Type != "order.placed" {
				continue
			}
			order, err := own.PullOrder(ctx, &event)
			require.NoError(t, err)
			require.Equal(t, "pos", order.Channel)
			_, err = own.PutAuxiliaryRecord(ctx, client.AuxiliaryRecord{
				OrderID: order.ID, System: name, RecordID: "sale", Kind: "sale", Revision: order.Version, Payload: json.RawMessage(`{"booked":true}`),
			})
			require.NoError(t, err)
			break
		}
	}
	_, full = s.synced(user, placed.ID)
	booked := recordsOf(full, "erp", "crm")
	require.Len(t, booked, 2)
	for _, record := range booked {
		require.Positive(t, record.Position)
		require.GreaterOrEqual(t, record.AgeMS, int64(0))
	}
	systems, err := operator.AuxiliarySystems(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, systems)
	lag, err := operator.Lag(t.Context())
	require.NoError(t, err)
	for _, stage := range lag.Auxiliary {
		if stage.Name == "notices" {
			require.Equal(t, "paused", stage.Stopped)
			require.Positive(t, stage.Lag)
		}
	}
	set, err := operator.PutNoticeSettings(t.Context(), client.NoticeSettings{
		Tenant: "demo", Language: "de", Webhook: &client.NoticeWebhook{URL: "http://127.0.0.1:9/hook", Events: []string{"order.rejected"}},
	})
	require.NoError(t, err)
	require.NotEmpty(t, set.Webhook.Secret)
	_, err = operator.PutNoticeTemplate(t.Context(), "demo", client.NoticeTemplate{
		Event: "order.placed", Language: "de", Subject: "Bestellung {{.Ref}}", Text: "Danke, {{.Name}}!",
	})
	require.NoError(t, err)
	now, err := operator.NoticeSettings(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, "de", now.Language)
	require.Equal(t, []string{"order.placed", "order.completed", "order.rejected", "order.cancelled", "order.returned"}, now.MailEvents)
	letters, err := operator.SystemLetters(t.Context(), "notices")
	require.NoError(t, err)
	require.Empty(t, letters)
	_, err = operator.RetryLetter(t.Context(), "notices", "1.mail", "")
	require.True(t, client.HasCode(err, client.CodeNotFound), "%v", err)
	_, err = operator.DiscardLetter(t.Context(), "notices", "1", "no")
	require.True(t, client.HasCode(err, client.CodeNotFound), "%v", err)
	_, err = operator.RebuildSystem(t.Context(), "notices", "")
	require.NoError(t, err)
	_, err = operator.ResumeSystem(t.Context(), "notices", "")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		states, _ := s.synced(user, placed.ID)
		return states["notices"] == "synced"
	}, time.Minute, 20*time.Millisecond)
	s.verified()
}
