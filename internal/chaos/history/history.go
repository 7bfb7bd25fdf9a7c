// Package history records what the clients of a cluster under test asked for and what they were answered, in files that are read again without
// the cluster. An operation that writes is recorded twice: when it is sent and when it is answered. One without an answer stays open.
package history

// Kind is what an operation asks for.
type Kind string

// The kinds.
const (
	Submit   Kind = "submit"   // a new order, alone or as a line of a batch
	Replay   Kind = "replay"   // the same order under the same reference again
	Conflict Kind = "conflict" // another order under a reference that is taken
	Again    Kind = "again"    // the same request under the same Idempotency-Key
	Amend    Kind = "amend"
	Cancel   Kind = "cancel"
	Result   Kind = "result" // of a task
	Read     Kind = "read"   // an order by its id
	Pull     Kind = "pull"   // the same by a party that was told of it
	List     Kind = "list"   // a page of orders: each item is a read
	Foreign  Kind = "foreign"
	Stock    Kind = "stock"  // an adjustment
	Attach   Kind = "record" // of an auxiliary system
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Submit, Replay, Conflict, Again, Amend, Cancel, Result, Read, Pull, List, Foreign, Stock, Attach}
}

// Writes says whether the kind may change something.
func (k Kind) Writes() bool {
	switch k {
	case Read, Pull, List, Foreign:
		return false
	}
	return true
}

// Outcome is what is known of an operation.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // nothing was done
	Unknown Outcome = "unknown" // cut off, timed out, or the store does not know either: it may take effect at any time
)

// Item is an order as a list showed it.
type Item struct {
	Order   string `json:"o"`
	Tenant  string `json:"t"`
	Version int64  `json:"v"`
	Status  string `json:"s"`
}

// Op is one operation. What does not apply to its kind is zero.
type Op struct {
	ID      int64   `json:"id"`
	Client  int     `json:"c"` // who has one call outstanding at a time
	Kind    Kind    `json:"k"`
	Outcome Outcome `json:"out,omitempty"` // empty: sent, and no answer was recorded
	Call    int64   `json:"call"`          // ns since the run began, monotonic
	Return  int64   `json:"ret,omitempty"` // likewise; 0: open
	Node    string  `json:"node,omitempty"`
	Status  int     `json:"code,omitempty"` // of HTTP; 0: no answer
	Problem string  `json:"problem,omitempty"`

	Tenant string `json:"t,omitempty"`   // of who asked
	Party  string `json:"p,omitempty"`   // provider or auxiliary system who asked
	Ref    string `json:"ref,omitempty"` // channel/external_ref of the order
	Order  string `json:"o,omitempty"`   // id of the order

	// What was asked. Mark is what makes the request recognisable in the log: the digest of the content that was submitted, the attribute
	// that was set, the reason, the result's, adjustment's or record's id; of a list the status that was asked for.
	Mark      string `json:"mark,omitempty"`
	IfVersion int64  `json:"if,omitempty"`
	Token     int64  `json:"token,omitempty"` // the position that the answer had to reflect
	Told      int64  `json:"told,omitempty"`  // the order's version that the party was told of
	Heard     int64  `json:"heard,omitempty"` // the position that it was told of, where it did not ask for that
	Task      string `json:"task,omitempty"`
	Total     int64  `json:"sum,omitempty"` // of what was submitted, or the revision of a record

	// What was answered.
	Position int64  `json:"pos,omitempty"` // Order-Position of the answer
	Version  int64  `json:"v,omitempty"`   // of the order
	State    string `json:"s,omitempty"`   // status of the order
	Replayed bool   `json:"again,omitempty"`
	Seen     string `json:"seen,omitempty"` // tenant of the order that was answered
	Items    []Item `json:"items,omitempty"`
}

// Count is how many operations on orders the record stands for.
func (o *Op) Count() int {
	if o.Kind == List {
		return len(o.Items)
	}
	return 1
}

// Receipt is an event that a party received and has dealt with.
type Receipt struct {
	Position     int64  `json:"pos"`
	ID           string `json:"id"`
	Type         string `json:"type"`
	Order        string `json:"order,omitempty"`
	OrderVersion int64  `json:"v,omitempty"`
	Tenant       string `json:"tenant,omitempty"`
	Provider     string `json:"provider,omitempty"`
	Task         string `json:"task,omitempty"`
	Digest       string `json:"digest"`           // see DigestOf
	Before       bool   `json:"before,omitempty"` // it had come before: an at-least-once transport brought it again
	At           int64  `json:"at"`               // ns since the run began
}
