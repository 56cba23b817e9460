// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lazy returns the encoder that a Caddyfile configures.
func lazy(t *testing.T, text string) *LazyEncoder {
	t.Helper()
	l := new(LazyEncoder)
	if err := l.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := l.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return l
}

// entryOf returns what a logger with the encoder would write.
func entryOf(t *testing.T, told zapcore.Encoder, fields ...zapcore.Field) string {
	t.Helper()
	line, err := told.EncodeEntry(zapcore.Entry{Message: "done"}, fields)
	if err != nil {
		t.Fatal(err)
	}
	return line.String()
}

// counted is an object that counts how often it is encoded.
type counted struct {
	name  string
	times int
}

func (c *counted) MarshalLogObject(to zapcore.ObjectEncoder) error {
	c.times++
	to.AddString("name", c.name)
	return nil
}

func TestALazyLogEncodesOnlyWhatIsWritten(t *testing.T) {
	object := &counted{name: "first"}
	told := lazy(t, "lazy {\n wrap json\n}").Clone()
	for _, field := range []zapcore.Field{zap.String("before", "b"), zap.Object("object", object), zap.Int("after", 7)} {
		field.AddTo(told)
	}
	other := told.Clone()
	zap.String("only", "other").AddTo(other)
	if object.times != 0 {
		t.Fatalf("got %d times encoded, want none before an entry is written", object.times)
	}
	for range 2 {
		line := entryOf(t, told, zap.Bool("last", true))
		for _, want := range []string{`"before":"b"`, `"after":7`, `"last":true`} {
			if strings.Count(line, want) != 1 {
				t.Errorf("want one %s in %s", want, line)
			}
		}
		if strings.Count(line, `"object":{"name":"first"}`) != 1 || strings.Contains(line, "only") {
			t.Errorf("got %s", line)
		}
	}
	if line := entryOf(t, other); !strings.Contains(line, `"only":"other"`) || !strings.Contains(line, `"object":{`) {
		t.Errorf("got %s of a logger made of another", line)
	}
}

func TestALazyLogKeepsNamespaces(t *testing.T) {
	told := lazy(t, "lazy {\n wrap json\n}").Clone()
	zap.Object("outside", &counted{name: "o"}).AddTo(told)
	zap.Namespace("space").AddTo(told)
	zap.Object("inside", &counted{name: "i"}).AddTo(told)
	if line := entryOf(t, told); !strings.Contains(line, `"outside":{"name":"o"},"space":{"inside":{"name":"i"}}`) {
		t.Errorf("got %s", line)
	}
}

func TestALazyLogFilters(t *testing.T) {
	told := lazy(t, "lazy {\n wrap filter {\n  wrap json\n  object>name delete\n }\n}").Clone()
	zap.Object("object", &counted{name: "secret"}).AddTo(told)
	if line := entryOf(t, told, zap.Object("object", &counted{name: "secret"})); strings.Contains(line, "secret") || !strings.Contains(line, `"object":{}`) {
		t.Errorf("got %s", line)
	}
}

func TestALazyLogWrapsWhatCaddyTakes(t *testing.T) {
	if line := entryOf(t, lazy(t, "lazy")); !strings.Contains(line, `"done"`) {
		t.Errorf("got %s of a lazy log that wraps nothing", line)
	}
	for _, wrong := range []string{"lazy word", "lazy {\n wrapped json\n}", "lazy {\n wrap\n}", "lazy {\n wrap nothing\n}", "lazy {\n wrap json\n wrap console\n}"} {
		if err := new(LazyEncoder).UnmarshalCaddyfile(caddyfile.NewTestDispenser(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestALazyLogWithAFilterIsNotWarnedAbout(t *testing.T) {
	const around = "log {\n\t\toutput file {dir}/log.json\n\t\tformat lazy {\n\t\t\twrap filter {\n\t\t\t\twrap json\n\t\t\t\t%s delete\n\t\t\t}\n\t\t}\n\t}"
	if out := logged(t, fmt.Sprintf(around, "request>headers>X-Api-Key"), "", nil); strings.Contains(out, warning) {
		t.Errorf("got a warning in spite of the filter:\n%s", out)
	}
	if out := logged(t, fmt.Sprintf(around, "request>headers>Cookie"), "", nil); !strings.Contains(out, warning) {
		t.Error("got no warning of a lazy log without the filter")
	}
}
