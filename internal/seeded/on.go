//go:build seededbugs

package seeded

import "os"

// Variable names the one bug that is made.
const Variable = "ORDERSTORE_SEEDED_BUG"

// On says whether a bug is made.
func On(name Name) bool { return os.Getenv(Variable) == string(name) }
