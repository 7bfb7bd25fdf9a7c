package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// txState is whether a transaction is open on a connection.
type txState bool

const (
	idle  txState = false
	begun txState = true
)

// message is everything that is sent, and what has to come back.
type message struct {
	parts    net.Buffers
	ready    int // ReadyForQuery after each Query and each Sync
	extra    int // statements before the caller's
	prepared int // of the statements with parameters: all of them where there was no error
}

// message makes it. Statements with parameters need a transaction around them and the others; without any, the server makes one for the
// statements of a query by itself.
func (b *Bulk) message(ctx context.Context, conn *pgx.Conn, state txState) (m message, err error) {
	if len(b.queries) == 0 && state == idle {
		m.parts, m.ready = net.Buffers{appendQuery(nil, "", b.query), b.rows}, 1
		return m, nil
	}
	before := ""
	if state == idle {
		before, m.extra = "BEGIN;", 1
	}
	var bound []byte
	if m.ready = 2; len(b.queries) > 0 {
		m.ready = 3
		if bound, m.prepared, err = b.bind(ctx, conn); err != nil {
			return m, err
		}
	}
	m.parts = net.Buffers{appendQuery(nil, before, b.query), b.rows, appendQuery(bound, "COMMIT", nil)}
	return m, nil
}

// appendQuery appends a Query message.
func appendQuery(out []byte, before string, query []byte) []byte {
	out = append(out, 'Q')
	out = binary.BigEndian.AppendUint32(out, uint32(4+len(before)+len(query)+1)) //nolint:gosec // far below 2^32
	out = append(out, before...)
	out = append(out, query...)
	return append(out, 0)
}

// bind appends the messages that run the statements with parameters, each prepared on the connection once.
func (b *Bulk) bind(ctx context.Context, conn *pgx.Conn) (out []byte, prepared int, err error) {
	var params pgx.ExtendedQueryBuilder
	for i, q := range b.queries {
		sd, err := conn.Prepare(ctx, q.sql, q.sql)
		if err != nil {
			return nil, i, err
		}
		if err := params.Build(conn.TypeMap(), sd, q.args); err != nil {
			return nil, i, err
		}
		bind := pgproto3.Bind{
			PreparedStatement: sd.Name, ParameterFormatCodes: params.ParamFormats, Parameters: params.ParamValues,
			ResultFormatCodes: params.ResultFormats,
		}
		if out, err = bind.Encode(out); err != nil {
			return nil, i, fmt.Errorf("bind: %w", err)
		}
		if out, err = (&pgproto3.Execute{}).Encode(out); err != nil {
			return nil, i, fmt.Errorf("execute: %w", err)
		}
	}
	if out, err = (&pgproto3.Sync{}).Encode(out); err != nil {
		return nil, 0, fmt.Errorf("sync: %w", err)
	}
	return out, len(b.queries), nil
}

// exchange writes a message and reads all of its answers. It gives how many statements were completed before
// the first error.
func exchange(ctx context.Context, conn *pgx.Conn, m message) (completed int, err error) {
	server := conn.PgConn()
	if _, err := m.parts.WriteTo(server.Conn()); err != nil {
		return 0, broken(ctx, conn, nil, err)
	}
	var refused error
	for ready := m.ready; ready > 0; {
		answer, err := server.ReceiveMessage(context.Background()) //nolint:contextcheck // nothing but the answer ends the wait
		if err != nil {
			return completed, broken(ctx, conn, refused, err)
		}
		switch answer := answer.(type) {
		case *pgproto3.CommandComplete:
			if refused == nil {
				completed++
			}
		case *pgproto3.ErrorResponse:
			if refused == nil {
				refused = pgconn.ErrorResponseToPgError(answer)
			}
		case *pgproto3.ReadyForQuery:
			ready--
		}
	}
	return completed, refused
}

// broken closes a connection on which the protocol is in the middle of something. What the server refused before stands.
func broken(ctx context.Context, conn *pgx.Conn, refused, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	_ = conn.Close(ctx) // it is of no use any more
	if refused != nil {
		return refused
	}
	return cause
}
