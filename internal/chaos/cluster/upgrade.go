package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stopsWithin is how long a program may take to end in good order: its stages have ten seconds each.
const stopsWithin = time.Minute

// keepSchema is how a program is started that is to leave the databases as they are: an older one beside a schema that is newer.
const keepSchema = "--migrate=false"

// Ours tells whether it is a program of this project, not a store.
func (p *Process) Ours() bool {
	return slices.Contains([]string{KindCommand, KindRelay, KindRead, KindBroadcast, KindAuxiliary}, p.Kind)
}

// Migrate brings the databases to what the programs of a folder know, as the first step of an upgrade. From then on every program that is started
// takes the schema as it is.
func (c *Cluster) Migrate(ctx context.Context, binaries string) error {
	for _, p := range c.processes {
		if g, ok := p.control.(*program); ok && p.Ours() && p.Kind != KindAuxiliary {
			g.mu.Lock()
			if !slices.Contains(g.args, keepSchema) {
				g.args = append(slices.Clone(g.args), keepSchema)
			}
			g.mu.Unlock()
		}
	}
	for node := range 2 {
		cmd := c.command(ctx, c.direct(node+1), "migrate")
		cmd.Path = filepath.Join(binaries, "orderstore")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("migrate with %s: %w: %s", binaries, err, out)
		}
	}
	return nil
}

// Folder is where its program lies; empty: it is none of ours.
func (p *Process) Folder() string {
	g, ok := p.control.(*program)
	if !ok || !p.Ours() {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return filepath.Dir(g.path)
}

// Replace ends a program of ours in good order and starts the one of another folder in its place. It does not wait until that works.
func (p *Process) Replace(ctx context.Context, binaries string) error {
	g, ok := p.control.(*program)
	if !ok || !p.Ours() {
		return fmt.Errorf("replace %s: it is no program of ours", p.Name)
	}
	stopping, cancel := context.WithTimeout(ctx, stopsWithin)
	defer cancel()
	if err := g.Stop(stopping); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	late := stopping.Err()
	g.mu.Lock()
	g.path = filepath.Join(binaries, filepath.Base(g.path))
	g.mu.Unlock()
	if err := p.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if late != nil {
		return fmt.Errorf("replace %s: it did not end in good order within %s", p.Name, stopsWithin)
	}
	return nil
}

// Version is what the program that runs says of itself; empty: it does not answer.
func (p *Process) Version(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.ready, "/readyz")+"/healthz", nil)
	if err != nil {
		return ""
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	var says struct {
		Version string `json:"version"`
	}
	if json.NewDecoder(answer.Body).Decode(&says) != nil {
		return ""
	}
	return says.Version
}
