package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// All gives all operations of a folder in the order of their ids. One that was sent and has no answer is unknown.
func All(dir string) ([]Op, error) {
	files, err := filepath.Glob(filepath.Join(dir, "history-*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("find history: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no history in %s", dir)
	}
	slices.Sort(files)
	var all []Op
	texts := interned{}
	for _, name := range files {
		at := map[int64]int{}
		err := Lines(name, func(op *Op) {
			texts.of(op)
			if i, sent := at[op.ID]; sent {
				all[i] = *op
				return
			}
			at[op.ID] = len(all)
			all = append(all, *op)
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range all {
		if all[i].Outcome == "" {
			all[i].Outcome = Unknown
		}
	}
	return all, nil
}

// interned keeps one copy of each text: ids, tenants and statuses come again and again.
type interned map[string]string

func (t interned) one(s *string) {
	if had, ok := t[*s]; ok {
		*s = had
		return
	}
	t[*s] = *s
}

func (t interned) of(op *Op) {
	for _, s := range []*string{&op.Node, &op.Tenant, &op.Party, &op.Ref, &op.Order, &op.State, &op.Seen, &op.Problem} {
		t.one(s)
	}
	for i := range op.Items {
		item := &op.Items[i]
		t.one(&item.Order)
		t.one(&item.Tenant)
		t.one(&item.Status)
	}
}

// Lines reads a file of JSON lines. A last line that was cut off, because who wrote it was ended, is left out.
func Lines[T any](name string, each func(*T)) error {
	file, err := os.Open(name) //nolint:gosec // the run's own folder
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Base(name), err)
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReaderSize(file, 1<<18)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Base(name), err)
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("%s line %d: %w", filepath.Base(name), n, err)
		}
		each(&v)
	}
}
