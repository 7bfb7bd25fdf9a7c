package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/orderstore/orderstore/internal/postgres"
)

// worker is a part that runs until its context ends.
type worker interface {
	Name() string
	Run(ctx context.Context) error
}

// crew is workers that start and stop together. Each node stops its crews one after the other, so that what is upstream has
// nothing more to send when what is downstream stops.
type crew struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// start runs workers, whose work is on all tenants' rows; failed hears of one that ends before it was told to.
func start(ctx context.Context, failed chan<- error, workers ...worker) *crew {
	ctx, cancel := context.WithCancel(postgres.WithScope(context.WithoutCancel(ctx), postgres.Everything()))
	c := &crew{cancel: cancel}
	for _, w := range workers {
		c.done.Go(func() {
			err := w.Run(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				err = errors.New("ended by itself")
			}
			select {
			case failed <- fmt.Errorf("%s: %w", w.Name(), err):
			default: // another one was first
			}
		})
	}
	return c
}

func (c *crew) stop() {
	c.cancel()
	c.done.Wait()
}
