// Package migrations holds the schemas of the three databases, applied in order of their numbers by goose, and who may do what in them.
package migrations

import "embed"

// Each file system holds one database's migrations at its root folder of the same name: write, read or auxiliary. What is in the folder
// access under it holds after the last migration, whichever that is.
var (
	//go:embed write/*.sql write/access/*.sql
	Write embed.FS
	//go:embed read/*.sql read/access/*.sql
	Read embed.FS
	//go:embed auxiliary/*.sql auxiliary/access/*.sql
	Auxiliary embed.FS
)
