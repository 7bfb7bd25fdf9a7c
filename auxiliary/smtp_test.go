package auxiliary

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// sink is an SMTP server that keeps what it is given. Its answer to a line may be changed by reply: an answer to say instead,
// or "hang up".
type sink struct {
	t     testing.TB
	addr  string
	reply func(verb string, line string) string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	mails    []taken
	dialled  int
	logins   []string
}

type taken struct {
	from, to string
	data     []byte
}

func newSink(t testing.TB) *sink {
	t.Helper()
	s := &sink{t: t, reply: func(string, string) string { return "" }, conns: map[net.Conn]bool{}}
	s.open("127.0.0.1:0")
	t.Cleanup(s.shut)
	return s
}

func (s *sink) open(addr string) {
	s.t.Helper()
	listener, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", addr)
	require.NoError(s.t, err)
	s.mu.Lock()
	s.listener, s.addr = listener, listener.Addr().String()
	s.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.dialled++
			s.mu.Unlock()
			go s.serve(conn)
		}
	}()
}

// shut closes the listener and every connection.
func (s *sink) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *sink) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := textproto.NewReader(bufio.NewReader(conn))
	say := func(text string) { _, _ = fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 sink")
	var mail taken
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		s.mu.Lock()
		other := s.reply(verb, line)
		s.mu.Unlock()
		if other == "hang up" {
			return
		}
		if other != "" {
			say(other)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN")
		case "AUTH":
			who, _ := base64.StdEncoding.DecodeString(line[strings.LastIndexByte(line, ' ')+1:])
			s.mu.Lock()
			s.logins = append(s.logins, string(who))
			s.mu.Unlock()
			say("235 2.7.0 welcome")
		case "MAIL":
			mail = taken{from: line}
			say("250 2.1.0 ok")
		case "RCPT":
			mail.to = strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">")
			say("250 2.1.5 ok")
		case "DATA":
			say("354 go on")
			if mail.data, err = r.ReadDotBytes(); err != nil {
				return
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail)
			other := s.reply(".", "")
			s.mu.Unlock()
			if other == "hang up" {
				return
			}
			if other == "" {
				other = "250 2.0.0 taken"
			}
			say(other)
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

func (s *sink) answer(f func(verb, line string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = f
}

func (s *sink) taken() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.mails...)
}

func (s *sink) target(user string) *SMTP {
	s.t.Helper()
	to, err := NewSMTP("smtp://" + user + s.addr + "?tls=none")
	require.NoError(s.t, err)
	return to
}

func TestSMTPSendsEachMailOnce(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSink(t)
	all := someOrders(11, 40)
	h.append(all...)
	r := h.runner(quick(), h.notices(s.target("shop:secret@")))
	stop := start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()
	stop()

	ids := map[string]bool{}
	for _, m := range s.taken() {
		mail := parseMail(t, m.data)
		assert.Equal(t, "MAIL FROM:<orders@shop.example>", strings.SplitN(m.from, " BODY=", 2)[0])
		assert.Equal(t, mail.to.Address, m.to)
		ids[mail.header.Get("Message-ID")] = true
	}
	assert.Len(t, s.taken(), wanted(all))
	assert.Len(t, ids, wanted(all))
	s.mu.Lock()
	assert.LessOrEqual(t, s.dialled, quick().Senders, "connections are kept for the next mail")
	assert.Len(t, s.logins, s.dialled)
	for _, login := range s.logins {
		assert.Equal(t, "\x00shop\x00secret", login)
	}
	s.mu.Unlock()
	h.verified()
}

