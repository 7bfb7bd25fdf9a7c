package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// startPrograms starts everything of ours, each over links of its own.
func (c *Cluster) startPrograms(ctx context.Context) error {
	for i := range 2 {
		n := i + 1
		for _, p := range []struct{ kind, name, roles string }{
			{KindCommand, fmt.Sprint("write-", n), "command"},
			{KindRelay, fmt.Sprint("relay-", n), "relay"},
			{KindRead, fmt.Sprint("read-", n), "projection,query"},
			{KindBroadcast, fmt.Sprint("broadcast-", n), "broadcast,query"},
		} {
			if err := c.serve(ctx, p.kind, p.name, p.roles, n); err != nil {
				return err
			}
		}
	}
	return c.aux(ctx)
}

// wired gives the environment by which a program reaches the stores, over links of its own.
func (c *Cluster) wired(name string, node int) ([]string, error) {
	env := slices.Clone(c.opt.Env)
	for _, store := range []struct{ name, database, variable string }{
		{Primary, "write", "WRITE"}, {fmt.Sprint("read-db-", node), "read", "READ"}, {Auxiliary, "auxiliary", "AUXILIARY"},
	} {
		link, err := c.links.open(name, store.name, c.stores[store.name].address())
		if err != nil {
			return nil, err
		}
		url, err := c.stores[store.name].through(link.Address(), store.database)
		if err != nil {
			return nil, err
		}
		env = append(env, "ORDERSTORE_POSTGRES_"+store.variable+"="+url)
	}
	urls, err := c.natsURLs(name)
	if err != nil {
		return nil, err
	}
	return append(env, "ORDERSTORE_NATS="+urls, "ORDERSTORE_LOG_LEVEL=info", "ORDERSTORE_STREAM_REPLICAS=3", "ORDERSTORE_WEBHOOK_ALLOW_HTTP=true",
		"ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8", "ORDERSTORE_WEBHOOK_RETRIES="+retries()), nil
}

func (c *Cluster) serve(ctx context.Context, kind, name, roles string, node int) error {
	env, err := c.wired(name, node)
	if err != nil {
		return err
	}
	web, err := freePort()
	if err != nil {
		return err
	}
	metrics, err := freePort()
	if err != nil {
		return err
	}
	listen := fmt.Sprint("127.0.0.1:", web)
	p := &Process{Name: name, Kind: kind, ready: "http://" + listen + "/readyz", control: &program{
		path: filepath.Join(c.opt.Binaries, "orderstore"), args: []string{"serve", "--roles", roles}, log: filepath.Join(c.logs, name+".log"),
		env: append(env, "ORDERSTORE_HTTP="+listen, fmt.Sprint("ORDERSTORE_METRICS=127.0.0.1:", metrics)),
	}}
	if err := p.Start(ctx); err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	c.at.Metrics = append(c.at.Metrics, fmt.Sprint("http://127.0.0.1:", metrics))
	link, err := c.links.open("parties", name, listen)
	if err != nil {
		return err
	}
	over, direct := "http://"+link.Address(), "http://"+listen
	switch kind {
	case KindCommand:
		c.at.Write, c.at.Direct.Write = append(c.at.Write, over), append(c.at.Direct.Write, direct)
	case KindRead:
		c.at.Read, c.at.Direct.Read = append(c.at.Read, over), append(c.at.Direct.Read, direct)
	case KindBroadcast:
		c.at.Broadcast = append(c.at.Broadcast, over)
	}
	return nil
}

func (c *Cluster) aux(ctx context.Context) error {
	env, err := c.wired("orderaux", 1)
	if err != nil {
		return err
	}
	metrics, err := freePort()
	if err != nil {
		return err
	}
	p := &Process{Name: "orderaux", Kind: KindAuxiliary, ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", metrics), control: &program{
		path: filepath.Join(c.opt.Binaries, "orderaux"), log: filepath.Join(c.logs, "orderaux.log"),
		env: append(env, fmt.Sprint("ORDERSTORE_METRICS=127.0.0.1:", metrics), "ORDERSTORE_MAIL_DIR="+filepath.Join(c.dir, "mail"), "ORDERSTORE_NICE=0"),
	}}
	if err := p.Start(ctx); err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	c.at.Metrics = append(c.at.Metrics, fmt.Sprint("http://127.0.0.1:", metrics))
	parties, err := c.natsURLs("parties")
	if err != nil {
		return err
	}
	c.at.NATS = withoutLogin(parties)
	return nil
}

// retries are many and quick, so that no endpoint is away for longer than they last: an event would be parked, as it should, and wait for
// somebody to replay it.
func retries() string { return "200ms,500ms,1s" + strings.Repeat(",2s", 90) }
