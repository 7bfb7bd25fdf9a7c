package postgres

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"github.com/orderstore/orderstore/internal/seeded"
)

// serverCommand passes every setting on the command line: nothing written at an earlier start, by an earlier
// version or by hand can then turn durability off. Only what cfg leaves to the files can be changed while it runs.
func serverCommand(inst installation, as identity, dataDir string, port int, cfg ClusterConfig, log *os.File) *exec.Cmd {
	settings := tunedSettings(cfg.Durable)
	if compresses(inst, as, dataDir, "lz4") {
		settings["wal_compression"] = "lz4"
	}
	maps.Copy(settings, cfg.ExtraSettings)
	for _, name := range cfg.FromFiles {
		delete(settings, name)
	}
	settings["port"] = strconv.Itoa(port)
	args := []string{"-D", dataDir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	cmd := inst.command(as, "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	endWithParent(cmd, deathFastShutdown)
	return cmd
}

// compresses says whether the server knows a method to compress page images in its log. They are most of what it writes after each
// checkpoint, and pglz, which every server knows, takes ten times as long as lz4.
func compresses(inst installation, as identity, dataDir, method string) bool {
	return inst.command(as, "postgres", "-D", dataDir, "-C", "wal_compression", "-c", "wal_compression="+method).Run() == nil
}

// tunedSettings suit one small machine that Postgres shares with the service.
func tunedSettings(durable bool) map[string]string {
	settings := map[string]string{ //nolint:gosec // G101: names of settings
		"listen_addresses":        loopback,
		"unix_socket_directories": "", // a socket's path may have 107 bytes at most, a data directory's more
		"max_connections":         "160",
		"password_encryption":     "scram-sha-256",
		"shared_buffers":          "512MB", // of which only what is used takes memory
		"wal_level":               "replica",
		"wal_buffers":             "16MB",
		"wal_compression":         "on", // page images follow checkpoints only: less to flush for little CPU
		"max_wal_size":            "2GB",
		"min_wal_size":            "256MB",
		"checkpoint_timeout":      "15min",
		"random_page_cost":        "1.1", // solid state disks
		"jit":                     "off", // costs more than it saves on short statements
		"autovacuum":              "on",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_line_prefix":         "%m [%p] ",
		"log_checkpoints":         "off",
		"logging_collector":       "off",
		"log_destination":         "stderr",
	}
	if durable {
		settings["fsync"] = "on"
		if seeded.On(seeded.FsyncOff) {
			settings["fsync"] = "off"
		}
		settings["full_page_writes"] = "on"
		settings["synchronous_commit"] = "on"
		return settings
	}
	settings["fsync"] = "off"
	settings["full_page_writes"] = "off"
	settings["synchronous_commit"] = "off"
	settings["shared_buffers"] = "128MB"
	settings["max_connections"] = "300" // many parallel tests, each with a pool
	return settings
}
