package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tally counts what went wrong, by reason. It is not safe for several goroutines at once.
type Tally map[string]int64

// Add counts one.
func (t Tally) Add(reason string) { t[reason]++ }

// Merge adds what another one counted.
func (t Tally) Merge(other Tally) {
	for reason, n := range other {
		t[reason] += n
	}
}

// Total is how much went wrong.
func (t Tally) Total() int64 {
	var total int64
	for _, n := range t {
		total += n
	}
	return total
}

// String lists the reasons, the most frequent first.
func (t Tally) String() string {
	if len(t) == 0 {
		return "none"
	}
	reasons := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		if t[a] != t[b] {
			return int(t[b] - t[a])
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(reasons))
	for i, reason := range reasons {
		parts[i] = fmt.Sprintf("%d x %s", t[reason], reason)
	}
	return strings.Join(parts, ", ")
}
