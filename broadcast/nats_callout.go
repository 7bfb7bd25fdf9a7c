package broadcast

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	calloutSubject  = "$SYS.REQ.USER.AUTH"
	calloutAudience = "nats-authorization-request"
	calloutQueue    = "orderstore-access" // of several broadcasters one answers
	calloutXKey     = "Nats-Server-Xkey"  // header: the server's own curve key, when the question is sealed
)

// Limits that a party's login carries. The server enforces them for users of an operator's accounts; where accounts stand in its
// configuration file, as ours do, its own max_subscriptions and max_payload hold.
const (
	partySubscriptions = 100
	partyPayload       = 4 << 10 // bytes: the largest thing a party sends is a request for messages
)

var errBadRequest = errors.New("request to let a client in")

// question is a server's request to say who a client is.
type question struct {
	user       string // public key by which the server knows the client, made for this connection
	server     string // the server's id, a public key
	xkey       string // the server's curve key; empty: the answer goes in the clear
	connection uint64
	login      jwt.ConnectOptions
}

// readQuestion checks a request as far as it can be: that it is for these keys, of one server, and fresh. That it is from a server at
// all follows from where it came: a server lets no client of the account publish on that subject.
func readQuestion(m *nats.Msg, keys *stream.CalloutKeys, now time.Time) (*question, error) {
	xkey, token := m.Header.Get(calloutXKey), m.Data
	if xkey != "" {
		var err error
		if token, err = keys.Open(m.Data, xkey); err != nil {
			return nil, fmt.Errorf("%w: open: %w", errBadRequest, err)
		}
	}
	claims, err := jwt.DecodeAuthorizationRequestClaims(string(token)) // and verifies the signature of the issuer it names
	if err != nil {
		return nil, fmt.Errorf("%w: decode: %w", errBadRequest, err)
	}
	results := jwt.CreateValidationResults()
	claims.Validate(results)
	switch {
	case results.IsBlocking(true):
		return nil, fmt.Errorf("%w: %s", errBadRequest, results.Issues[0].Description)
	case claims.Issuer != claims.Server.ID:
		return nil, fmt.Errorf("%w: signed by another than the server it names", errBadRequest)
	case claims.Audience != calloutAudience || claims.Subject != keys.Public().Issuer:
		return nil, fmt.Errorf("%w: meant for somebody else", errBadRequest)
	case claims.Expires == 0 || now.Unix() > claims.Expires:
		return nil, fmt.Errorf("%w: too old", errBadRequest)
	case claims.Server.XKey != xkey:
		return nil, fmt.Errorf("%w: two curve keys", errBadRequest)
	}
	return &question{
		user: claims.UserNkey, server: claims.Server.ID, xkey: xkey,
		connection: claims.ClientInformation.ID, login: claims.ConnectOptions,
	}, nil
}

// answer signs what is said to a question: a user, or why there is none.
func (q *question) answer(keys *stream.CalloutKeys, user, refusal string) ([]byte, error) {
	claims := jwt.NewAuthorizationResponseClaims(q.user)
	claims.Audience, claims.Jwt, claims.Error = q.server, user, refusal
	token, err := claims.Encode(keys.Issuer())
	if err != nil {
		return nil, fmt.Errorf("sign answer: %w", err)
	}
	if q.xkey == "" {
		return []byte(token), nil
	}
	sealed, err := keys.Seal([]byte(token), q.xkey)
	if err != nil {
		return nil, fmt.Errorf("seal answer: %w", err)
	}
	return sealed, nil
}

// admit signs the user that a party is on this connection: what it may do, and until when.
func (q *question) admit(keys *stream.CalloutKeys, who auth.Identity, consumers []string, until time.Time) (string, error) {
	claims := jwt.NewUserClaims(q.user)
	claims.Name = who.ClientID // the server shows it instead of what the client sent
	claims.Audience = stream.PartyAccount
	claims.Expires = until.Unix()
	claims.Permissions = permissionsOf(who, consumers)
	claims.Limits.Subs, claims.Limits.Payload = partySubscriptions, partyPayload
	claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}
	token, err := claims.Encode(keys.Issuer())
	if err != nil {
		return "", fmt.Errorf("sign user: %w", err)
	}
	return token, nil
}

// permissionsOf allow the named consumers, the stock levels of the party's tenant and the party's own inbox. An empty list of what may be
// published would allow everything, so that a party without either is denied everything in words.
func permissionsOf(who auth.Identity, consumers []string) jwt.Permissions {
	var p jwt.Permissions
	for _, name := range consumers {
		p.Pub.Allow.Add(
			"$JS.API.CONSUMER.INFO."+stream.Name+"."+name,
			"$JS.API.CONSUMER.MSG.NEXT."+stream.Name+"."+name,
			"$JS.ACK."+stream.Name+"."+name+".>",
		)
	}
	if readsStock(who) {
		p.Pub.Allow.Add(stream.StockInfo, stream.StockGet+who.Tenant+".>")
		p.Sub.Allow.Add(stream.StockLevels + who.Tenant + ".>")
	}
	if len(p.Pub.Allow) == 0 {
		p.Pub.Deny.Add(">")
	}
	p.Sub.Allow.Add(InboxPrefix(who.ClientID) + ".>")
	slices.Sort(p.Pub.Allow)
	return p
}

// readsStock tells whether a party may read its tenant's stock levels, as over HTTP. A tenant that an outside issuer names may be no token of
// a subject.
func readsStock(who auth.Identity) bool {
	return (who.Kind == auth.KindUser || who.Kind == auth.KindAuxiliary) && plainID.MatchString(who.Tenant)
}
