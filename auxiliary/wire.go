package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/webhook"
)

// Deps is what the systems that ship with the project need, in whichever process they run.
type Deps struct {
	Pool    *pgxpool.Pool // the auxiliary database
	JS      jetstream.JetStream
	Log     *stream.Log    // read where the stream does not reach back; nil: the stream alone
	Recent  *stream.Recent // what the process itself has appended to the log; nil: nothing
	Mail    MailConfig
	Hooks   webhook.GuardConfig // where webhooks may go
	Keys    *customerkeys.Keys  // open whom orders are for; nil: of a sealed customer nothing is known, and nobody is told
	Logger  *slog.Logger
	Clock   func() time.Time
	Metrics prometheus.Registerer // nil: none
	Busy    func() bool           // whether others wait for this machine's processors; nil: nobody does

	Replenishment ReplenishmentConfig
}

// MailConfig says where notices go: to the SMTP server when there is one, to files otherwise.
type MailConfig struct {
	From    string // sender, like "Shop <orders@example.com>"
	Dir     string
	SMTPURL string // see NewSMTP
	// QuietTo is the position up to which nobody is told of anything when the notices start on an empty database. 0 unless
	// the auxiliary database was lost.
	QuietTo int64
}

// Validate names everything that is missing or wrong.
func (c MailConfig) Validate() error {
	var faults []error
	if c.Dir == "" && c.SMTPURL == "" {
		faults = append(faults, errNowhere)
	}
	if c.SMTPURL != "" {
		_, err := NewSMTP(c.SMTPURL)
		faults = append(faults, err)
	}
	if c.QuietTo < 0 {
		faults = append(faults, errors.New("the position up to which nobody is told cannot be negative"))
	}
	_, err := newMailer(c.From, nil, nil)
	return errors.Join(append(faults, err)...)
}

var errNowhere = errors.New("notices have nowhere to go: give a mail folder or an SMTP URL")

// folderPace is for mails that become files. They are written at once, so many are taken in hand for one commit; and a second
// writer only writes over the first, so after a crash nobody has to wait for as long as a mail server may take. Making a file is
// the processor's work: where others wait for it, one writer works a tenth of its time.
func folderPace() Pace {
	return Pace{Senders: 1, Rest: 9, InHand: 256, Claim: 5 * time.Second, Linger: 100 * time.Millisecond}
}

func (c MailConfig) target() (Target, Pace, error) {
	switch {
	case c.SMTPURL != "":
		target, err := NewSMTP(c.SMTPURL)
		return target, Pace{}, err
	case c.Dir != "":
		target, err := NewMailDir(c.Dir)
		return target, folderPace(), err
	}
	return nil, Pace{}, errNowhere
}

// end is the last position of the log, or of the stream where the log is not to be had.
func (d *Deps) end(ctx context.Context) (int64, error) {
	if d.Log != nil {
		if position, _, err := d.Log.Head(ctx); err == nil {
			return position, nil
		}
	}
	bounds, err := stream.BoundsOf(ctx, d.JS)
	return bounds.Last, err
}

// Wire makes the runner of the systems that ship with the project.
func Wire(deps Deps) (*Runner, error) {
	target, pace, err := deps.Mail.target()
	if err != nil {
		return nil, err
	}
	hooks, err := NewHooks(HooksConfig{Guard: deps.Hooks, Now: deps.Clock})
	if err != nil {
		return nil, err
	}
	notices, err := NewNotices(NoticesConfig{From: deps.Mail.From, To: target, Pool: deps.Pool, Hooks: hooks, Keys: deps.Keys, Now: deps.Clock})
	if err != nil {
		return nil, err
	}
	if err := deps.Replenishment.Validate(); err != nil {
		return nil, fmt.Errorf("replenishment: %w", err)
	}
	return New(Config{
		Pool: deps.Pool, Systems: []System{notices, wireStock(deps, hooks), NewInvoices(), NewLoyalty(), NewProfiles()}, Logger: deps.Logger, Clock: deps.Clock, Metrics: deps.Metrics,
		QuietTo: deps.Mail.QuietTo, Pace: pace, End: deps.end, Busy: deps.Busy,
		NewFollower: func(system string, after int64, digest [32]byte) Source {
			return stream.NewFollower(stream.FollowerConfig{
				JS: deps.JS, Log: deps.Log, Recent: deps.Recent, After: after, Digest: digest, Name: system, Logger: deps.Logger,
			})
		},
	})
}

// wireStock makes the stock with its bucket, its webhooks and, where there is a way to raise them, the runs of the replenishment.
func wireStock(deps Deps, hooks *Hooks) *Stock {
	bucket := &bucketWriter{pool: deps.Pool, js: deps.JS, logger: deps.Logger}
	told := &teller{pool: deps.Pool, hooks: hooks, logger: deps.Logger, now: deps.Clock}
	s := &Stock{beside: []func(context.Context){bucket.run, told.run}}
	if deps.Replenishment.Raise != nil {
		r := &runs{ReplenishmentConfig: deps.Replenishment, pool: deps.Pool, js: deps.JS, logger: deps.Logger, now: deps.Clock}
		s.beside = append(s.beside, r.run)
	}
	return s
}
