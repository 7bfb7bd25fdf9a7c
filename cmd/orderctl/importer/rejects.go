package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// Reject is a line of the reject file.
type Reject struct {
	ExternalRef string `json:"external_ref,omitempty"`
	Reason      string `json:"reason"`
	// Problem is the store's; absent when the rows make no order at all.
	Problem *client.Problem `json:"problem,omitempty"`
	Rows    []rows.Row      `json:"rows"`
}

// rejects is the reject file. It is emptied when an import begins, and removed when nothing was refused.
type rejects struct {
	file *os.File // nil: nobody wants one
}

func createRejects(path string) (*rejects, error) {
	if path == "" {
		return &rejects{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // it holds customers' data
	if err != nil {
		return nil, fmt.Errorf("create reject file: %w", err)
	}
	return &rejects{file: file}, nil
}

func (r *rejects) write(i *item) error {
	if r.file == nil {
		return nil
	}
	reject := Reject{ExternalRef: i.order.ExternalRef, Problem: i.problem, Rows: i.group.rows}
	if i.fault != nil {
		reject.Reason = i.fault.Error()
	} else {
		reject.Reason = i.problem.Error()
	}
	line, err := json.Marshal(reject)
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write reject file: %w", err)
	}
	return nil
}

// path is where the refused orders are, if there are any.
func (r *rejects) path(refused int64) string {
	if r.file == nil || refused == 0 {
		return ""
	}
	return r.file.Name()
}

func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("close reject file: %w", err)
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close reject file: %w", err)
	}
	if info.Size() > 0 || !info.Mode().IsRegular() {
		return nil
	}
	if err := os.Remove(r.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove empty reject file: %w", err)
	}
	return nil
}
