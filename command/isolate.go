package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/internal/seeded"
)

// isolate commits the commands of a refused round one by one, so that the one that the database refuses spoils no other.
func (c *Committer) isolate(ctx context.Context, jobs []*job, cause error) {
	if len(jobs) > 1 {
		for _, j := range jobs {
			c.commit(ctx, []*job{j})
		}
		return
	}
	switch {
	case diskFull(cause):
		cause = unavailable(cause)
	case keyGone(cause):
		cause = fmt.Errorf("%w: %w", errErased, unavailable(cause))
	}
	deliver(jobs, failAll(jobs, fmt.Errorf("commit command: %w", cause)))
}

// keyGone recognises that a customer was sealed under a key that this node knew, and that the primary of now, promoted or restored, does not.
func keyGone(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == codeKeyGone
}

// diskFull recognises class 53, insufficient resources.
func diskFull(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && len(pgErr.Code) == 5 && pgErr.Code[:2] == "53"
}

func failAll(jobs []*job, err error) []outcome {
	outcomes := make([]outcome, len(jobs))
	for i := range outcomes {
		outcomes[i].err = err
	}
	return outcomes
}

func deliver(jobs []*job, outcomes []outcome) {
	for i, j := range jobs {
		if seeded.On(seeded.AckBeforeCommit) {
			select {
			case j.done <- outcomes[i]:
			default: // it was answered before
			}
			continue
		}
		j.done <- outcomes[i]
	}
}
