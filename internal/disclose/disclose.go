// Package disclose cuts stored documents down to what a provider may see of them: its own tasks, results and sync status, none of what came back, and of
// the routing of its tasks only what is about itself. Everything else stays as it is stored, member by member.
package disclose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is a member of a JSON object, as it is written.
type Member struct {
	Name  string
	Value []byte
}

// Members takes an object apart, in order. The values are parts of raw.
func Members(raw []byte) ([]Member, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, fmt.Errorf("not a JSON object: %w", orKind(err))
	}
	var members []Member
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("read member: %w", err)
		}
		m := Member{Name: name.String()}
		if m.Value, err = value(dec, raw); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// value reads a value and gives it as a part of raw.
func value(dec *jsontext.Decoder, raw []byte) ([]byte, error) {
	v, err := dec.ReadValue()
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	end := int(dec.InputOffset())
	return raw[end-len(v) : end : end], nil
}

// Elements takes an array apart. The values are parts of raw.
func Elements(raw []byte) ([][]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '[' {
		return nil, fmt.Errorf("not a JSON array: %w", orKind(err))
	}
	var elements [][]byte
	for dec.PeekKind() != ']' {
		v, err := value(dec, raw)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	return elements, nil
}

func orKind(err error) error {
	if err == nil {
		return fmt.Errorf("another kind of value")
	}
	return err
}

// Object puts members together.
func Object(members []Member) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := jsontext.AppendQuote(nil, m.Name) // of a name that was read, or is a constant
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.Value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Array puts elements together.
func Array(elements [][]byte) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, e := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// Order cuts an order document to what the provider may see. None of it may be shown when it has no task: then ok is false.
func Order(document []byte, provider string) (cut []byte, ok bool, err error) {
	members, err := Members(document)
	if err != nil {
		return nil, false, fmt.Errorf("order: %w", err)
	}
	members = slices.DeleteFunc(members, func(m Member) bool { return m.Name == "returns" }) // between the tenant and its customer
	for i := range members {
		m := &members[i]
		switch m.Name {
		case "tasks":
			var tasks [][]byte
			if tasks, err = ownTasks(m.Value, provider); err == nil {
				ok = len(tasks) > 0
				m.Value = Array(tasks)
			}
		case "results":
			m.Value, err = own(m.Value, func(e owner) bool { return e.Provider == provider })
		case "sync_status":
			m.Value, err = own(m.Value, func(e owner) bool { return e.Kind == "provider" && e.Party == provider })
		}
		if err != nil {
			return nil, false, fmt.Errorf("order %s: %w", m.Name, err)
		}
	}
	if !ok {
		return nil, false, nil
	}
	return Object(members), true, nil
}

// owner is whose an element is.
type owner struct {
	Provider string `json:"provider"`
	Party    string `json:"party"`
	Kind     string `json:"kind"`
}

func own(array []byte, keep func(owner) bool) ([]byte, error) {
	elements, err := Elements(array)
	if err != nil {
		return nil, err
	}
	var kept [][]byte
	for _, e := range elements {
		var o owner
		if err := json.Unmarshal(e, &o); err != nil {
			return nil, err
		}
		if keep(o) {
			kept = append(kept, e)
		}
	}
	return Array(kept), nil
}

func ownTasks(array []byte, provider string) ([][]byte, error) {
	elements, err := Elements(array)
	if err != nil {
		return nil, err
	}
	var tasks [][]byte
	for _, e := range elements {
		var o owner
		if err := json.Unmarshal(e, &o); err != nil {
			return nil, err
		}
		if o.Provider != provider {
			continue
		}
		task, err := Task(e, provider)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

// Task cuts one of the provider's own task documents, or the payload of an event that is addressed to it: of the candidates that
// were looked at it sees itself alone.
func Task(document []byte, provider string) ([]byte, error) {
	if !bytes.Contains(document, []byte(`"routing"`)) {
		return document, nil
	}
	members, err := Members(document)
	if err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	for i := range members {
		if members[i].Name != "routing" {
			continue
		}
		if members[i].Value, err = routing(members[i].Value, provider); err != nil {
			return nil, fmt.Errorf("task routing: %w", err)
		}
	}
	return Object(members), nil
}

func routing(document []byte, provider string) ([]byte, error) {
	members, err := Members(document)
	if err != nil {
		return nil, err
	}
	var others []string
	for i := range members {
		if members[i].Name != "candidates" || bytes.Equal(members[i].Value, []byte("null")) {
			continue
		}
		members[i].Value, err = own(members[i].Value, func(e owner) bool {
			if e.Provider != provider {
				others = append(others, e.Provider)
			}
			return e.Provider == provider
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range members {
		if members[i].Name == "why" && mentions(string(members[i].Value), others) {
			members[i].Value = []byte(`""`)
		}
	}
	return Object(members), nil
}

// mentions tells whether a sentence names somebody.
func mentions(why string, names []string) bool {
	for _, name := range names {
		if strings.Contains(why, name) {
			return true
		}
	}
	return false
}
