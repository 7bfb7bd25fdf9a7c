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

// message is everything that is sent, in parts. Statements with parameters need a transaction around them and the others; without any, the server
// makes one for the statements of a query by itself.
// prepared is how many of those with parameters the server has taken; all of them where there is no error.
func (b *Bulk) message(ctx context.Context, conn *pgx.Conn) (message net.Buffers, prepared int, err error) {
	if len(b.queries) == 0 {
		return net.Buffers{appendQuery(nil, "", b.query), b.rows}, 0, nil
	}
	bound, prepared, err := b.bind(ctx, conn)
	if err != nil {
		return nil, prepared, err
	}
	return net.Buffers{appendQuery(nil, "BEGIN;", b.query), b.rows, appendQuery(bound, "COMMIT", nil)}, prepared, nil
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

// exchange writes a message and reads until the server has been ready so many times. It gives how many statements were completed before
// the first error.
func exchange(ctx context.Context, conn *pgx.Conn, message net.Buffers, ready int) (completed int, err error) {
	server := conn.PgConn()
	if _, err := message.WriteTo(server.Conn()); err != nil {
		return 0, broken(ctx, conn, nil, err)
	}
	var refused error
	for ready > 0 {
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
