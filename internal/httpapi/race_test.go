//go:build race

package httpapi_test

// raceFactor is by how much the race detector slows code that does nothing but look at bytes.
const raceFactor = 10
