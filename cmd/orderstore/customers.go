package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/customerkeys"
)

// masterKeyFile is where a development instance has its master key.
const masterKeyFile = "master.key"

// customerKeys are what customers are sealed under; nil without a master key, which only roles that show none go without.
func (c *config) customerKeys(write *pgxpool.Pool, log *slog.Logger) (*customerkeys.Keys, error) {
	master, err := customerkeys.ReadMaster(c.MasterKey, c.MasterKeyFile)
	if err != nil || master == nil {
		return nil, err
	}
	return customerkeys.New(customerkeys.Config{Pool: write, Master: master, Now: time.Now, Logger: log}), nil
}

// withKeys are workers with the keys, where there are some.
func withKeys(keys *customerkeys.Keys, workers ...worker) []worker {
	if keys == nil {
		return workers
	}
	return append(workers, keys)
}

// findMasterKey names the master key of an instance, unless the environment gives one.
func (c *config) findMasterKey(data string) error {
	env, err := readConfig()
	if err != nil {
		return err
	}
	c.MasterKey, c.MasterKeyFile = env.MasterKey, env.MasterKeyFile
	path := filepath.Join(data, masterKeyFile)
	if _, err := os.Stat(path); err == nil && c.MasterKey == "" && c.MasterKeyFile == "" {
		c.MasterKeyFile = path
	}
	return nil
}

// ensureMasterKey makes the master key of a new instance, and gives the name of its file.
func ensureMasterKey(data string) (string, error) {
	path := filepath.Join(data, masterKeyFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return path, err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600); err != nil {
		return path, folderFault(data, err)
	}
	return path, folderFault(data, os.Rename(temporary, path))
}
