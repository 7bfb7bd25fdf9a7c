package cluster

import (
	"sync"
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

// typeMeter is the toxic that changes nothing and counts. toxiproxy's own counters know of a connection's bytes only once it has ended.
const typeMeter = "meter"

// meters are the counts of all links of this process. Toxics are made by their library from JSON, so that a number has to lead to them.
var meters struct { //nolint:gochecknoglobals // as said
	sync.Mutex

	once sync.Once
	all  []*atomic.Int64
}

func registerMeter() {
	meters.once.Do(func() { toxics.Register(typeMeter, new(meter)) })
}

func newMeter() int {
	meters.Lock()
	defer meters.Unlock()
	meters.all = append(meters.all, new(atomic.Int64))
	return len(meters.all) - 1
}

func meterOf(number int) *atomic.Int64 {
	meters.Lock()
	defer meters.Unlock()
	return meters.all[number]
}

func metered(number int) int64 { return meterOf(number).Load() }

type meter struct {
	Number int `json:"number"`
}

// Pipe implements toxics.Toxic.
func (m *meter) Pipe(stub *toxics.ToxicStub) {
	count := meterOf(m.Number)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			count.Add(int64(len(c.Data)))
			stub.Output <- c
		}
	}
}
