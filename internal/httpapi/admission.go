package httpapi

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/limits"
)

// Class says what a busy node gives up first: exports, then lists, then other reads, then writes, and the submission of orders last.
// Exports, batches and streams last long, so they are counted each for themselves.
type Class uint8

// The classes of routes.
const (
	ClassByMethod Class = iota // ClassRead for GET and HEAD, ClassFree for public routes, ClassWrite for others
	ClassExport                // whole lists in one answer
	ClassList                  // pages of lists, searches
	ClassRead                  // reads of one thing
	ClassWrite                 // what providers, auxiliary systems and operators write
	ClassSubmit                // orders
	ClassBatch                 // streams of orders
	ClassStream                // event streams and long polls
	ClassFree                  // never refused: health, tokens
	classes
)

// String names the class in metrics.
func (c Class) String() string {
	switch c {
	case ClassExport:
		return "export"
	case ClassList:
		return "list"
	case ClassRead:
		return "read"
	case ClassWrite:
		return "write"
	case ClassSubmit:
		return "submit"
	case ClassBatch:
		return "batch"
	case ClassStream:
		return "stream"
	case ClassFree:
		return "free"
	}
	return "by method"
}

// Classes are all that can be refused.
func Classes() []Class {
	return []Class{ClassExport, ClassList, ClassRead, ClassWrite, ClassSubmit, ClassBatch, ClassStream}
}

const (
	shortUnderWay = 4096     // requests of the four short classes together
	bodyBytes     = 64 << 20 // bytes of request bodies in memory, all together
	busyAfter     = 2 * time.Second
	fullAfter     = time.Second
)

// allowance is how much of a node one class may take.
type allowance struct {
	most  int64   // requests under way
	share float64 // of what is for all: it is refused when the node is busier than this
	short bool    // counts among the short ones
	yield bool    // does not count among them, and is refused for them all the same
}

// allowanceOf is the order of shedding.
func allowanceOf(c Class) allowance {
	switch c {
	case ClassExport:
		return allowance{most: 4, share: 0.125, yield: true}
	case ClassList:
		return allowance{most: 128, share: 0.25, short: true}
	case ClassRead:
		return allowance{most: 2048, share: 0.5, short: true}
	case ClassWrite:
		return allowance{most: 2048, share: 0.75, short: true}
	case ClassSubmit:
		return allowance{most: shortUnderWay, share: 1, short: true}
	case ClassBatch:
		return allowance{most: 64, share: 1}
	default:
		return allowance{most: 8192, share: 1}
	}
}

// AdmissionConfig says what an admission goes by.
type AdmissionConfig struct {
	// Pressure is how busy the node's writes are: 0 idle, 1 at the limit. Nil: only requests under way count.
	Pressure func() float64
	// Refused is told the class of each request that was refused for overload, here or by a handler; nil: nobody is.
	Refused func(Class)
	// Limiter counts what each caller asks for; nil: nobody does.
	Limiter *limits.Limiter
}

// Admission refuses requests with 503 and Retry-After before a node's memory or its answers' time run away. It counts, and
// takes no lock.
type Admission struct {
	cfg      AdmissionConfig
	compress compressor
	underWay [classes]atomic.Int64
	short    atomic.Int64
	bytes    atomic.Int64
}

// NewAdmission makes an admission of one node.
func NewAdmission(cfg AdmissionConfig) *Admission {
	return &Admission{cfg: cfg, compress: newCompressor()}
}

// UnderWay is how many requests of a class are being answered.
func (a *Admission) UnderWay(c Class) int64 { return a.underWay[c].Load() }

// class resolves ClassByMethod.
func (r Route) class() Class {
	switch {
	case r.Class != ClassByMethod:
		return r.Class
	case r.Public:
		return ClassFree
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return ClassRead
	}
	return ClassWrite
}

// admit lets a request of a class in and answers it, or refuses it before it costs anything.
func (a *Admission) admit(c echo.Context, class Class, answer func(echo.Context) error) error {
	if class == ClassFree {
		return answer(c)
	}
	allowed, req := allowanceOf(class), c.Request()
	var body *meteredBody // nil: the request has none
	if req.ContentLength != 0 {
		body = &meteredBody{admission: a, share: allowed.share}
		whole := class != ClassBatch || len(req.Header[HeaderSignature]) > 0
		if whole && req.ContentLength < 0 { // a batch bounds its lines itself, but for one that is signed
			body.ReadCloser, req.Body = req.Body, body
		}
	}
	defer a.leave(class, allowed.short, body)
	if err := a.enter(class, allowed); err != nil {
		a.refused(class)
		return err
	}
	err := body.grow(max(req.ContentLength, 0))
	if err == nil {
		err = answer(c)
	}
	if err != nil && fault.CodeOf(err) == fault.Overloaded {
		a.refused(class)
	}
	return err
}

// enter counts the request in, whether it is let in or not.
func (a *Admission) enter(class Class, allowed allowance) error {
	under := a.underWay[class].Add(1)
	short := a.short.Load()
	if allowed.short {
		short = a.short.Add(1)
	}
	if allowed.short || allowed.yield {
		if float64(short) > allowed.share*shortUnderWay {
			return overloaded(fullAfter)
		}
		if a.cfg.Pressure != nil && a.cfg.Pressure() > allowed.share {
			return overloaded(busyAfter)
		}
	}
	if under > allowed.most {
		return overloaded(fullAfter)
	}
	return nil
}

func (a *Admission) leave(class Class, short bool, body *meteredBody) {
	a.underWay[class].Add(-1)
	if short {
		a.short.Add(-1)
	}
	if body != nil && body.size > 0 {
		a.bytes.Add(-body.size)
	}
}

func (a *Admission) refused(class Class) {
	if a.cfg.Refused != nil {
		a.cfg.Refused(class)
	}
}

func overloaded(after time.Duration) error {
	return fault.New(fault.Overloaded, "this node is busy with other requests").Retry(after)
}

// meteredBody counts the bytes of a request's body among all that are in memory. One that says its length is counted at once, others
// as they are read.
type meteredBody struct {
	io.ReadCloser
	admission *Admission
	share     float64
	size      int64
}

// Read counts what it reads, and ends with a *fault.Error when there is no room for more.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if full := b.grow(int64(n)); full != nil {
		return n, full
	}
	return n, err
}

func (b *meteredBody) grow(by int64) error {
	if by == 0 {
		return nil
	}
	b.size += by
	if float64(b.admission.bytes.Add(by)) > b.share*bodyBytes {
		return overloaded(fullAfter)
	}
	return nil
}
