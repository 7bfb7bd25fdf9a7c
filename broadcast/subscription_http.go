package broadcast

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	listDefault = 50
	listMost    = 200
)

// subscriptionRoutes are the routes by which parties say what they want to hear.
func (a *api) subscriptionRoutes() []httpapi.Route {
	kinds := []auth.Kind{auth.KindUser, auth.KindProvider, auth.KindAuxiliary}
	route := func(method, path string, class httpapi.Class, h httpapi.Handler) httpapi.Route {
		return httpapi.Route{
			Method: method, Path: "/v1/subscriptions" + path, Scope: auth.ScopeSubscriptionsWrite, Kinds: kinds, Class: class, Handler: h,
		}
	}
	return append([]httpapi.Route{
		route(http.MethodPost, "", httpapi.ClassWrite, a.createSubscription),
		route(http.MethodGet, "", httpapi.ClassList, a.listSubscriptions),
		route(http.MethodGet, "/:id", httpapi.ClassRead, a.ofSubscription(a.getSubscription)),
		route(http.MethodPatch, "/:id", httpapi.ClassWrite, a.ofSubscription(a.patchSubscription)),
		route(http.MethodDelete, "/:id", httpapi.ClassWrite, a.ofSubscription(a.deleteSubscription)),
		route(http.MethodPost, "/:id/pause", httpapi.ClassWrite, a.ofSubscription(a.pauseSubscription)),
		route(http.MethodPost, "/:id/resume", httpapi.ClassWrite, a.ofSubscription(a.resumeSubscription)),
		route(http.MethodPost, "/:id/seek", httpapi.ClassWrite, a.ofSubscription(a.seekSubscription)),
		route(http.MethodPost, "/:id/ack", httpapi.ClassWrite, a.ofSubscription(a.ackSubscription)),
		route(http.MethodPost, "/:id/rotate-secret", httpapi.ClassWrite, a.ofWebhook(a.rotateSecret)),
		route(http.MethodPost, "/:id/test", httpapi.ClassWrite, a.ofWebhook(a.testSubscription)),
		route(http.MethodPost, "/:id/replay", httpapi.ClassWrite, a.ofWebhook(a.replaySubscription)),
		route(http.MethodGet, "/:id/deliveries", httpapi.ClassList, a.ofWebhook(a.listAttempts)),
		route(http.MethodGet, "/:id/dead-letters", httpapi.ClassList, a.ofWebhook(a.listDeadLetters)),
	}, httpapi.Route{
		Method: http.MethodGet, Path: "/v1/admin/dead-letters", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator},
		Class: httpapi.ClassList, Handler: a.adminDeadLetters,
	})
}

// subscriptionAnswer is a subscription as its party sees it.
type subscriptionAnswer struct {
	ID            uuid.UUID          `json:"id"`
	Name          string             `json:"name"`
	Transport     Transport          `json:"transport"`
	Status        SubscriptionStatus `json:"status"`
	Reason        string             `json:"reason,omitempty"`
	Types         []string           `json:"types"`
	BusinessTypes []string           `json:"business_types"`
	Include       string             `json:"include,omitempty"`
	Position      int64              `json:"position"`
	Lag           int64              `json:"lag"` // positions that the read side is ahead
	Version       int64              `json:"version"`
	CreatedAt     time.Time          `json:"created_at"`
	UpdatedAt     time.Time          `json:"updated_at"`
	NATS          *natsAddress       `json:"nats,omitempty"`
	*WebhookView
}

// natsAddress is where a subscription is read on NATS.
type natsAddress struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	Inbox    string `json:"inbox"` // the prefix of the subjects that whoever asks may have its replies sent to
}

// consumerName is the durable consumer of a subscription on NATS.
func consumerName(id uuid.UUID) string { return "sub-" + id.String() }

