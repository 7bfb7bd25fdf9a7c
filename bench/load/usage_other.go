//go:build !linux

package load

// Meter measures nothing on this system.
type Meter struct{}

// StartMeter begins to measure nothing.
func StartMeter(_, _ int) (*Meter, error) { return &Meter{}, nil }

// Stop gives no usage.
func (*Meter) Stop() (*Usage, error) { return nil, nil } //nolint:nilnil // there is none, and that is no fault

// Host gives nothing on this system.
func Host() [][2]string { return nil }

// Resident is not known.
func (*Meter) Resident() (int64, error) { return 0, nil }
