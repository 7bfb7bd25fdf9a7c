//go:build !linux

package load

import (
	"context"
	"time"
)

func precise() func() { return func() {} }

func pause(ctx context.Context, wait time.Duration) { pauseOnTimer(ctx, wait) }
