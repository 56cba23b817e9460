// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// An option is one word of a block and what follows it.
type option struct {
	// parse reads the rest of the line, and a block where the option has one.
	// The dispenser stands on the option's name.
	parse func(d *caddyfile.Dispenser) error
	// many allows the option more than once in its block.
	many bool
}

// options are all that a block may hold, by name.
type options map[string]option

// parse reads the block that follows, if there is one. Its errors name file,
// line and the wrong word.
func (o options) parse(d *caddyfile.Dispenser, block string) error {
	lines := map[string]int{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		opt, ok := o[name]
		if !ok {
			return d.WrapErr(unknownWord("option of "+block, name, slices.Collect(maps.Keys(o))...))
		}
		if line := lines[name]; line > 0 && !opt.many {
			return d.Errf("'%s' is given twice, first in line %d", name, line)
		}
		lines[name] = d.Line()
		if err := opt.parse(d); err != nil {
			return err
		}
		if d.NextBlock(d.Nesting()) {
			return d.Errf("'%s' takes no block, or no second one", name)
		}
	}
	return nil
}

// words reads the rest of the line: at least least words and, unless most is 0,
// at most most of them. usage is how the option is written.
func words(d *caddyfile.Dispenser, least, most int, usage string) ([]string, error) {
	args := d.RemainingArgs()
	switch {
	case len(args) < least:
		return nil, d.Errf("a word is missing: write %s", usage)
	case most > 0 && len(args) > most || most == 0 && least == 0 && len(args) > 0:
		return nil, d.Errf("'%s' is one word too many: write %s", args[most], usage)
	}
	return args, nil
}

// oneWord reads the rest of the line, which is one word that is not empty.
func oneWord(d *caddyfile.Dispenser, usage string) (string, error) {
	option := d.Val()
	args, err := words(d, 1, 1, usage)
	if err != nil {
		return "", err
	}
	if args[0] == "" {
		return "", d.Errf("the word after '%s' is empty: write %s", option, usage)
	}
	return args[0], nil
}

// secret is the option that sets one word which no error may repeat.
func secret(to *string, usage string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 1 || args[0] == "" {
			return d.Errf("there is one word to give, and it is not empty: write %s", usage)
		}
		*to = args[0]
		return nil
	}}
}

// text is the option that sets one word.
func text(to *string, usage string) option {
	return option{parse: func(d *caddyfile.Dispenser) (err error) {
		*to, err = oneWord(d, usage)
		return err
	}}
}

// mark is the option that is one word and nothing more.
func mark(to *bool, usage string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		*to = true
		_, err := words(d, 0, 0, usage)
		return err
	}}
}

// choice is the option that sets one word of a few.
func choice(to *string, what, usage string, known ...string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		word, err := oneWord(d, usage)
		if err != nil {
			return err
		}
		if !slices.Contains(known, word) {
			return d.WrapErr(unknownWord(what, word, known...))
		}
		*to = word
		return nil
	}}
}

// list is the option that adds one or more words, none of them twice.
func list(to *[]string, what, usage string, problem func(word string) string) option {
	return option{many: true, parse: func(d *caddyfile.Dispenser) error {
		args, err := words(d, 1, 0, usage)
		if err != nil {
			return err
		}
		for _, word := range args {
			if problem != nil {
				if p := problem(word); p != "" {
					return d.Errf("%s '%s': %s", what, word, p)
				}
			}
			if word == "" {
				return d.Errf("%s is empty: write %s", what, usage)
			}
			if *to, err = appendNew(*to, what, word); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	}}
}

// here remembers where d stands, for an error that is found later.
func here(d *caddyfile.Dispenser) *caddyfile.Dispenser {
	at := *d
	return &at
}
