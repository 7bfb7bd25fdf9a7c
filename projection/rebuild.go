package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/stream"
)

// The schemas that hold the tables of the next and the former generations of views, under the names that the live ones have.
const (
	nextSchema = "next_views"
	oldSchema  = "old_views"
)

// Stages of a rebuild, in their order.
const (
	StageLoad    = "loading"
	StageIndex   = "indexing"
	StageCompare = "comparing"
	StageSwitch  = "switching"
)

// Progress is how far a rebuild is.
type Progress struct {
	Views []string
	Stage string // one of the Stage constants
	// Position is how far the next generation is, Target where it has to be before the stage ends; the target moves while orders come.
	Position, Target int64
}

// LogHead reads the log and tells where it ends. *stream.Log is one.
type LogHead interface {
	LogReader
	Head(ctx context.Context) (int64, [32]byte, error)
}

// RebuildConfig says what is rebuilt, and from what.
type RebuildConfig struct {
	Pool  *pgxpool.Pool // the read database
	Log   LogHead
	Views []string
	// Accept switches even where rows differ that the same code made of the same events: then the live ones were damaged.
	Accept   bool
	Who      string         // for the audit
	Progress func(Progress) // nil: nobody listens
	Logger   *slog.Logger   // nil: nothing is logged
	Now      func() time.Time
}

// Rebuilt is what became of one view.
type Rebuilt struct {
	View             string
	Generation       int64 // that is live now
	FromCode, ToCode int   // versions of the view's code, of the former generation and of this one
	Position         int64 // at which the generations were switched
	Comparison       Comparison
	Events           int64         // that were read, by this call
	Took             time.Duration // reading them
}

// errRebuilding says that another rebuild is at work.
var errRebuilding = errors.New("another rebuild is at work on this read database: wait for its end, or stop it; what it has built so far is kept")

// ErrRowsDiffer is wrapped by Rebuild's error when rows differ although the code of the view has not changed.
var ErrRowsDiffer = errors.New("the live table is not what the log says")

// rebuilder builds next generations.
type rebuilder struct {
	cfg    RebuildConfig
	next   *pgxpool.Pool // sees the next generations alone
	schema string        // of the live tables
	views  []view
	chunk  int                      // events in one transaction
	reach  func(point string) error // tests end a rebuild at chosen points with it; nil otherwise
}

func newRebuilder(cfg RebuildConfig) *rebuilder {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &rebuilder{cfg: cfg, views: allViews(), chunk: chunkEvents, reach: func(string) error { return nil }}
}

// Rebuild makes the next generation of views from the log beside the live one, compares the two, and puts it in the live one's place in
// one transaction. The former generation is kept until DropOld. Interrupted at any time, it goes on where it was when called again.
func Rebuild(ctx context.Context, cfg RebuildConfig) ([]Rebuilt, error) {
	return newRebuilder(cfg).run(ctx)
}

func (r *rebuilder) run(ctx context.Context) ([]Rebuilt, error) {
	var done []Rebuilt
	err := r.alone(ctx, func() error {
		views, err := r.chosen()
		if err != nil {
			return err
		}
		if err := r.begin(ctx, views); err != nil {
			return err
		}
		groups, err := r.groups(ctx, views)
		if err != nil {
			return err
		}
		for _, b := range groups {
			rebuilt, err := b.run(ctx)
			if err != nil {
				return err
			}
			done = append(done, rebuilt...)
		}
		return nil
	})
	return done, err
}

func (r *rebuilder) chosen() ([]view, error) {
	var views []view
	for _, name := range r.cfg.Views {
		i := slices.IndexFunc(r.views, func(v view) bool { return v.name == name })
		if i < 0 {
			return nil, noView(name)
		}
		views = append(views, r.views[i])
	}
	if len(views) == 0 {
		return nil, fmt.Errorf("name a view: there are %v", Views())
	}
	return views, nil
}

// rebuildLock is the advisory lock that a rebuild holds for as long as its connection lives.
const rebuildLock = 0x6f7264657273 // "orders"

// lockPatience is how long a rebuild waits for one that was killed to be noticed by the server.
const lockPatience = 2 * time.Second

// alone runs something while nobody else rebuilds in the read database.
func (r *rebuilder) alone(ctx context.Context, do func() error) error {
	conn, err := r.cfg.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	held := conn.Hijack() // the lock ends with the connection
	defer func() { _ = held.Close(context.WithoutCancel(ctx)) }()
	if err := tryLock(ctx, held); err != nil {
		return err
	}
	if err := held.QueryRow(ctx, `SELECT current_schema()`).Scan(&r.schema); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	cfg := r.cfg.Pool.Config()
	cfg.ConnConfig.RuntimeParams["search_path"] = nextSchema
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off" // rows and their checkpoint revert together
	cfg.MinConns, cfg.MaxConns = 0, maxShards+2
	if r.next, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("open pool: %w", err)
	}
	defer r.next.Close()
	return do()
}

func tryLock(ctx context.Context, conn *pgx.Conn) error {
	within, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(rebuildLock)).Scan(&got); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		if got {
			return nil
		}
		if pause(within, 50*time.Millisecond) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errRebuilding
		}
	}
}

// build is a next generation as it is stored.
type build struct {
	at                checkpoint // with the code that it is built by
	indexed, compared bool
}

