package auxiliary

import (
	"context"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"
	"sync"
	texttemplate "text/template"
	"text/template/parse"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
)

const (
	maxSubject      = 400       // bytes of a template
	maxTemplate     = 64 << 10  // bytes
	maxRendered     = 256 << 10 // bytes
	wordsFor        = time.Second
	maxTenantsKept  = 1000
	sampleRef       = "A-1001"
	sampleLineCount = 3
)

// noticeTemplate is a tenant's own words for an event in a language. Empty HTML makes a plain mail.
type noticeTemplate struct{ Subject, Text, HTML string }

// compiledTemplate is ready to be rendered.
type compiledTemplate struct {
	subject, text *texttemplate.Template
	html          *htmltemplate.Template // nil: none
}

// wording is a notice in words.
type wording struct{ subject, text, html string }

// templateFault says which part of a template is wrong, and how.
type templateFault struct {
	part string // subject, text or html
	err  error
}

func (f *templateFault) Error() string { return f.part + ": " + f.err.Error() }

// compile parses a template and looks at what it may do.
func (t *noticeTemplate) compile() (*compiledTemplate, error) {
	c := &compiledTemplate{}
	var err error
	if c.subject, err = texttemplate.New("subject").Parse(t.Subject); err == nil {
		err = harmless(c.subject.Tree)
	}
	if err != nil {
		return nil, &templateFault{"subject", err}
	}
	if c.text, err = texttemplate.New("text").Parse(t.Text); err == nil {
		err = harmless(c.text.Tree)
	}
	if err != nil {
		return nil, &templateFault{"text", err}
	}
	if t.HTML == "" {
		return c, nil
	}
	if c.html, err = htmltemplate.New("html").Parse(t.HTML); err == nil {
		err = harmless(c.html.Tree)
	}
	if err != nil {
		return nil, &templateFault{"html", err}
	}
	return c, nil
}

func (c *compiledTemplate) render(view *mailView) (wording, error) {
	var w wording
	var err error
	if w.subject, err = rendered(func(to *bounded) error { return c.subject.Execute(to, view) }); err != nil {
		return w, &templateFault{"subject", err}
	}
	if w.text, err = rendered(func(to *bounded) error { return c.text.Execute(to, view) }); err != nil {
		return w, &templateFault{"text", err}
	}
	if c.html == nil {
		return w, nil
	}
	if w.html, err = rendered(func(to *bounded) error { return c.html.Execute(to, view) }); err != nil {
		return w, &templateFault{"html", err}
	}
	return w, nil
}

func rendered(execute func(to *bounded) error) (string, error) {
	var to bounded
	err := execute(&to)
	return to.String(), err
}

// bounded takes so many bytes and no more.
type bounded struct{ strings.Builder }

var errTooLong = errors.New("it becomes too long")

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// harmless refuses what could keep a program busy or fill its memory: loops within loops or over anything but the lines, templates
// that call templates, and functions other than comparisons.
func harmless(tree *parse.Tree) error {
	if tree == nil || tree.Root == nil {
		return errors.New("it is empty")
	}
	return harmlessList(tree.Root, false)
}

func harmlessList(list *parse.ListNode, looping bool) error {
	if list == nil {
		return nil
	}
	for _, node := range list.Nodes {
		if err := harmlessNode(node, looping); err != nil {
			return err
		}
	}
	return nil
}

func harmlessNode(node parse.Node, looping bool) error {
	switch n := node.(type) {
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return nil
	case *parse.ActionNode:
		return harmlessPipe(n.Pipe)
	case *parse.IfNode:
		return harmlessBranch(&n.BranchNode, looping)
	case *parse.WithNode:
		return harmlessBranch(&n.BranchNode, looping)
	case *parse.RangeNode:
		if over := n.Pipe.String(); looping || over != ".Lines" && over != "$.Lines" {
			return fmt.Errorf("{{range %s}}: only .Lines can be gone through, and not within a range", over)
		}
		return harmlessBranch(&n.BranchNode, true)
	}
	return fmt.Errorf("%s is not allowed", node)
}

func harmlessBranch(n *parse.BranchNode, looping bool) error {
	return errors.Join(harmlessPipe(n.Pipe), harmlessList(n.List, looping), harmlessList(n.ElseList, looping))
}