// A mail whose answer was lost comes again with the id it had.
func TestSMTPLostAnswer(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSink(t)
	lost := 0
	s.answer(func(verb, _ string) string {
		if verb == "." && lost < 1 {
			lost++
			return "hang up"
		}
		return ""
	})
	h.append(placed(&events.Customer{Name: "قمر", Email: "qamar@example.com"}))
	r := h.runner(quick(), h.notices(s.target("")))
	start(t, r)
	h.reached(r, NoticesName, 1)
	h.drained()
	require.Len(t, s.taken(), 2)
	assert.Equal(t, string(s.taken()[0].data), string(s.taken()[1].data))
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM outbox WHERE state = 'sent' AND attempts = 2`))
}

func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSink(t)
	s.answer(func(verb, line string) string {
		switch {
		case verb == "RCPT" && strings.Contains(line, "unknown@"):
			return "550 5.1.1 no such user"
		case verb == "RCPT" && strings.Contains(line, "grey@"):
			return "451 4.7.1 come back later"
		case verb == "RCPT" && strings.Contains(line, "relay@"):
			return "554 5.7.1 relaying denied"
		}
		return ""
	})
	for _, who := range []string{"unknown", "grey", "relay", "good"} {
		h.append(placed(&events.Customer{Email: who + "@example.com"}))
	}
	r := h.runner(quick(), h.notices(s.target("")))
	start(t, r)
	h.reached(r, NoticesName, 4)
	h.drained()
	assert.Equal(t, 1, h.count(`SELECT attempts FROM outbox WHERE position = 1 AND state = 'dead' AND failure LIKE '%5.1.1%' AND payload IS NOT NULL`),
		"that there is no such user does not change")
	assert.Equal(t, 3, h.count(`SELECT attempts FROM outbox WHERE position = 2 AND state = 'dead' AND failure LIKE '%4.7.1%'`))
	assert.Equal(t, 3, h.count(`SELECT attempts FROM outbox WHERE position = 3 AND state = 'dead'`))
	assert.Equal(t, 1, h.count(`SELECT attempts FROM outbox WHERE position = 4 AND state = 'sent'`))
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM records WHERE convert_from(payload, 'UTF8') LIKE '%"position":1,"to":"u***@example.com","state":"dead"%'`))
	h.verified()
	require.Eventually(t, func() bool { return r.Status()[0].Dead == 3 && r.Status()[0].Queued == 0 }, testWithin, quick().Look)
	assert.Empty(t, r.Status()[0].TargetAway, "the server is there")
}

func TestSMTPServerAwayAndBack(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSink(t)
	pace := quick()
	pace.Attempts = 1000
	r := h.runner(pace, h.notices(s.target("")))
	start(t, r)
	h.append(placed(&events.Customer{Email: "first@example.com"}))
	h.reached(r, NoticesName, 1)
	h.drained()

	s.shut()
	for i := range 30 {
		h.append(placed(&events.Customer{Email: fmt.Sprintf("c%d@example.com", i)}))
	}
	h.reached(r, NoticesName, 31)
	require.Eventually(t, func() bool { return r.Status()[0].TargetAway != "" }, testWithin, pace.Look, "it is seen")
	h.eventually("it is tried again", nil, `SELECT sum(attempts) > 5 FROM outbox WHERE state = 'queued'`)
	s.open(s.addr)
	h.drained()
	assert.Len(t, s.taken(), 31)
	require.Eventually(t, func() bool { return r.Status()[0].TargetAway == "" }, testWithin, pace.Look)
	h.verified()
}

func TestABrokenTargetParksTheMailAndThePositionGoesOn(t *testing.T) {
	t.Parallel()
	h, s := newHouse(t), newSink(t)
	s.answer(func(verb, _ string) string {
		if verb == "MAIL" {
			return "530 5.7.0 authentication required"
		}
		return ""
	})
	h.append(placed(&events.Customer{Email: "a@example.com"}), placed(&events.Customer{Email: "b@example.com"}))
	r := h.runner(quick(), h.notices(s.target("")))
	start(t, r)
	h.reached(r, NoticesName, 2)
	h.drained()
	assert.Equal(t, 2, h.count(`SELECT count(*) FROM outbox WHERE state = 'dead' AND attempts = 3`))
	assert.Empty(t, s.taken())
	h.verified()
}

// A password goes to no server that does not encrypt, unless that was asked for.
func TestSMTPKeepsThePasswordToItself(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	to, err := NewSMTP("smtp://shop:secret@" + s.addr)
	require.NoError(t, err)
	m, err := newMailer("shop@example.com", to, newWords(nil, noon))
	require.NoError(t, err)
	err = m.send(t.Context(), 1, "o", &noticeMail{Event: events.OrderCompleted, At: noon(), Address: "a@example.com", Currency: "USD"})
	require.ErrorIs(t, err, errTargetAway)
	assert.NotContains(t, err.Error(), "secret")
	assert.Empty(t, s.logins)
	assert.Empty(t, s.taken())
}

func TestSMTPURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"smtp://mail.example.com": "mail.example.com:25", "smtp://u:p@mail.example.com": "mail.example.com:587",
		"smtps://u:p@mail.example.com": "mail.example.com:465", "smtp://mail.example.com:2525?tls=mandatory": "mail.example.com:2525",
		"mail.example.com": "", "http://mail.example.com": "", "smtp://": "", "smtp://h:x": "", "smtp://h/path": "", "smtp://h?tls=maybe": "",
		"smtps://h?tls=none": "", "smtp://user:se%zzcret@h": "",
	} {
		s, err := NewSMTP(raw)
		if want == "" {
			require.Error(t, err, raw)
			assert.NotContains(t, err.Error(), "cret", "no password in errors")
			continue
		}
		require.NoError(t, err, raw)
		assert.Equal(t, want, s.client.ServerAddr(), raw)
	}
}
