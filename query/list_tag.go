package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/httpapi"
)

// listTag is the entity tag of a page: from which state of the views it was made, for which question, and a digest of its body. While the
// views stay in that state, nothing has to be read to know that the page is the same; later its body tells.
type listTag struct {
	position int64
	question string // with whose it is, and of which tables
	body     string
}

// String is the tag with its quotes.
func (t listTag) String() string { return fmt.Sprintf(`"%d-%s-%s"`, t.position, t.question, t.body) }

func parseListTag(tag string) (listTag, bool) {
	parts := strings.Split(strings.Trim(tag, `"`), "-")
	if len(parts) != 3 {
		return listTag{}, false
	}
	position, err := strconv.ParseInt(parts[0], 10, 64)
	return listTag{position: position, question: parts[1], body: parts[2]}, err == nil
}

// tagged answers the pages of one request, or that the client has the page.
type tagged struct {
	c        echo.Context
	question string
	known    string // the client's tag of the page, once it is known to be right
}

func tagsOf(c echo.Context, owner string) *tagged {
	return &tagged{c: c, question: owner + "\n" + c.Request().URL.Path + "?" + c.Request().URL.RawQuery}
}

const selectState = `
SELECT coalesce(min(position), 0) AS checkpoint, coalesce(sum(generation), 0)::bigint AS generation FROM checkpoints WHERE view = ANY ($1)`

// asked is a digest of the question and of the tables that answer it: a table that takes another's place has a higher generation.
func (t *tagged) asked(generation int64) string {
	sum := sha256.Sum256(fmt.Append(nil, generation, t.question))
	return hex.EncodeToString(sum[:8])
}

// unchanged says whether the client has the page already, without reading it, and at which position that is so.
func (t *tagged) unchanged(ctx context.Context, q *queries, views []string) (seen int64, same bool, err error) {
	if len(t.c.Request().Header["If-None-Match"]) == 0 {
		return 0, false, nil
	}
	var generation int64
	if err := q.cfg.Read.QueryRow(ctx, selectState, views).Scan(&seen, &generation); err != nil {
		return 0, false, fmt.Errorf("read checkpoints: %w", err)
	}
	asked := t.asked(generation)
	t.known, same = httpapi.KnownTag(t.c, func(tag string) bool {
		known, ok := parseListTag(tag)
		return ok && known.position == seen && known.question == asked
	})
	return seen, same, nil
}

// answer gives the page, or 304 where its body is the one that the client has.
func (t *tagged) answer(seen, generation int64, body []byte) error {
	header(t.c, seen)
	if t.known != "" {
		httpapi.NotModified(t.c, t.known)
		return nil
	}
	sum := sha256.Sum256(body)
	tag := listTag{position: seen, question: t.asked(generation), body: hex.EncodeToString(sum[:16])}
	held, _ := httpapi.KnownTag(t.c, func(known string) bool {
		client, ok := parseListTag(known)
		return known == "*" || ok && client.body == tag.body
	})
	if held == "" || held == "*" {
		held = tag.String()
	}
	if httpapi.NotModified(t.c, held) {
		return nil
	}
	return answer(t.c, seen, body)
}

// answerPage answers a page that has no state to go by but its body.
func answerPage(c echo.Context, seen int64, body []byte) error {
	header(c, seen)
	if httpapi.NotModified(c, httpapi.BodyTag(body)) {
		return nil
	}
	return answer(c, seen, body)
}
