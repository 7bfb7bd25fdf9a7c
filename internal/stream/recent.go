package stream

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// recentLimit is how many records Recent keeps, and recentBytes how large their bodies are together; up to twice that for a time.
const (
	recentLimit = 8192
	recentBytes = 16 << 20
)

// Recent keeps the last records that this process appended to the log, so that the relay beside it need not read them from the
// database again. Its zero value is empty.
type Recent struct {
	mu      sync.Mutex
	records []Record
	bytes   int
	changed chan struct{} // nil while nobody asked

	appending atomic.Bool
}

// Appending says that this process is about to add records that are on their way into the log, or already in it: whoever finds them
// there first would only read what comes for nothing in a moment.
func (r *Recent) Appending() bool { return r.appending.Load() }

// SetAppending is told before a commit and after it, whatever came of it.
func (r *Recent) SetAppending(yes bool) { r.appending.Store(yes) }

// Add takes over records that are committed, in order. Those that do not follow what is kept replace it.
func (r *Recent) Add(records []Record) {
	if len(records) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.records); n > 0 && r.records[n-1].Position+1 != records[0].Position {
		r.records, r.bytes = nil, 0
	}
	r.records = append(r.records, records...)
	for i := range records {
		r.bytes += len(records[i].Body)
	}
	r.trim()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Changed returns a channel that is closed when records are added. Take it before looking for them.
func (r *Recent) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// trim drops the oldest records once twice as many are kept as need be, so that what stays is moved seldom.
func (r *Recent) trim() {
	if len(r.records) <= 2*recentLimit && r.bytes <= 2*recentBytes {
		return
	}
	drop := 0
	for len(r.records)-drop > recentLimit || r.bytes > recentBytes && drop < len(r.records) {
		r.bytes -= len(r.records[drop].Body)
		drop++
	}
	kept := copy(r.records, r.records[drop:])
	clear(r.records[kept:])
	r.records = r.records[:kept]
}

// After gives up to limit records that follow a position, and none where it does not have the very next one.
func (r *Recent) After(position int64, limit int) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 {
		return nil
	}
	from := position + 1 - r.records[0].Position
	if from < 0 || from >= int64(len(r.records)) {
		return nil
	}
	found := r.records[from:min(from+int64(limit), int64(len(r.records)))]
	return append([]Record(nil), found...)
}

// Following gives up to limit records that chain on to a position and its digest, and none where it cannot tell.
func (r *Recent) Following(position int64, digest [32]byte, limit int) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 {
		return nil
	}
	from := position + 1 - r.records[0].Position
	if from < 0 || from >= int64(len(r.records)) {
		return nil
	}
	if from > 0 && r.records[from-1].Digest != digest || from == 0 && !r.records[0].follows(position, digest) {
		return nil
	}
	return append([]Record(nil), r.records[from:min(from+int64(limit), int64(len(r.records)))]...)
}

// Recognise gives the record that this process appended at a position, if the one that was read there is the same, byte for byte, and
// follows the same digest: then it needs neither its digest computed nor its body read.
func (r *Recent) Recognise(read *Record, previous [32]byte) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 {
		return Record{}, false
	}
	at := read.Position - r.records[0].Position
	if at < 1 || at >= int64(len(r.records)) {
		return Record{}, false
	}
	known := &r.records[at]
	if r.records[at-1].Digest != previous || known.Digest != read.Digest || !bytes.Equal(known.Body, read.Body) {
		return Record{}, false
	}
	return *known, true
}
