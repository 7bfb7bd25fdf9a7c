package postgres

import "fmt"

// sentenceError carries one sentence to show as it is; errors.Is matches its kind.
type sentenceError struct {
	kind error
	text string
}

func sentence(kind error, format string, args ...any) error {
	return &sentenceError{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Error returns the sentence alone.
func (e *sentenceError) Error() string { return e.text }

// Unwrap returns the sentinel.
func (e *sentenceError) Unwrap() error { return e.kind }