func (a *api) answerOf(c echo.Context, s *Subscription) subscriptionAnswer {
	v := subscriptionAnswer{
		ID: s.ID, Name: s.Name, Transport: s.Transport, Status: s.Status, Reason: s.Reason, Types: s.Filter.Types,
		BusinessTypes: s.Filter.BusinessTypes, Position: s.Position, Lag: max(a.live.tip.Position()-s.Position, 0), Version: s.Version,
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
	if s.IncludeOrder {
		v.Include = includeName
	}
	if s.Transport == TransportNATS {
		v.NATS = &natsAddress{Stream: stream.Name, Consumer: consumerName(s.ID), Inbox: InboxPrefix(askedBy(c))}
	}
	v.WebhookView = ofSettings(s)
	return v
}

// askerKey is under which a request's context keeps the id of the client that asks.
const askerKey = "asker"

func asks(c echo.Context, who auth.Identity) { c.Set(askerKey, who.ClientID) }

func askedBy(c echo.Context) string {
	id, _ := c.Get(askerKey).(string) // set by every route here
	return id
}

func (a *api) answer(c echo.Context, status int, s *Subscription) error {
	v := a.answerOf(c, s)
	if err := a.describe(c.Request().Context(), s, &v); err != nil {
		return err
	}
	return a.answerWith(c, status, s, &v)
}

func (a *api) answerWith(c echo.Context, status int, s *Subscription, v *subscriptionAnswer) error {
	c.Response().Header().Set("ETag", httpapi.ETag(s.Version, ""))
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(status, v)
}

func (a *api) createSubscription(c echo.Context, who auth.Identity) error {
	asks(c, who)
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	s := &Subscription{
		ID: id, Owner: OwnerOf(who), ClientID: who.ClientID, Name: id.String(), Status: SubscriptionActive, Version: 1,
		Filter: Filter{Types: []string{}, BusinessTypes: []string{}}, Settings: []byte("{}"),
	}
	q, err := readSubscription(body, s, true)
	if err != nil {
		return err
	}
	if !mayHear(who) {
		return fault.New(fault.Forbidden, "the token names no party")
	}
	if !q.started {
		q.start = start{now: true}
	}
	// Now is where the log is: what is committed already is not told, though the read side may not have it yet.
	if s.Position, err = q.start.resolve(c.Request().Context(), a.log); err != nil {
		return err
	}
	s.CreatedAt = a.now().Truncate(time.Microsecond)
	s.UpdatedAt = s.CreatedAt
	location := "/v1/subscriptions/" + s.ID.String()
	if s.Transport == TransportWebhook {
		return a.createWebhook(c, s, q, location)
	}
	if err := a.store.Create(c.Request().Context(), s, nil); err != nil {
		return err
	}
	c.Response().Header().Set("Location", location)
	return a.answer(c, http.StatusCreated, s)
}

// listCursor is where a list of subscriptions goes on.
type listCursor struct {
	After uuid.UUID `json:"after"`
}

const subscriptionList = "subscriptions"

func (o Owner) cursorOwner() string {
	return string(o.Kind) + " " + o.Tenant + " " + o.Provider + " " + o.System
}

func (a *api) listSubscriptions(c echo.Context, who auth.Identity) error {
	asks(c, who)
	limit, err := httpapi.LimitParam(c, listDefault, listMost)
	if err != nil {
		return err
	}
	owner := OwnerOf(who)
	var from listCursor
	if sealed := c.QueryParam("cursor"); sealed != "" {
		if err := a.cursor.Open(subscriptionList, owner.cursorOwner(), sealed, &from); err != nil {
			return err
		}
	}
	all, err := a.store.List(c.Request().Context(), owner, from.After, limit+1)
	if err != nil {
		return err
	}
	page := struct {
		Items []subscriptionAnswer `json:"items"`
		Next  string               `json:"next,omitempty"`
	}{Items: []subscriptionAnswer{}}
	if len(all) > limit {
		all = all[:limit]
		page.Next = a.cursor.Seal(subscriptionList, owner.cursorOwner(), listCursor{After: all[limit-1].ID})
	}
	for i := range all {
		page.Items = append(page.Items, a.answerOf(c, &all[i]))
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, page)
}

// ofSubscription finds the party's subscription that the path names.
func (a *api) ofSubscription(do func(c echo.Context, s *Subscription) error) httpapi.Handler {
	return func(c echo.Context, who auth.Identity) error {
		asks(c, who)
		id, err := httpapi.UUIDParam(c, "id")
		if err != nil {
			return err
		}
		s, err := a.store.Get(c.Request().Context(), OwnerOf(who), id)
		if err != nil {
			return err
		}
		return do(c, s)
	}
}

func (a *api) getSubscription(c echo.Context, s *Subscription) error {
	return a.answer(c, http.StatusOK, s)
}

// patchSubscription changes what a party may change, by JSON merge patch. If-Match is honoured; without it the change is made to the
// version that was just read.
func (a *api) patchSubscription(c echo.Context, s *Subscription) error {
	version, given, err := httpapi.IfMatch(c)
	if err != nil {
		return err
	}
	if given && version != httpapi.AnyVersion && version != s.Version {
		return fault.New(fault.VersionMismatch, "the subscription is at version %d", s.Version)
	}
	body, err := httpapi.ReadMergePatch(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	q, err := readSubscription(body, s, false)
	if err != nil {
		return err
	}
	if err := a.checkTarget(c.Request().Context(), s, q); err != nil {
		return err
	}
	if err := a.store.Update(c.Request().Context(), s, a.now()); err != nil {
		return err
	}
	return a.again(c, s)
}

// again answers with the subscription as it is after a change.
func (a *api) again(c echo.Context, s *Subscription) error {
	a.changed()
	now, err := a.store.Get(c.Request().Context(), s.Owner, s.ID)
	if err != nil {
		return err
	}
	return a.answer(c, http.StatusOK, now)
}

func (a *api) deleteSubscription(c echo.Context, s *Subscription) error {
	if err := a.store.Delete(c.Request().Context(), s.Owner, s.ID); err != nil {
		return err
	}
	a.changed()
	return c.NoContent(http.StatusNoContent)
}

func (a *api) pauseSubscription(c echo.Context, s *Subscription) error {
	if s.Status == SubscriptionDisabled {
		return fault.New(fault.Conflict, "the subscription is disabled: %s", s.Reason)
	}
	if err := a.store.SetStatus(c.Request().Context(), s.Owner, s.ID, SubscriptionPaused, "", a.now()); err != nil {
		return err
	}
	return a.again(c, s)
}

// resumeSubscription goes on where a paused or disabled subscription stopped.
func (a *api) resumeSubscription(c echo.Context, s *Subscription) error {
	if err := a.forgive(c.Request().Context(), s); err != nil {
		return err
	}
	if err := a.store.SetStatus(c.Request().Context(), s.Owner, s.ID, SubscriptionActive, "", a.now()); err != nil {
		return err
	}
	return a.again(c, s)
}

// seekSubscription moves a subscription to where a new one would begin.
func (a *api) seekSubscription(c echo.Context, s *Subscription) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	to, err := readSeek(body)
	if err != nil {
		return err
	}
	position, err := to.resolve(c.Request().Context(), a.log)
	if err != nil {
		return err
	}
	if err := a.store.Seek(c.Request().Context(), s.ID, position, a.now()); err != nil {
		return err
	}
	return a.again(c, s)
}

// ackSubscription stores how far a party that reads by itself is. If-Match is honoured.
func (a *api) ackSubscription(c echo.Context, s *Subscription) error {
	if s.Transport == TransportWebhook {
		return fault.New(fault.Conflict, "a webhook acknowledges by its answer")
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	position, err := readAck(body)
	if err != nil {
		return err
	}
	head, err := start{now: true}.resolve(c.Request().Context(), a.log)
	if err != nil {
		return err
	}
	if position > head {
		return fault.InvalidFields([]fault.Field{{Pointer: "/position", Detail: "is beyond the end of the log"}})
	}
	version, given, err := httpapi.IfMatch(c)
	if err != nil {
		return err
	}
	if given && version != httpapi.AnyVersion {
		err = a.store.AckVersion(c.Request().Context(), s.ID, position, version, a.now())
	} else {
		err = a.store.Ack(c.Request().Context(), s.ID, position, a.now())
	}
	if err != nil {
		return err
	}
	return a.again(c, s)
}
