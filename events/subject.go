package events

import "strings"

// SubjectAll is what the stream ORDERS holds.
const SubjectAll = "orders.>"

// Stream is the name of the JetStream stream that copies the log.
const Stream = "ORDERS"

// none stands in a subject where the event has no tenant, business type or provider. It is no valid id.
const none = "-"

// Subject is where the event is broadcast: orders.<tenant>.<business_type>.<provider or ->.<type>. There is no order id in it:
// a million distinct subjects ruin the broker.
func (e *Event) Subject() string {
	var b strings.Builder
	b.Grow(64)
	b.WriteString("orders.")
	b.WriteString(orNone(e.Tenant))
	b.WriteByte('.')
	b.WriteString(SubjectToken(orNone(e.BusinessType)))
	b.WriteByte('.')
	b.WriteString(orNone(e.Provider))
	b.WriteByte('.')
	b.WriteString(string(e.Type))
	return b.String()
}

// TenantFilter is the subject filter that matches all events of a tenant.
func TenantFilter(tenant string) string { return "orders." + tenant + ".>" }

// ProviderFilter is the subject filter that matches all events addressed to a provider.
func ProviderFilter(provider string) string { return "orders.*.*." + provider + ".>" }

// SubjectToken encodes a business type or channel, which may hold dots, as one subject token. The tilde is in neither's
// alphabet, so the encoding can be undone.
func SubjectToken(s string) string { return strings.ReplaceAll(s, ".", "~") }

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}
