package history

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// DigestOf is of all that a notice says: the same event told by any transport has the same.
func DigestOf(position int64, eventType, order string, version int64, tenant, businessType, provider, task, at string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		strconv.FormatInt(position, 10), eventType, order, strconv.FormatInt(version, 10), tenant, businessType, provider, task, at,
	}, "\n")))
	return hex.EncodeToString(sum[:16])
}

// Receipts is what one party has received. Each is on disk before the party says that it has it, and so is its position.
type Receipts struct {
	file *os.File
	at   int64
	seen map[int64]struct{}
}

// receiptsDir is the folder of all parties' receipts, in the run's.
const receiptsDir = "receipts"

// OpenReceipts opens a party's receipts, to go on where it was.
func OpenReceipts(dir, party string) (*Receipts, error) {
	dir = filepath.Join(dir, receiptsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make receipts folder: %w", err)
	}
	name := filepath.Join(dir, party+".jsonl")
	r := &Receipts{seen: map[int64]struct{}{}}
	if _, err := os.Stat(name); err == nil {
		err := Lines(name, func(had *Receipt) {
			r.at = max(r.at, had.Position)
			r.seen[had.Position] = struct{}{}
		})
		if err != nil {
			return nil, err
		}
	}
	var err error
	if r.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil { //nolint:gosec // the run's own folder
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	return r, nil
}

// Position is the highest that was received.
func (r *Receipts) Position() int64 { return r.at }

// Len is how many events were received.
func (r *Receipts) Len() int { return len(r.seen) }

// Has says whether the event was received before.
func (r *Receipts) Has(position int64) bool {
	_, has := r.seen[position]
	return has
}

// Keep appends a receipt. It says whether the event came before, and is not concurrent with itself.
func (r *Receipts) Keep(got *Receipt) (before bool, err error) {
	got.Before = r.Has(got.Position)
	line, err := json.Marshal(got)
	if err != nil {
		return false, fmt.Errorf("encode receipt: %w", err)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return false, fmt.Errorf("keep receipt: %w", err)
	}
	r.seen[got.Position] = struct{}{}
	r.at = max(r.at, got.Position)
	return got.Before, nil
}

// Close closes the file.
func (r *Receipts) Close() error { return r.file.Close() }

// AllReceipts gives the receipts of every party in a run's folder, in the order they came.
func AllReceipts(dir string) (map[string][]Receipt, error) {
	files, err := filepath.Glob(filepath.Join(dir, receiptsDir, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("find receipts: %w", err)
	}
	all := map[string][]Receipt{}
	for _, name := range files {
		party := strings.TrimSuffix(filepath.Base(name), ".jsonl")
		err := Lines(name, func(got *Receipt) { all[party] = append(all[party], *got) })
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Forget drops the last receipts, as a party has that was restored from an older copy. It says how many, and which position was the lowest of
// them: they need not have come in order.
func (r *Receipts) Forget(last int) (forgotten int, lowest int64, err error) {
	name := r.file.Name()
	var kept []byte
	var all [][]byte
	err = Lines(name, func(line *json.RawMessage) { all = append(all, append([]byte(*line), '\n')) })
	if err != nil {
		return 0, 0, err
	}
	left := max(0, len(all)-last)
	r.at, r.seen = 0, map[int64]struct{}{}
	for _, line := range all[:left] {
		kept = append(kept, line...)
		var had Receipt
		if err := json.Unmarshal(line, &had); err != nil {
			return 0, 0, fmt.Errorf("decode receipt: %w", err)
		}
		r.at = max(r.at, had.Position)
		r.seen[had.Position] = struct{}{}
	}
	for _, line := range all[left:] {
		var had Receipt
		if err := json.Unmarshal(line, &had); err != nil {
			return 0, 0, fmt.Errorf("decode receipt: %w", err)
		}
		if lowest == 0 || had.Position < lowest {
			lowest = had.Position
		}
	}
	if err := os.WriteFile(name+".old", kept, 0o600); err != nil {
		return 0, 0, fmt.Errorf("write receipts: %w", err)
	}
	if err := os.Rename(name+".old", name); err != nil {
		return 0, 0, fmt.Errorf("replace receipts: %w", err)
	}
	_ = r.file.Close()                                                               // of what was replaced
	if r.file, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0o600); err != nil { //nolint:gosec // the run's own folder
		return 0, 0, fmt.Errorf("open receipts: %w", err)
	}
	return len(all) - left, lowest, nil
}
