package auxiliary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Target takes finished mails.
type Target interface {
	// Deliver hands over the mail of the event at a position. The same mail may come again.
	Deliver(ctx context.Context, position int64, msg *gomail.Msg) error
	// Close ends connections that wait for the next mail.
	Close() error
}

// MailDir writes each mail as a file, named by its event's position: a mail that comes again replaces itself. Files
// survive the end of any process at any point; a power cut may take the last ones along.
type MailDir struct{ dir string }

// NewMailDir makes the folder where it is missing.
func NewMailDir(dir string) (*MailDir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mail folder: %w", err)
	}
	return &MailDir{dir: dir}, nil
}

// Deliver writes <position>.eml, whole or not at all.
func (d *MailDir) Deliver(_ context.Context, position int64, msg *gomail.Msg) error {
	name := strconv.FormatInt(position, 10)
	part, final := filepath.Join(d.dir, "."+name+".part"), filepath.Join(d.dir, name+".eml")
	if err := writePrivate(part, msg); err != nil {
		return TargetAway(fmt.Errorf("write mail: %w", err))
	}
	if err := os.Rename(part, final); err != nil {
		return TargetAway(fmt.Errorf("write mail: %w", err))
	}
	return nil
}

// writePrivate writes a file for this user alone: mails hold personal data.
func writePrivate(name string, msg *gomail.Msg) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // a name that the caller makes, in the folder that was configured
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	if _, err := msg.WriteTo(w); err != nil {
		return err
	}
	return w.Flush()
}

// Close does nothing: no file is kept open.
func (d *MailDir) Close() error { return nil }

const (
	smtpTimeout = 10 * time.Second // for connecting, for greeting and for each mail
	smtpIdle    = 20 * time.Second // a connection unused for longer is not used again
	smtpKept    = 8                // connections that wait for the next mail
)

// SMTP sends mails to a server, over connections that it keeps for the next mail.
type SMTP struct {
	client *gomail.Client
	idle   chan smtpConn
}

type smtpConn struct {
	client *smtp.Client
	used   time.Time
}

// errSMTPURL is no more than that, since the URL holds a password.
var errSMTPURL = errors.New("the SMTP URL must be smtp://user:password@host:port or smtps://…, with ?tls=mandatory, opportunistic or none")

// NewSMTP reads smtp[s]://[user:password@]host[:port][?tls=mandatory|opportunistic|none]. Without tls, smtp:// uses STARTTLS
// where the server has it, and insists on it when there is a password. smtps:// is TLS from the first byte. The port is 465, 587
// with a user, or 25. It connects to nobody yet.
func NewSMTP(raw string) (*SMTP, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, errSMTPURL
	}
	options := []gomail.Option{gomail.WithTimeout(smtpTimeout)}
	port, policy := 25, gomail.TLSOpportunistic
	if u.User != nil {
		port, policy = 587, gomail.TLSMandatory
	}
	switch {
	case u.Scheme == "smtps" && u.RawQuery == "":
		port = 465
		options = append(options, gomail.WithSSL())
	case u.Scheme != "smtp":
		return nil, errSMTPURL
	}
	tls := u.Query().Get("tls")
	switch tls {
	case "":
	case "mandatory":
		policy = gomail.TLSMandatory
	case "opportunistic":
		policy = gomail.TLSOpportunistic
	case "none":
		policy = gomail.NoTLS
	default:
		return nil, errSMTPURL
	}
	options = append(options, gomail.WithTLSPolicy(policy))
	if given := u.Port(); given != "" {
		if port, err = strconv.Atoi(given); err != nil {
			return nil, errSMTPURL
		}
	}
	options = append(options, gomail.WithPort(port))
	options = append(options, authOptions(u.User, tls == "none")...)
	client, err := gomail.NewClient(u.Hostname(), options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSMTPURL, err)
	}
	return &SMTP{client: client, idle: make(chan smtpConn, smtpKept)}, nil
}

func authOptions(user *url.Userinfo, plain bool) []gomail.Option {
	if user == nil {
		return nil
	}
	mechanism := gomail.SMTPAuthAutoDiscover
	if plain {
		mechanism = gomail.SMTPAuthPlainNoEnc
	}
	password, _ := user.Password()
	return []gomail.Option{
		gomail.WithSMTPAuth(mechanism), gomail.WithUsername(user.Username()), gomail.WithPassword(password),
	}
}

// Deliver sends one mail. The server may have taken a mail whose answer was lost: it comes again with the same Message-ID.
func (s *SMTP) Deliver(ctx context.Context, _ int64, msg *gomail.Msg) error {
	conn, reused, err := s.connect(ctx)
	if err != nil {
		return TargetAway(fmt.Errorf("connect to mail server: %w", err))
	}
	err = s.client.SendWithSMTPClient(conn, msg)
	if reused && reasonIs(err, gomail.ErrConnCheck) {
		// The server closed the connection while it waited; nothing of the mail was said.
		_ = conn.Close()
		if conn, err = s.client.DialToSMTPClientWithContext(ctx); err != nil {
			return TargetAway(fmt.Errorf("connect to mail server: %w", err))
		}
		err = s.client.SendWithSMTPClient(conn, msg)
	}
	if err != nil {
		_ = conn.Close()
		if msg.IsDelivered() {
			return nil
		}
		return smtpFault(err)
	}
	s.keep(conn)
	return nil
}

func (s *SMTP) connect(ctx context.Context) (conn *smtp.Client, reused bool, err error) {
	for {
		select {
		case c := <-s.idle:
			if time.Since(c.used) < smtpIdle {
				return c.client, true, nil
			}
			_ = c.client.Close()
		default:
			conn, err = s.client.DialToSMTPClientWithContext(ctx)
			return conn, false, err
		}
	}
}

func (s *SMTP) keep(conn *smtp.Client) {
	select {
	case s.idle <- smtpConn{client: conn, used: time.Now()}:
	default:
		_ = s.client.CloseWithSMTPClient(conn)
	}
}

// Close says goodbye on the connections that wait.
func (s *SMTP) Close() error {
	for {
		select {
		case c := <-s.idle:
			_ = s.client.CloseWithSMTPClient(c.client)
		default:
			return nil
		}
	}
}

func reasonIs(err error, reason gomail.SendErrReason) bool {
	var e *gomail.SendError
	return errors.As(err, &e) && e.Reason == reason
}

// smtpFault says what a refused sending means for this mail and for the others.
func smtpFault(err error) error {
	var e *gomail.SendError
	if !errors.As(err, &e) {
		return TargetAway(err)
	}
	code, enhanced := e.ErrorCode(), e.EnhancedStatusCode()
	switch {
	case code == 0, code == 421, e.Reason == gomail.ErrSMTPMailFrom && code >= 500:
		// No more of it: the error's text names the recipient, and this one is logged.
		return TargetAway(fmt.Errorf("mail server: %s (%d)", e.Reason, code))
	case e.Reason == gomail.ErrSMTPRcptTo && code >= 500 && aboutAddress(enhanced):
		return Undeliverable(err)
	}
	return err
}

// aboutAddress tells whether an enhanced status (RFC 3463) speaks of the recipient and not, say, of relaying. Servers that give
// none are believed to.
func aboutAddress(enhanced string) bool {
	return enhanced == "" || strings.HasPrefix(enhanced, "5.1.") || strings.HasPrefix(enhanced, "5.2.")
}
