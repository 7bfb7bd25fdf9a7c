package events

import (
	"encoding/json"
	"strconv"
	"time"
)

// Source is the CloudEvents source of every event.
const Source = "/orderstore"

// Notice is an event as parties hear it: a CloudEvent 1.0 in JSON, without order data unless Data was asked for.
type Notice struct {
	SpecVersion  string          `json:"specversion"`
	ID           string          `json:"id"` // the position, so that a duplicate is recognisable
	Type         Type            `json:"type"`
	Source       string          `json:"source"`
	Subject      string          `json:"subject,omitempty"` // the order's id
	Time         time.Time       `json:"time"`
	Position     int64           `json:"position"`
	Tenant       string          `json:"tenant,omitempty"`
	BusinessType string          `json:"businesstype,omitempty"`
	TaskID       string          `json:"taskid,omitempty"`
	Provider     string          `json:"provider,omitempty"`
	OrderVersion int64           `json:"orderversion,omitempty"`
	Traceparent  string          `json:"traceparent,omitempty"`
	DataRef      string          `json:"dataref,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
}

// NoticeOf is the event's notice, without data.
func NoticeOf(e *Event) Notice {
	n := Notice{
		SpecVersion: "1.0", ID: strconv.FormatInt(e.Position, 10), Type: e.Type, Source: Source, Subject: e.OrderID,
		Time: e.Time, Position: e.Position, Tenant: e.Tenant, BusinessType: e.BusinessType, TaskID: e.TaskID,
		Provider: e.Provider, OrderVersion: e.OrderVersion, Traceparent: e.Traceparent,
	}
	n.DataRef = DataRef(e.Type, e.OrderID, e.Position)
	return n
}

// DataRef is where to read what an event is about, as of the event; empty where there is no such place.
func DataRef(t Type, orderID string, position int64) string {
	switch {
	case orderID != "":
		return "/v1/orders/" + orderID + "?position=" + strconv.FormatInt(position, 10)
	case t == StockAdjusted:
		return "/v1/stock?position=" + strconv.FormatInt(position, 10)
	case t == ReplenishmentDue:
		return "/v1/replenishment?position=" + strconv.FormatInt(position, 10)
	}
	return ""
}
