package main

import "context"

const defaultDemoOrders = 2400

func (d *development) demonstrate(ctx context.Context) error { return ctx.Err() }
