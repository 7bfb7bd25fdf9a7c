package query

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// owner is to whom a cursor belongs.
func (s scope) owner() string { return "tenant " + s.tenant + " provider " + s.provider }

// openCursor reads where a list goes on; without a cursor it leaves into as it is.
func (q *queries) openCursor(c echo.Context, list, owner string, into any) error {
	sealed := c.QueryParam("cursor")
	if sealed == "" {
		if c.QueryParams().Has("cursor") {
			return fault.New(fault.BadCursor, "the cursor is empty")
		}
		return nil
	}
	return q.cfg.Cursor.Open(list, owner, sealed, into)
}

// listBody is a page: its items as they are stored, and where it goes on.
func listBody(items [][]byte, next string) []byte { return listBodyWith(items, next, nil) }

// listBodyWith is listBody with an estimate of how many items all pages have, where there is one.
func listBodyWith(items [][]byte, next string, estimate *int64) []byte {
	size := len(next) + 32
	for _, item := range items {
		size += len(item) + 1
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.WriteString(`{"items":[`)
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(item)
	}
	b.WriteByte(']')
	if next != "" {
		b.WriteString(`,"next":`)
		b.Write(quote(next))
	}
	if estimate != nil {
		b.WriteString(`,"estimated_total":`)
		b.WriteString(strconv.FormatInt(*estimate, 10))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func quote(s string) []byte {
	quoted, _ := jsontext.AppendQuote(nil, s) // of a cursor: ASCII
	return quoted
}