const selectBuilds = `SELECT view, code, position, digest, indexed, compared FROM next_views.builds`

func readBuilds(ctx context.Context, db querier) (map[string]build, error) {
	rows, err := db.Query(ctx, selectBuilds)
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	builds := map[string]build{}
	var name string
	var digest []byte
	var b build
	_, err = pgx.ForEachRow(rows, []any{&name, &b.at.code, &b.at.position, &digest, &b.indexed, &b.compared}, func() error {
		copy(b.at.digest[:], digest)
		builds[name] = b
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	return builds, nil
}

// begin makes the tables of the views' next generations where there are none yet.
func (r *rebuilder) begin(ctx context.Context, views []view) error {
	if _, err := loadCheckpoints(ctx, r.cfg.Pool, views); err != nil {
		return err
	}
	builds, err := readBuilds(ctx, r.cfg.Pool)
	if err != nil {
		return err
	}
	for _, v := range views {
		b, ok := builds[v.name]
		switch {
		case !ok:
			if err := r.create(ctx, v); err != nil {
				return fmt.Errorf("begin %s: %w", v.name, err)
			}
		case b.at.code != v.code:
			return fmt.Errorf("a generation of %s by version %d of the view is half built, this program has version %d: run orderstore rebuild %s --abort first",
				v.name, b.at.code, v.code, v.name)
		}
	}
	return nil
}

// groups puts together the views that are equally far: they are built by one reading of the log and switched together.
func (r *rebuilder) groups(ctx context.Context, views []view) ([]*builder, error) {
	builds, err := readBuilds(ctx, r.cfg.Pool)
	if err != nil {
		return nil, err
	}
	points, err := readCheckpoints(ctx, r.cfg.Pool)
	if err != nil {
		return nil, err
	}
	type key struct {
		at                checkpoint
		indexed, compared bool
		fold              string
	}
	groups := map[key]*builder{}
	for _, v := range views {
		b := builds[v.name]
		v.generation = points[v.name].generation + 1
		if v.skips, err = loadSkips(ctx, r.cfg.Pool, v.name, v.generation); err != nil {
			return nil, err
		}
		k := key{b.at.place(), b.indexed, b.compared, foldKey(v)}
		if groups[k] == nil {
			groups[k] = &builder{r: r, at: k.at, indexed: k.indexed, compared: k.compared, found: map[string]Comparison{}, limit: r.chunk}
		}
		groups[k].views = append(groups[k].views, v)
	}
	var out []*builder
	for _, b := range groups {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *builder) int { return cmp.Compare(b.at.position, a.at.position) })
	return out, nil
}

// errBehind says that the orders which a view is made from cannot be had.
var errBehind = errors.New("the timeline, from which the orders are folded, is behind: let it catch up, or rebuild all views together")

// builder builds the next generation of views that are equally far.
type builder struct {
	r                 *rebuilder
	views             []view
	at                checkpoint
	indexed, compared bool
	limit             int // events in a transaction; lower while looking for one that a view cannot take
	found             map[string]Comparison
	events            int64 // read by this builder
	took              time.Duration
}

func (b *builder) run(ctx context.Context) ([]Rebuilt, error) {
	for _, step := range []func(context.Context) error{b.loadAll, b.index, b.compare, b.finish} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return b.change(ctx)
}

func (b *builder) tell(stage string, target int64) {
	b.r.cfg.Progress(Progress{Views: namesOf(b.views), Stage: stage, Position: b.at.position, Target: max(target, b.at.position)})
}

// live reads where the live generations are.
func (b *builder) live(ctx context.Context) (map[string]checkpoint, error) {
	return loadCheckpoints(ctx, b.r.cfg.Pool, b.views)
}

// least is the position up to which every live generation is, so that all can be compared; the log's end where there is nothing to
// compare with.
func (b *builder) least(ctx context.Context) (int64, error) {
	points, err := b.live(ctx)
	if err != nil {
		return 0, err
	}
	least := int64(-1)
	for _, at := range points {
		if at.position > 0 && (least < 0 || at.position < least) {
			least = at.position
		}
	}
	if least >= 0 && !b.compared {
		return least, nil
	}
	head, _, err := b.r.cfg.Log.Head(ctx)
	return head, err
}

// loadAll brings the next generation near the live one.
func (b *builder) loadAll(ctx context.Context) error {
	for {
		target, err := b.least(ctx)
		if err != nil {
			return err
		}
		if target-b.at.position < int64(b.r.chunk) && b.at.position > 0 {
			return b.r.reach("loaded")
		}
		if err := b.load(ctx, StageLoad, target); err != nil {
			return err
		}
		if target == b.at.position && target < int64(b.r.chunk) {
			return b.r.reach("loaded")
		}
	}
}

// finish brings the next generation to the log's end.
func (b *builder) finish(ctx context.Context) error {
	for {
		head, _, err := b.r.cfg.Log.Head(ctx)
		if err != nil {
			return err
		}
		if err := b.load(ctx, StageSwitch, head); err != nil {
			return err
		}
		if after, _, err := b.r.cfg.Log.Head(ctx); err != nil || after-b.at.position < int64(b.r.chunk) {
			return err
		}
	}
}

// diverged is what a log that is not the one of the live generations gives.
func diverged(position int64) error {
	return fmt.Errorf("the log at %d does not follow from what was read before: %w", position, stream.ErrDiverged)
}
