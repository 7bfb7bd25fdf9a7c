// Package importer brings the orders of a file into the store, as a mapping says.
//
// The file is read twice. The first reading counts the rows of each order, so that the second knows when it has seen an
// order's last row, wherever in the file that is: rows of one order need not stand together. The counts take some 30 bytes an
// order. While an order's rows are being gathered they are held in memory; where more than MaxOpenRows have to be held, the
// import stops and says so, rather than take an order for whole that is not.
//
// Orders go to the store in batches, several under way at a time. What a cut connection left unanswered, and what the store had
// no room for, is sent again: the store knows an order by its channel and external_ref, so nothing is stored twice, also when
// the whole import is run again.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// Submitter takes orders.
type Submitter interface {
	SubmitBatch(ctx context.Context, orders iter.Seq[client.OrderSubmission]) iter.Seq2[client.BatchResult, error]
}

// Progress hears how far an import is. Its methods are called from one goroutine at a time.
type Progress interface {
	// Surveyed: so many bytes of the file have been read for the first time.
	Surveyed(bytes, total int64)
	// Imported: the orders within so many bytes of the file have their answers.
	Imported(bytes, total, orders int64)
	// Done is called once, at the end.
	Done()
}

// Config is one import. Zero numbers mean the defaults.
type Config struct {
	Path        string // "-" is standard input
	Mapping     *mapping.Mapping
	MappingName string
	Encoding    string    // instead of the mapping's
	Store       Submitter // nil: map only, submit nothing
	RejectFile  string    // where what is refused goes
	BatchSize   int       // orders in a batch
	Parallel    int       // batches under way
	MaxOpenRows int       // rows held for orders whose last row has not come yet
	Patience    time.Duration
	Progress    Progress
	Now         func() time.Time
	Wait        func(context.Context, time.Duration) error
	Stdin       io.Reader
}

// The defaults of Config.
const (
	DefaultBatchSize   = 500
	DefaultParallel    = 4
	DefaultMaxOpenRows = 200_000
	DefaultPatience    = 5 * time.Minute
)

func (c *Config) defaults() {
	if c.BatchSize <= 0 {
		c.BatchSize = DefaultBatchSize
	}
	if c.Parallel <= 0 {
		c.Parallel = DefaultParallel
	}
	if c.MaxOpenRows <= 0 {
		c.MaxOpenRows = DefaultMaxOpenRows
	}
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	if c.Progress == nil {
		c.Progress = silent{}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type silent struct{}

func (silent) Surveyed(int64, int64)        {}
func (silent) Imported(int64, int64, int64) {}
func (silent) Done()                        {}

// Run imports a file. The summary tells what was done also when an error ended it; orders that were refused are no error.
func Run(ctx context.Context, c Config) (*Summary, error) {
	c.defaults()
	started := c.Now()
	summary := newSummary(&c)
	defer func() { summary.finish(c.Now().Sub(started)) }()
	defer c.Progress.Done()
	src, err := open(ctx, &c)
	if err != nil {
		return summary, err
	}
	defer src.close()
	summary.Encoding = src.encoding.String()
	counts, err := src.survey(ctx, &c)
	if err != nil {
		return summary, err
	}
	rejects, err := createRejects(c.RejectFile)
	if err != nil {
		return summary, err
	}
	r := &run{Config: c, source: src, summary: summary, rejects: rejects}
	err = r.all(ctx, counts)
	summary.RejectFile = rejects.path(summary.Rejected)
	return summary, errors.Join(err, rejects.close())
}

// source is the file.
type source struct {
	file     *os.File
	size     int64
	spooled  bool // the file is a copy of a stream, and goes when it is closed
	encoding rows.Encoding
	format   rows.Format
	read     atomic.Int64 // bytes
}

func open(ctx context.Context, c *Config) (*source, error) {
	s := &source{format: c.Mapping.Table()}
	if err := s.openFile(ctx, c); err != nil {
		return nil, err
	}
	name := c.Encoding
	if name == "" {
		name = c.Mapping.Encoding
	}
	var err error
	if name == "" || name == "auto" {
		s.encoding, err = rows.DetectEncoding(s.file)
	} else {
		s.encoding, err = rows.NamedEncoding(name)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w: name it with encoding: in the mapping, or with --encoding", c.Path, err)
	}
	return s, nil
}

// openFile opens the file, or a copy of what can be read only once.
func (s *source) openFile(ctx context.Context, c *Config) error {
	in := c.Stdin
	if c.Path != "-" {
		file, err := os.Open(c.Path)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		info, err := file.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a folder", c.Path)
		}
		if err != nil {
			_ = file.Close()
			return fmt.Errorf("open: %w", err)
		}
		if info.Mode().IsRegular() {
			s.file, s.size = file, info.Size()
			return nil
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	if in == nil {
		return errors.New("open: there is no standard input")
	}
	spool, err := os.CreateTemp("", "orderctl-import-*")
	if err != nil {
		return fmt.Errorf("keep standard input: %w", err)
	}
	s.file, s.spooled = spool, true
	s.size, err = io.Copy(spool, &interruptible{ctx, in})
	if err != nil {
		s.close()
		return fmt.Errorf("keep standard input: %w", err)
	}
	return nil
}

func (s *source) close() {
	_ = s.file.Close()
	if s.spooled {
		_ = os.Remove(s.file.Name())
	}
}

// rows reads the file from its beginning.
func (s *source) rows(ctx context.Context) (iter.Seq2[rows.Row, error], error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read again: %w", err)
	}
	s.read.Store(0)
	return rows.Read(&counted{&interruptible{ctx, s.file}, &s.read}, s.encoding, s.format), nil
}

// interruptible ends a read loop with its context.
type interruptible struct {
	ctx context.Context //nolint:containedctx // it lives for one reading of the file, whose Read has no context
	r   io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n.Add(int64(n))
	return n, err
}
