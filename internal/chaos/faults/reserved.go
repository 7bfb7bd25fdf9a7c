package faults

import "sync"

// reserved are the processes and links that a fault has at the moment.
type reserved struct {
	mu    sync.Mutex
	taken map[string]bool
}

func (r *reserved) take(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[name] {
		return false
	}
	r.taken[name] = true
	return true
}

func (r *reserved) takeAll(names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if r.taken[name] {
			return false
		}
	}
	for _, name := range names {
		r.taken[name] = true
	}
	return true
}

func (r *reserved) giveAll(names []string) {
	for _, name := range names {
		r.give(name)
	}
}

func (r *reserved) give(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, name)
}
