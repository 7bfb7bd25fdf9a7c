// Package check says whether a cluster kept its promises: the ten invariants, held against what every copy has, what clients were answered and
// what parties received. It shares no code with what it checks but the events' codec.
package check

import (
	"github.com/orderstore/orderstore/internal/chaos"
)

// Report is what was found.
type Report struct {
	Violations []chaos.Violation `json:"violations"`

	Ops          int64 `json:"ops"`          // operations, items of lists counted each
	Judged       int64 `json:"judged"`       // of them, by porcupine
	Acknowledged int64 `json:"acknowledged"` // writes
	Refused      int64 `json:"refused"`
	Unknown      int64 `json:"unknown"`    // operations without a certain answer
	Orders       int64 `json:"orders"`     // whose operations were
	Illegal      int64 `json:"illegal"`    // orders without a legal order of their operations
	Unjudged     int64 `json:"unjudged"`   // orders that could not be judged in time
	Events       int64 `json:"events"`     // in the log
	Copies       int64 `json:"copies"`     // that were compared
	Receipts     int64 `json:"receipts"`   // of all parties
	Suppressed   int64 `json:"suppressed"` // violations that are not listed, because there are too many of their kind

	kinds map[string]int64
}

// listed is how many violations of an invariant are listed for each path.
const listed = 20
