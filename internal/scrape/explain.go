package scrape

import (
	"bytes"
	"time"
)

// Report tells a developer of a recipe how one page is read.
type Report struct {
	LoggedOut bool // the page asks for a log-in
	Empty     bool // the page says that there are no rows
	Total     int  // -1 = not told
	Next      string
	Selectors []Matched
	Rows      []Row
	Faults    []Fault
	Err       error // what Run would say of the page
}

// Matched is how often a selector of the list matches.
type Matched struct {
	Path     string
	Selector string
	Matches  int // of a field: rows in which it does
	Of       int // rows; 0 where it is not about rows
	Required bool
	Lines    []int // of the rows that lack it, at most 20
	Hint     string
}

// Explain reads one page without asking anybody. number counts from 1. The report holds values of the page.
func (p *Program) Explain(page []byte, contentType string, number int, zone *time.Location) Report {
	out := Report{Total: -1}
	if zone == nil {
		zone = time.UTC
	}
	doc, err := parsePage(bytes.Clone(page), contentType)
	if err != nil {
		out.Err = err
		return out
	}
	out.LoggedOut = p.out.first(doc) != nil
	l := p.recipe.List
	for _, s := range []struct {
		path string
		at   *selector
		need bool
	}{{"recipe.list.container", p.container, true}, {"recipe.list.rows", p.rows, true}, {"recipe.list.empty", p.none, false}, {"recipe.list.next", p.next, false}} {
		if s.at == nil {
			continue
		}
		m := Matched{Path: s.path, Selector: s.at.text, Matches: len(s.at.all(doc)), Required: s.need}
		if m.Matches == 0 && s.need {
			m.Hint = hint(doc, s.at)
		}
		out.Selectors = append(out.Selectors, m)
	}
	rows := p.rows.all(doc)
	if len(rows) > MaxRows {
		rows = rows[:MaxRows]
	}
	local := zone
	if p.zone != nil {
		local = p.zone
	}
	for _, name := range p.names {
		f := p.fields[name]
		m := Matched{Path: f.path, Selector: orRow(f.at).text, Of: len(rows), Required: f.Required}
		for _, n := range rows {
			switch _, why, missing := f.value(n, local); {
			case why == "":
				m.Matches++
			case len(m.Lines) < 20 && (f.Required || !missing):
				m.Lines = append(m.Lines, lineOf(n))
			}
		}
		out.Selectors = append(out.Selectors, m)
	}
	read, err := p.readPage(doc, number, zone, number > 1 && l.Next == "")
	out.Empty, out.Total, out.Next, out.Rows, out.Faults, out.Err = read.empty, read.total, read.next, read.rows, read.faults, err
	return out
}
