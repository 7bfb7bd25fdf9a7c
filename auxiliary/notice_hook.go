package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/orderstore/orderstore/events"
)

// noticeCall is the body of a notice's webhook: the CloudEvent that it comes from, with what a gateway needs to reach the customer.
type noticeCall struct {
	SpecVersion string     `json:"specversion"`
	ID          string     `json:"id"`   // "notice_" and the position
	Type        string     `json:"type"` // "notice." and the event's
	Source      string     `json:"source"`
	Subject     string     `json:"subject"` // the order
	Time        time.Time  `json:"time"`
	Position    int64      `json:"position"`
	Tenant      string     `json:"tenant"`
	DataRef     string     `json:"dataref"`
	Data        noticeData `json:"data"`
}

type noticeData struct {
	Channel     string         `json:"channel"`
	ExternalRef string         `json:"external_ref"`
	Language    string         `json:"language,omitempty"`
	Customer    noticeCustomer `json:"customer"`
	Currency    string         `json:"currency"`
	Total       int64          `json:"total"`
	Reason      string         `json:"reason,omitempty"`
	Title       string         `json:"title"` // the mail's subject and text, in the tenant's words and the customer's language
	Text        string         `json:"text"`
}

type noticeCustomer struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
}

// call makes one attempt at the tenant's webhook as it is now. Its id names the event, so that a receiver knows one that comes
// again.
func (s *Notices) call(ctx context.Context, position int64, orderID string, n *noticeMail) error {
	tenant, err := s.words.of(ctx, n.Tenant)
	if err != nil {
		return err
	}
	if tenant.settings.url == "" { // the call was asked for by settings that may be newer than what is kept
		if tenant, err = s.words.again(ctx, n.Tenant); err != nil {
			return err
		}
	}
	if tenant.settings.url == "" || s.hooks == nil {
		return Undeliverable(errors.New("the tenant has no webhook any more"))
	}
	words, err := s.mailer.word(ctx, n)
	if err != nil {
		return err
	}
	id := "notice_" + strconv.FormatInt(position, 10) // a subscription of the same tenant has the position for its id
	body, err := json.Marshal(noticeCall{
		SpecVersion: "1.0", ID: id, Type: "notice." + string(n.Event), Source: events.Source, Subject: orderID, Time: n.At, Position: position,
		Tenant: n.Tenant, DataRef: fmt.Sprintf("/v1/orders/%s?position=%d", orderID, position),
		Data: noticeData{
			Channel: n.Channel, ExternalRef: n.Ref, Language: n.Language, Currency: n.Currency, Total: n.Total, Reason: n.Reason,
			Customer: noticeCustomer{Name: n.Name, Email: n.Address, Phone: n.Phone}, Title: words.subject, Text: words.text,
		},
	})
	if err != nil {
		return Undeliverable(fmt.Errorf("encode call: %w", err))
	}
	return s.hooks.Send(ctx, Call{URL: tenant.settings.url, Secret: tenant.settings.secret, ID: id, At: s.now(), Body: body})
}
