package load

import (
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/procfs"
)

// Meter reads what processes use.
type Meter struct {
	fs                  procfs.FS
	service, postmaster int
	begin               reading
}

type reading struct {
	service, postgres, generator float64
	host                         procfs.CPUStat
}

// StartMeter begins to measure a service, the server of the Postgres it stands on, and this process. A process id of 0 is left out.
func StartMeter(service, postmaster int) (*Meter, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	m := &Meter{fs: fs, service: service, postmaster: postmaster}
	if service > 0 {
		// Sets the peak back to what is resident now. Where it is not allowed, the peak is the process's own since its start.
		_ = os.WriteFile("/proc/"+strconv.Itoa(service)+"/clear_refs", []byte("5"), 0)
	}
	m.begin, err = m.read()
	return m, err
}

// Stop gives what was used since StartMeter. The meter may be asked again later.
func (m *Meter) Stop() (*Usage, error) {
	end, err := m.read()
	if err != nil {
		return nil, err
	}
	u := &Usage{
		Service: end.service - m.begin.service, Postgres: end.postgres - m.begin.postgres, Generator: end.generator - m.begin.generator,
	}
	if all := total(end.host) - total(m.begin.host); all > 0 {
		u.Steal = (end.host.Steal - m.begin.host.Steal) / all
		// The kernel's idle time may go back a little.
		u.Idle = max(end.host.Idle+end.host.Iowait-m.begin.host.Idle-m.begin.host.Iowait, 0) / all
	}
	u.PeakMemory, err = m.peak()
	return u, err
}

func total(c procfs.CPUStat) float64 {
	return c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal
}

func (m *Meter) peak() (int64, error) {
	if m.service == 0 {
		return 0, nil
	}
	proc, err := m.fs.Proc(m.service)
	if err != nil {
		return 0, fmt.Errorf("read the service's memory: %w", err)
	}
	status, err := proc.NewStatus()
	if err != nil {
		return 0, fmt.Errorf("read the service's memory: %w", err)
	}
	return int64(status.VmHWM), nil //nolint:gosec // bytes of memory
}

// Resident is how much memory the service has now, in bytes.
func (m *Meter) Resident() (int64, error) {
	proc, err := m.fs.Proc(m.service)
	if err != nil {
		return 0, fmt.Errorf("read the service's memory: %w", err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return 0, fmt.Errorf("read the service's memory: %w", err)
	}
	return int64(stat.ResidentMemory()), nil
}

func (m *Meter) read() (reading, error) {
	var r reading
	var err error
	if r.generator, err = m.seconds(os.Getpid()); err != nil {
		return r, err
	}
	if m.service > 0 {
		if r.service, err = m.seconds(m.service); err != nil {
			return r, err
		}
	}
	if m.postmaster > 0 {
		if r.postgres, err = m.family(m.postmaster); err != nil {
			return r, err
		}
	}
	host, err := m.fs.Stat()
	if err != nil {
		return r, fmt.Errorf("read the host's processor time: %w", err)
	}
	r.host = host.CPUTotal
	return r, nil
}

func (m *Meter) seconds(pid int) (float64, error) {
	proc, err := m.fs.Proc(pid)
	if err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	return stat.CPUTime(), nil
}

// ticks is how many units a second has in /proc, on every system that Go runs on.
const ticks = 100

// family is the time of a process, of its children that live, and of those that have ended.
func (m *Meter) family(pid int) (float64, error) {
	all, err := m.fs.AllProcs()
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	var sum float64
	for _, proc := range all {
		stat, err := proc.Stat()
		if err != nil {
			continue // it has ended meanwhile, and counts among its parent's ended children
		}
		switch {
		case stat.PID == pid:
			sum += stat.CPUTime() + float64(stat.CUTime+stat.CSTime)/ticks
		case stat.PPID == pid:
			sum += stat.CPUTime()
		}
	}
	return sum, nil
}
