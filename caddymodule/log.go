// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/exp/zapslog"
)

// logHandler logs by whatever Caddy's default logger is at the moment: what
// outlives a configuration must not keep that configuration's logger.
type logHandler struct {
	dress []func(slog.Handler) slog.Handler // attributes and groups, in order
}

func (h logHandler) current() slog.Handler {
	var handler slog.Handler = zapslog.NewHandler(caddy.Log().Core(), zapslog.WithName(appID), zapslog.AddStacktraceAt(slog.Level(127)))
	for _, dress := range h.dress {
		handler = dress(handler)
	}
	return handler
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.current().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.current().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h logHandler) with(dress func(slog.Handler) slog.Handler) slog.Handler {
	return logHandler{append(slices.Clip(h.dress), dress)}
}

// warnUnfilteredLogs tells of logs that would hold secrets: Caddy hides
// Authorization in its logs, but no other header and no query.
//
// Each log is told of once in a configuration.
func (a *App) warnUnfilteredLogs(ctx caddy.Context, sources []source) {
	var fields []string
	for _, s := range sources {
		switch s.in {
		case inHeader:
			fields = append(fields, "request>headers>"+s.name)
		case inQuery:
			fields = append(fields, "request>uri")
		}
	}
	for _, field := range fields {
		for _, log := range unfilteredLogs(ctx, field) {
			if a.warned[log+field] {
				continue
			}
			if a.warned == nil {
				a.warned = map[string]bool{}
			}
			a.warned[log+field] = true
			ctx.Slogger().Warn("log would hold API keys: give it a `format filter` with a filter for this field",
				"log", log, "field", field, "filter", field+" delete")
		}
	}
}

// unfilteredLogs returns the logs that may write requests without a filter for
// field. Caddy tells modules nothing of its logs, so this looks at the
// configuration it holds; where that has another shape, it finds nothing.
func unfilteredLogs(ctx caddy.Context, field string) (names []string) {
	logging := inside(reflect.ValueOf(ctx), "cfg", "Logging", "Logs")
	if logging.Kind() != reflect.Map {
		return nil
	}
	for _, key := range logging.MapKeys() {
		log := logging.MapIndex(key)
		if takesRequests(log) && inside(log, "encoder").IsValid() && !filtered(filtersOf(log), field) {
			names = append(names, key.String())
		}
	}
	slices.Sort(names)
	return names
}

// filtersOf returns the filters of a log, by field.
func filtersOf(log reflect.Value) reflect.Value {
	encoder := inside(log, "encoder")
	if encoder.IsValid() && encoder.Type() == reflect.TypeFor[LazyEncoder]() {
		encoder = inside(encoder, "Encoder")
	}
	return inside(encoder, "Fields")
}

// filtered reports whether the filters of a log have one for the field, or for
// what the field is in.
func filtered(filters reflect.Value, field string) bool {
	if filters.Kind() != reflect.Map {
		return false
	}
	return slices.ContainsFunc(filters.MapKeys(), func(name reflect.Value) bool {
		return field == name.String() || strings.HasPrefix(field, name.String()+">")
	})
}

// takesRequests reports whether a log takes entries of the HTTP server.
func takesRequests(log reflect.Value) bool {
	include, exclude := inside(log, "Include"), inside(log, "Exclude")
	takes := include.Kind() != reflect.Slice || include.Len() == 0
	for i := range lengthOf(include) {
		name := include.Index(i).String()
		takes = takes || strings.HasPrefix("http.log", name) || strings.HasPrefix(name, "http.log")
	}
	for i := range lengthOf(exclude) {
		name := exclude.Index(i).String()
		takes = takes && name != "http" && name != "http.log"
	}
	return takes
}

func lengthOf(v reflect.Value) int {
	if v.Kind() != reflect.Slice {
		return 0
	}
	return v.Len()
}

// inside follows names through pointers, interfaces and structs; the zero
// Value where there is no such field.
func inside(v reflect.Value, names ...string) reflect.Value {
	for {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if len(names) == 0 || v.Kind() != reflect.Struct {
			break
		}
		v, names = v.FieldByName(names[0]), names[1:]
	}
	if len(names) > 0 {
		return reflect.Value{}
	}
	return v
}
