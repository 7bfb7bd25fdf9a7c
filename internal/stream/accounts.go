package stream

import (
	"fmt"
	"strconv"
	"strings"
)

// The accounts of a server. Our own roles and the stream are in one, parties in another: JetStream sends what it is asked for to
// whatever reply subject the request names, and asks nobody whether the requester may publish there. A party in the stream's own account
// could have it deliver into the stream. What comes out of an account by way of an export goes back to the account it was asked
// from, where nothing is stored.
const (
	OwnAccount    = "ORDERSTORE"
	PartyAccount  = "PARTIES"
	systemAccount = "SYS"
)

// OwnUser is the user of our own roles.
const OwnUser = defaultUser

const (
	maxSubscriptions = 1000 // of one connection, party or not
	authTimeout      = 5    // seconds in which a party has to be let in or not
)

// exported is what parties reach of the stream: the state of a consumer, its next messages, and their acknowledgement; and of the bucket of
// stock levels one level. Which consumer is said by each party's own permissions. JetStream's account information is nobody's business, but without this import the server would
// give the parties' account all of JetStream's API as its own.
func exported() []struct{ subject, more string } {
	return []struct{ subject, more string }{
		{"$JS.API.CONSUMER.INFO." + Name + ".*", ""},
		{"$JS.API.CONSUMER.MSG.NEXT." + Name + ".*", "response_type: stream, "},
		{"$JS.ACK." + Name + ".>", ""},
		{"$JS.API.INFO", ""},
		{StockGet + ">", ""},
	}
}

// What parties read of the key-value bucket of stock levels: one level by its subject, and levels as they are written. A subject begins with
// the tenant, and which tenant's may be read is said by each party's own permissions. Both say by their subject alone what is read; a
// consumer would not, since its maker also says where in the bucket's account it delivers.
const (
	StockLevels = "$KV.STOCK."
	StockGet    = "$JS.API.DIRECT.GET.KV_STOCK." + StockLevels
	// StockInfo is what a client asks before it reads a bucket. JetStream's answer could list everybody's keys, so that the broadcasters
	// give one, at StockInfoService.
	StockInfo        = "$JS.API.STREAM.INFO.KV_STOCK"
	StockInfoService = "orderstore.stock.info"
)

// The subjects by which our own roles see the connections of parties and end them.
const (
	ConnectionsSubject = "$SYS.REQ.SERVER.PING.CONNZ"
	kickSubjects       = "$SYS.REQ.SERVER.*.KICK"
)

// KickSubject is where a server is told to end a connection.
func KickSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".KICK" }

// Accounts is the part of a server's configuration that makes accounts, and lets parties in by asking the broadcasters. The
// password may be a bcrypt hash, or a variable of the server's environment such as $PASSWORD. Without a callout no party is let in.
func Accounts(user, password string, callout *Callout) string {
	if !strings.HasPrefix(password, "$") || strings.HasPrefix(password, "$2a$") {
		password = strconv.Quote(password)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "max_subscriptions: %d\nsystem_account: %s\n\naccounts {\n  %s {\n    exports: [\n", maxSubscriptions, systemAccount, systemAccount)
	fmt.Fprintf(&b, "      { service: %q, response_type: stream, accounts: [ %s ] }\n", ConnectionsSubject, OwnAccount)
	fmt.Fprintf(&b, "      { service: %q, accounts: [ %s ] }\n    ]\n  }\n", kickSubjects, OwnAccount)
	fmt.Fprintf(&b, "  %s {\n    jetstream: enabled\n    users: [ { user: %s, password: %s } ]\n    imports: [\n", OwnAccount, strconv.Quote(user), password)
	for _, subject := range []string{ConnectionsSubject, kickSubjects} {
		fmt.Fprintf(&b, "      { service: { account: %s, subject: %q } }\n", systemAccount, subject)
	}
	b.WriteString("    ]\n    exports: [\n")
	for _, e := range exported() {
		fmt.Fprintf(&b, "      { service: %q, %saccounts: [ %s ] }\n", e.subject, e.more, PartyAccount)
	}
	fmt.Fprintf(&b, "      { service: %q, accounts: [ %s ] }\n", StockInfoService, PartyAccount)
	fmt.Fprintf(&b, "      { stream: %q, accounts: [ %s ] }\n", StockLevels+">", PartyAccount)
	fmt.Fprintf(&b, "    ]\n  }\n  %s {\n    imports: [\n", PartyAccount)
	for _, e := range exported() {
		fmt.Fprintf(&b, "      { service: { account: %s, subject: %q } }\n", OwnAccount, e.subject)
	}
	fmt.Fprintf(&b, "      { service: { account: %s, subject: %q }, to: %q }\n", OwnAccount, StockInfoService, StockInfo)
	fmt.Fprintf(&b, "      { stream: { account: %s, subject: %q } }\n", OwnAccount, StockLevels+">")
	b.WriteString("    ]\n  }\n}\n")
	if callout != nil {
		fmt.Fprintf(&b, "\nauthorization {\n  timeout: %d\n  auth_callout {\n    issuer: %s\n    xkey: %s\n    account: %s\n", authTimeout, callout.Issuer, callout.XKey, OwnAccount)
		fmt.Fprintf(&b, "    auth_users: [ %s ]\n    allowed_accounts: [ %s ]\n  }\n}\n", strconv.Quote(user), PartyAccount)
	}
	return b.String()
}
