package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// PutAuxiliaryRecord stores what an auxiliary system has to say about an order; the user sees it with include=auxiliary. It
// may be sent again: the same revision changes nothing. A Problem with the code stale_revision says that a newer revision is
// stored.
func (c *Client) PutAuxiliaryRecord(ctx context.Context, record AuxiliaryRecord) (AuxiliaryRecord, error) {
	body := struct {
		Kind          string          `json:"kind"`
		Revision      int64           `json:"revision"`
		SchemaVersion int64           `json:"schema_version,omitempty"`
		Payload       json.RawMessage `json:"payload,omitempty"`
	}{record.Kind, record.Revision, record.SchemaVersion, record.Payload}
	var answer AuxiliaryRecord
	r := write(http.MethodPut, body, "v1", "orders", record.OrderID, "auxiliary", record.System, record.RecordID)
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("put record %s of order %s: %w", record.RecordID, record.OrderID, err)
	}
	return answer, nil
}
