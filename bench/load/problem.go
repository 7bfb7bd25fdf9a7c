package load

import "encoding/json"

// problemType is the type of a problem document (RFC 9457), or the beginning of what else was answered.
func problemType(body []byte) string {
	var problem struct{ Type string }
	if err := json.Unmarshal(body, &problem); err == nil && problem.Type != "" {
		return problem.Type
	}
	const shown = 80
	return string(body[:min(len(body), shown)])
}

// ID is the value of an order's member "id" as the store writes it; empty where there is none.
func ID(body []byte) string {
	var order struct{ ID string }
	if json.Unmarshal(body, &order) != nil {
		return ""
	}
	return order.ID
}
