package command

import (
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// taskOf reads what all requests on a task have: its id, and the version they are meant for.
func taskOf(c echo.Context, who auth.Identity) (onTask, error) {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return onTask{}, err
	}
	version, _, err := httpapi.IfMatch(c)
	if err != nil {
		return onTask{}, err
	}
	return onTask{Provider: who.Provider, TaskID: id.String(), IfVersion: version, Traceparent: trace(c)}, nil
}

// readOptional reads a body that may be left out.
func readOptional(c echo.Context, decode func([]byte) error) ([]byte, error) {
	if c.Request().ContentLength == 0 {
		return nil, nil
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return nil, err
	}
	return body, decode(body)
}

func (a *api) acceptTask(c echo.Context, who auth.Identity) error {
	task, err := taskOf(c, who)
	if err != nil {
		return err
	}
	body, err := readOptional(c, decodeNothing)
	if err != nil {
		return err
	}
	return a.run(c, who, body, &AcceptTask{task})
}

// onTask reads a request on a task that has something to say, and submits what it asks for.
func (a *api) onTask(c echo.Context, who auth.Identity, read func(task onTask, body []byte) (Command, error)) error {
	task, err := taskOf(c, who)
	if err != nil {
		return err
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	command, err := read(task, body)
	if err != nil {
		return err
	}
	return a.run(c, who, body, command)
}

func (a *api) rejectTask(c echo.Context, who auth.Identity) error {
	return a.onTask(c, who, func(task onTask, body []byte) (Command, error) {
		rejection, err := decodeRejection(body)
		return &RejectTask{onTask: task, Rejection: rejection}, err
	})
}

func (a *api) postResult(c echo.Context, who auth.Identity) error {
	return a.onTask(c, who, func(task onTask, body []byte) (Command, error) {
		command := &PostResult{onTask: task}
		return command, decodeResult(body, command)
	})
}

func (a *api) holdTask(c echo.Context, who auth.Identity) error {
	return a.onTask(c, who, func(task onTask, body []byte) (Command, error) {
		held, err := decodeHold(body)
		return &HoldTask{onTask: task, Held: held}, err
	})
}

func (a *api) resumeTask(c echo.Context, who auth.Identity) error {
	task, err := taskOf(c, who)
	if err != nil {
		return err
	}
	body, err := readOptional(c, decodeNothing)
	if err != nil {
		return err
	}
	return a.run(c, who, body, &ResumeTask{task})
}

func (a *api) delegateTask(c echo.Context, who auth.Identity) error {
	return a.onTask(c, who, func(task onTask, body []byte) (Command, error) {
		command := &DelegateTask{onTask: task}
		return command, decodeDelegation(body, command)
	})
}
