package main

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/customerkeys"
)

// customerKeys are what customers are sealed under. Without a master key of the operator's they are sealed under one that is in the primary.
func (c *config) customerKeys(ctx context.Context, primary *pgxpool.Pool, log *slog.Logger) (*customerkeys.Keys, error) {
	given, err := customerkeys.ReadMaster(c.MasterKey, c.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	master, err := customerkeys.Establish(ctx, primary, given)
	if err != nil {
		return nil, err
	}
	return customerkeys.New(customerkeys.Config{Pool: primary, Master: master, Now: time.Now, Logger: log}), nil
}

// startKeys makes the node's keys of customers. Who writes orders makes keys too; others read them.
func (n *node) startKeys(ctx context.Context) error {
	var err error
	n.keys, err = n.cfg.customerKeys(ctx, cmp.Or(n.write, n.identity), n.log)
	return err
}

// openOrders opens the customers of orders, in place. What a key that cannot be had would open is left out and marked.
func (n *node) openOrders(ctx context.Context, documents [][]byte) { n.keys.OpenAll(ctx, documents) }
