package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrOutcomeUnknown is wrapped by errors of InTx and CommitBatch when the connection broke after a commit had been
// sent and before its answer came: the transaction may or may not have been stored. Only reading tells.
var ErrOutcomeUnknown = errors.New("outcome of the commit is unknown")

// SQLSTATE codes this package decides on.
const (
	codeUniqueViolation     = "23505"
	codeReadOnlyTransaction = "25006"
	codeSerialization       = "40001"
	codeDeadlock            = "40P01"
	codeInvalidPassword     = "28P01"
	codeDuplicateDatabase   = "42P04"
	codeQueryCanceled       = "57014"
	codeTooManyConnections  = "53300"
	classConnection         = "08"
	classOperatorIntervened = "57P"
	severityFatal           = "FATAL"
	severityPanic           = "PANIC"
)

// IsUniqueViolation tells whether err is a unique violation of the named constraint or index; an empty name means
// any.
func IsUniqueViolation(err error, constraint string) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pgErr.Code != codeUniqueViolation {
		return false
	}
	return constraint == "" || pgErr.ConstraintName == constraint
}

// IsSerializationFailure tells whether err is a serialization failure or a deadlock, which running the same
// transaction again may cure.
func IsSerializationFailure(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == codeSerialization || pgErr.Code == codeDeadlock)
}

// IsInterrupted tells whether the server gave up a statement that had nothing wrong: at its time limit, in a deadlock, or, on a standby, because
// it kept what came from the primary waiting for too long. A read may do better later.
func IsInterrupted(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == codeQueryCanceled || IsSerializationFailure(err))
}

// IsUnavailable tells whether err says that the server could not be reached, was going away, was not taking
// connections or was not the primary: worth another try later, and no fault of the statement. The caller's own
// cancelled or expired context is not unavailability, except that a connection attempt cut off by a deadline counts,
// whoever set the deadline.
func IsUnavailable(err error) bool {
	if err == nil {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unavailableCode(pgErr.Code)
	}
	if errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrStandbyBehind) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return !errors.Is(err, context.Canceled)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return brokenConnection(err)
}

func unavailableCode(code string) bool {
	switch {
	case strings.HasPrefix(code, classConnection), strings.HasPrefix(code, classOperatorIntervened):
		return true
	default:
		return code == codeTooManyConnections || code == codeReadOnlyTransaction
	}
}

// brokenConnection recognises what the network and pgx return once a connection is gone.
func brokenConnection(err error) bool {
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, pgconn.ErrConnClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok || pgconn.SafeToRetry(err)
}

// outcomeUnknown tells whether a commit that was sent and answered err may have happened all the same. An ERROR answer
// means it was rolled back. A FATAL one ends the session and may race with the commit's own answer, so it decides
// nothing. pgconn.SafeToRetry is not asked: pgx loses the first read error of a simple query and then reports the
// connection it has just closed as one that was closed before anything was sent.
func outcomeUnknown(err error) bool {
	if err == nil {
		return false
	}
	// A batch that could not be prepared or encoded never got its Sync, without which the server commits nothing.
	if _, ok := errors.AsType[pgx.ErrPreprocessingBatch](err); ok {
		return false
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return true
	}
	severity := pgErr.SeverityUnlocalized
	if severity == "" {
		severity = pgErr.Severity
	}
	return severity == severityFatal || severity == severityPanic
}
