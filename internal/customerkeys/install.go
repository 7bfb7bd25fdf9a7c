package customerkeys

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// What is wrong with the master key that a process was given.
var (
	// ErrOtherMaster says that the installation's customers are sealed under another one.
	ErrOtherMaster = errors.New("ORDERSTORE_MASTER_KEY is not the key that this installation's customers are sealed under")
	// ErrNoMaster says that there is one, which the primary does not have.
	ErrNoMaster = errors.New("ORDERSTORE_MASTER_KEY is not set, and this installation's customers are sealed under one: " +
		"set it, or name a file with it in ORDERSTORE_MASTER_KEY_FILE")
)

const (
	insertMaster = `INSERT INTO customer_master (value, mark) VALUES ($1, $2) ON CONFLICT (one) DO NOTHING`
	selectMaster = `SELECT value, mark FROM customer_master`
)

// Establish gives the installation's master key: the one that this process was given or, where none is (nil), one that is kept in the
// primary, which the first process makes that needs one. It returns ErrOtherMaster or ErrNoMaster (test with errors.Is) where the
// installation has another.
func Establish(ctx context.Context, pool *pgxpool.Pool, given *Master) (*Master, error) {
	candidate, secret := given, []byte(nil)
	if given == nil {
		secret = make([]byte, keyLength)
		_, _ = rand.Read(secret) // never fails: the program ends instead
		var err error
		if candidate, err = NewMaster(secret); err != nil {
			return nil, err
		}
	}
	if _, err := pool.Exec(ctx, insertMaster, secret, candidate.own()); err != nil {
		return nil, fmt.Errorf("establish the master key: %w", err)
	}
	var kept, mark []byte
	if err := pool.QueryRow(ctx, selectMaster).Scan(&kept, &mark); err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	switch {
	case given == nil && kept == nil:
		return nil, ErrNoMaster
	case given == nil:
		return NewMaster(kept)
	case !hmac.Equal(mark, given.own()):
		return nil, ErrOtherMaster
	}
	return given, nil
}

// own is what the master key is recognised by.
func (m *Master) own() []byte { return m.hash("the master key") }
