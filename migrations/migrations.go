// Package migrations holds the schemas of the three databases, applied in order of their numbers by goose.
package migrations

import "embed"

// Each file system holds one database's migrations at its root folder of the same name: write, read or auxiliary.
var (
	//go:embed write/*.sql
	Write embed.FS
	//go:embed read/*.sql
	Read embed.FS
	//go:embed auxiliary/*.sql
	Auxiliary embed.FS
)