func harmlessPipe(pipe *parse.PipeNode) error {
	for _, command := range pipe.Cmds {
		for _, arg := range command.Args {
			switch a := arg.(type) {
			case *parse.IdentifierNode:
				if !strings.Contains(" and or not eq ne lt le gt ge len ", " "+a.Ident+" ") {
					return fmt.Errorf("the function %s is not allowed", a.Ident)
				}
			case *parse.PipeNode:
				if err := harmlessPipe(a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// check renders a template for two orders, one with everything and one with nothing that can be left out.
func (t *noticeTemplate) check(event string) error {
	c, err := t.compile()
	if err != nil {
		return err
	}
	full := noticeMail{
		Event: events.Type(event), Name: "Ann Onym", Channel: "web", Ref: sampleRef, Currency: "EUR", Total: 12345, Shipping: 490,
		Reason: "sold out", More: 1,
	}
	for range sampleLineCount {
		full.Lines = append(full.Lines, mailLine{Name: "Mug", Quantity: 2, Total: 2500})
	}
	bare := noticeMail{Event: events.Type(event), Channel: "pos", Ref: sampleRef, Currency: "JPY"}
	for _, n := range []*noticeMail{&full, &bare} {
		view := viewOf(n)
		w, err := c.render(&view)
		if err != nil {
			return err
		}
		if strings.TrimSpace(w.subject) == "" {
			return &templateFault{"subject", errors.New("an order without anything optional gets no subject")}
		}
	}
	return nil
}

// words are what tenants set of how their customers are told, as of a second ago.
type words struct {
	pool *pgxpool.Pool
	now  func() time.Time

	mu   sync.Mutex
	kept map[string]*tenantWords
}

// tenantWords are one tenant's.
type tenantWords struct {
	read      time.Time
	settings  noticeSettings
	templates map[string]*compiledTemplate // by event and language
}

func newWords(pool *pgxpool.Pool, now func() time.Time) *words {
	return &words{pool: pool, now: now, kept: map[string]*tenantWords{}}
}

// of gives a tenant's words; there are none without a database.
func (w *words) of(ctx context.Context, tenant string) (*tenantWords, error) {
	if w.pool == nil {
		return &tenantWords{settings: noticesUnset(tenant)}, nil
	}
	now := w.now()
	w.mu.Lock()
	kept := w.kept[tenant]
	w.mu.Unlock()
	if kept != nil && now.Sub(kept.read) < wordsFor {
		return kept, nil
	}
	return w.again(ctx, tenant)
}

// again reads a tenant's words now.
func (w *words) again(ctx context.Context, tenant string) (*tenantWords, error) {
	if w.pool == nil {
		return &tenantWords{settings: noticesUnset(tenant)}, nil
	}
	now := w.now()
	fresh, err := w.load(ctx, tenant)
	if err != nil {
		return nil, err
	}
	fresh.read = now
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.kept) >= maxTenantsKept {
		clear(w.kept)
	}
	w.kept[tenant] = fresh
	return fresh, nil
}

const selectTemplates = `SELECT event, language, subject, body, html FROM notice_templates WHERE tenant = $1 ORDER BY event, language`

func (w *words) load(ctx context.Context, tenant string) (*tenantWords, error) {
	history, err := readSettings(ctx, w.pool, []string{tenant})
	if err != nil {
		return nil, err
	}
	t := &tenantWords{settings: history.at(tenant, maxRevision), templates: map[string]*compiledTemplate{}}
	rows, err := w.pool.Query(ctx, selectTemplates, tenant)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	var event, language string
	var own noticeTemplate
	_, err = pgx.ForEachRow(rows, []any{&event, &language, &own.Subject, &own.Text, &own.HTML}, func() error {
		compiled, err := own.compile()
		if err != nil {
			return fmt.Errorf("template %s %s: %w", event, language, err)
		}
		t.templates[event+" "+language] = compiled
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return t, nil
}

// find gives the tenant's words for an event in the language asked for, one that it is a kind of, or the tenant's own; nil where
// there are none.
func (t *tenantWords) find(event, language string) *compiledTemplate {
	for _, l := range languages(language, t.settings.language) {
		if c := t.templates[event+" "+l]; c != nil {
			return c
		}
	}
	return nil
}
