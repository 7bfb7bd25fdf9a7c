package load

import (
	"fmt"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Host gives what is known of the machine, as names and values.
func Host() [][2]string {
	var facts [][2]string
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		facts = append(facts, [2]string{"kernel", unix.ByteSliceToString(name.Release[:])})
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return facts
	}
	if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 && cpus[0].ModelName != "" {
		facts = append(facts, [2]string{"model", cpus[0].ModelName})
	}
	if memory, err := fs.Meminfo(); err == nil && memory.MemTotal != nil {
		facts = append(facts, [2]string{"memory", fmt.Sprintf("%d MiB", *memory.MemTotal>>10)})
	}
	return facts
}
