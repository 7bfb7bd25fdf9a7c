package check

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// What was read of a cluster lies in this folder of a run's: a file for each copy, JSON lines, compressed.
const (
	savedDir  = "collected"
	savedMeta = "copies.json"
	logFile   = "log"
)

// Copy is one copy of what the store knows, and how it was read.
type Copy struct {
	File string `json:"file"` // in the folder; empty: it could not be read
	Kind string `json:"kind"` // see the kinds below
	Name string `json:"name"` // "standby 1", "stream nats-2", "view read-1", …
	// Position is how far it was when it was read, and Within how long it took until it was where the log was when the checker came, in
	// milliseconds; -1: it did not get there.
	Position int64  `json:"position"`
	Within   int64  `json:"within"`
	Rows     int64  `json:"rows"`
	Trouble  string `json:"trouble,omitempty"`
}

// The kinds of copies.
const (
	kindStandby = "standby" // link
	kindStream  = "stream"  // link
	kindTime    = "timeline"
	kindOrders  = "orders"     // of the write side: order
	kindView    = "order_view" // order
	kindTasks   = "task_inbox" // task
	kindHTTP    = "http"       // listed
	kindStock   = "stock"
	kindRecords = "records"
)

// meta says what was collected.
type meta struct {
	Head   int64  `json:"head"`
	Digest string `json:"digest"` // as log_head has it
	Copies []Copy `json:"copies"`
}

// row is a row of the log.
type row struct {
	Position int64  `json:"p"`
	Subject  string `json:"s"`
	Digest   string `json:"d"`
	Body     []byte `json:"b"`
}

// link is a row of a copy of the log: the body is told by its SHA-256.
type link struct {
	Position int64  `json:"p"`
	Subject  string `json:"s,omitempty"`
	Digest   string `json:"d,omitempty"`
	Sum      string `json:"h"`
	Tenant   string `json:"t,omitempty"`        // of the timeline
	Provider string `json:"provider,omitempty"` // likewise
}

// order is an order as a copy has it, as far as it can be told from the log.
type order struct {
	ID          string `json:"id"`
	Tenant      string `json:"tenant"`
	Ref         string `json:"ref"` // channel/external_ref
	Status      string `json:"status"`
	Fulfillment string `json:"fulfillment"`
	Total       int64  `json:"total"`
	Version     int64  `json:"version"`
	Position    int64  `json:"position"`
	Quantities  string `json:"quantities"`         // see quantities
	Customer    string `json:"customer,omitempty"` // as it is sealed; not over HTTP
	Results     int    `json:"results"`
}

// task is a row of the providers' inboxes.
type task struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Tenant   string `json:"tenant"`
	Order    string `json:"order"`
	Status   string `json:"status"`
	Position int64  `json:"position"`
}

// listedOrder is an order as a read node answers it in a list.
type listedOrder struct {
	order
	For  string `json:"for"` // the tenant who asked
	AsOf int64  `json:"as_of"`
}

// item is a row of the stock.
type item struct {
	Tenant   string `json:"tenant"`
	SKU      string `json:"sku"`
	OnHand   int64  `json:"on_hand"`
	Reserved int64  `json:"reserved"`
	Sold     int64  `json:"sold"`
	Received int64  `json:"received"`
	OnOrder  int64  `json:"on_order"`
	Position int64  `json:"position"`
}

// record is what an auxiliary system stored.
type record struct {
	Order    string `json:"order"`
	System   string `json:"system"`
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	Revision int64  `json:"revision"`
}

// writer writes a file of rows.
type writer struct {
	file *os.File
	gz   *gzip.Writer
	out  *bufio.Writer
	enc  *json.Encoder
	rows int64
}

func createRows(dir, name string) (*writer, error) {
	file, err := os.OpenFile(filepath.Join(dir, savedDir, name+".jsonl.gz"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // the run's own folder
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	gz, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress %s: %w", name, err)
	}
	out := bufio.NewWriterSize(gz, 1<<18)
	return &writer{file: file, gz: gz, out: out, enc: json.NewEncoder(out)}, nil
}

func (w *writer) add(v any) error {
	w.rows++
	return w.enc.Encode(v)
}

func (w *writer) close() error {
	return errors.Join(w.out.Flush(), w.gz.Close(), w.file.Close())
}

// save writes the rows that fill gives.
func save(dir, name string, fill func(add func(any) error) error) (int64, error) {
	w, err := createRows(dir, name)
	if err != nil {
		return 0, err
	}
	err = fill(w.add)
	if closed := w.close(); err == nil && closed != nil {
		err = fmt.Errorf("write %s: %w", name, closed)
	}
	return w.rows, err
}

// load reads the rows of a file.
func load[T any](dir, name string, each func(*T) error) error {
	file, err := os.Open(filepath.Join(dir, savedDir, name+".jsonl.gz")) //nolint:gosec // the run's own folder
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	gz, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<16))
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	dec := json.NewDecoder(bufio.NewReaderSize(gz, 1<<18))
	for {
		var v T
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := each(&v); err != nil {
			return err
		}
	}
}

func saveMeta(dir string, m *meta) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode copies: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, savedDir, savedMeta), raw, 0o600); err != nil {
		return fmt.Errorf("keep copies: %w", err)
	}
	return nil
}

func loadMeta(dir string) (meta, error) {
	var m meta
	raw, err := os.ReadFile(filepath.Join(dir, savedDir, savedMeta)) //nolint:gosec // the run's own folder
	if err != nil {
		return m, fmt.Errorf("read copies: %w", err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("decode copies: %w", err)
	}
	return m, nil
}
